//! The fuzz target of guarded stores, on its seeds cut and put together anew: a fuzzer's first minute, without a fuzzer.
#[path = "../../../fuzz/src/guard.rs"]
mod guard;

use weir_seeded::SplitMix64;

#[test]
fn nothing_panics_and_what_goes_on_is_json() {
    let mut random = SplitMix64::new(7);
    for seed in guard::SEEDS {
        guard::vector_guard(seed.as_bytes());
    }
    for _ in 0..20_000 {
        let mut input = guard::SEEDS[random.index(guard::SEEDS.len())].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let other = guard::SEEDS[random.index(guard::SEEDS.len())].as_bytes();
            let (from, to) = (random.index(input.len()), random.index(input.len()));
            let (from, to) = (from.min(to), from.max(to));
            let (start, end) = (random.index(other.len()), random.index(other.len()));
            let (start, end) = (start.min(end), start.max(end).min(start + 12));
            match random.below(3) {
                0 => drop(input.splice(from..to.min(from + 3), [])),
                1 => drop(input.splice(from..from, other[start..end].iter().copied())),
                _ => input[from] = b"{}[]\",:\\0 \n"[random.index(11)],
            }
        }
        guard::vector_guard(&input);
    }
}
