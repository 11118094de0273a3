//! Readers of foreign texts: whatever they are given, they answer, and never panic. The fuzz targets of money, on their seeds cut and put
//! together anew: a fuzzer's first minute, without a fuzzer.
#[path = "../../../fuzz/src/money.rs"]
mod money;

use weir_money::charged;
use weir_money::prices::import;
use weir_seeded::SplitMix64;

/// Inputs of one run; `WEIR_TEXTS` asks for more.
const INPUTS: u64 = 20_000;

/// A seed with some bytes replaced, removed, or put in from another one.
fn mutated(random: &mut SplitMix64, seed: &str, other: &str) -> String {
    let (mut bytes, other) = (seed.as_bytes().to_vec(), other.as_bytes());
    for _ in 0..random.below(6) {
        let at = random.index(bytes.len());
        let end = (at + random.index(8)).min(bytes.len());
        let start = random.index(other.len());
        let piece = &other[start..(start + random.index(16)).min(other.len())];
        match random.below(4) {
            0 => drop(bytes.splice(at..end, [])),
            1 => drop(bytes.splice(at..at, piece.iter().copied())),
            2 => drop(bytes.splice(at..end, [b"0123456789.eE-\"{}[],: \n*"[random.index(24)]])),
            _ => bytes.truncate(at + 1),
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the one setting of this test: how long it searches")]
fn any_text_is_read_or_refused_with_a_reason() {
    let inputs = std::env::var("WEIR_TEXTS").ok().and_then(|inputs| inputs.parse().ok()).unwrap_or(INPUTS);
    let mut random = SplitMix64::new(18);
    for (target, seed) in money::SEEDS {
        money::run(target, seed);
    }
    for _ in 0..inputs {
        let (target, seed) = money::SEEDS[random.index(money::SEEDS.len())];
        let (_, other) = money::SEEDS[random.index(money::SEEDS.len())];
        money::run(target, &mutated(&mut random, seed, other));
    }
}

#[test]
fn every_known_list_and_report_is_read() {
    let of = |target: &'static str| money::SEEDS.into_iter().filter(move |(of, _)| *of == target).map(|(_, seed)| seed);
    let lists: Vec<_> = of("prices_import").map(|seed| import::read(seed).expect(seed).source).collect();
    assert_eq!(lists, ["LiteLLM", "models.dev", "OpenRouter"]);
    let reports: Vec<_> = of("cost_report").map(|seed| charged::read(seed).expect(seed).source).collect();
    assert_eq!(reports, ["OpenAI", "Anthropic", "CSV", "CSV"]);
}
