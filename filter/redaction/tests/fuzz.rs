//! The fuzz target of redaction, on its seeds cut and put together anew: a fuzzer's first minute, without a fuzzer.
#[path = "../../../fuzz/src/redaction.rs"]
mod redaction;

use weir_seeded::SplitMix64;

/// The first byte chooses the form, the second where the input is cut.
const SEEDS: [&str; 6] = [
    "\u{0}\u{9}{\"choices\":[{\"message\":{\"content\":\"a b globex\"},\"logprobs\":{\"content\":[{\"token\":\"globex\"}]}}]}",
    "\u{1}\u{20}data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"glo\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"bex\"}}]}\n\n",
    "\u{2}\u{5}{\"response\":\"b a\"}\n{\"response\":\" c\"}\n",
    "\u{3}\u{7}see globex, x.y and \\nglobex_ \\tGlobex 日本",
    "\u{0}\u{30}[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"glo\"}]}}]},{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"bex\"}]}}]}]",
    "\u{1}\u{11}event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"partial_json\":\"b a\"}}\r\n\r\n",
];

/// An input of a seed, of which some places are changed.
fn mutated(random: &mut SplitMix64) -> Vec<u8> {
    let mut input = SEEDS[random.index(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let other = SEEDS[random.index(SEEDS.len())].as_bytes();
        let (from, start) = (random.index(input.len()), random.index(other.len()));
        let end = (start + random.index(16)).min(other.len());
        match random.below(3) {
            0 => drop(input.splice(from..(from + 3).min(input.len()), [])),
            1 => drop(input.splice(from..from, other[start..end].iter().copied())),
            _ => input[from] = b"{}[]\",:\\\n "[random.index(10)],
        }
    }
    input
}

#[test]
fn however_it_is_cut_an_answer_is_redacted_to_the_same() {
    SEEDS.iter().for_each(|seed| redaction::redaction(seed.as_bytes()));
    let mut random = SplitMix64::new(7);
    for _ in 0..20_000 {
        redaction::redaction(&mutated(&mut random));
    }
}
