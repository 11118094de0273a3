//! The fuzz target of sealed ids, on its seeds cut and put together anew: a fuzzer's first minute, without a fuzzer.
#[path = "../../../fuzz/src/sealed.rs"]
mod sealed;

use weir_seeded::SplitMix64;

/// The first byte chooses the API and where the input is cut.
const SEEDS: [&str; 6] = [
    "\u{3}{\"id\":\"resp_68af1c2d\",\"output\":[{\"id\":\"msg_68af\",\"content\":\"file-abc\"}],\"metadata\":{\"file_id\":\"x\"}}",
    "\u{30}data: {\"id\":\"chatcmpl-AbC123\",\"choices\":[{\"delta\":{\"content\":\" w\\n\"}}]}\n\ndata: [DONE]\n\n",
    "\u{61}{\"file_ids\":[\"file-a1\",\"f\\u0069le-b2\"],\"model\":\"ft:gpt-4o:acme::9abc\",\"store\":true}",
    "\u{1}{\"id\":\"msgbatch_01\",\"results_url\":\"https://api.anthropic.com/v1/messages/batches/msgbatch_01/results\"}",
    "\u{2}{\"name\":\"files/abc\",\"uri\":\"https://generativelanguage.googleapis.com/v1beta/files/abc\"}",
    "\u{7f}event: x\r\ndata: {\"item_id\":\"rs_1\",\r\ndata: \"delta\":\"a\"}\r\n\r\n",
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
fn however_it_is_cut_a_document_is_opened_and_sealed_to_the_same() {
    SEEDS.iter().for_each(|seed| sealed::sealed_ids(seed.as_bytes()));
    let mut random = SplitMix64::new(7);
    for _ in 0..3_000 {
        sealed::sealed_ids(&mutated(&mut random));
    }
}
