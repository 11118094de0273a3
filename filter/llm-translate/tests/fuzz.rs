//! The fuzz targets of translation, on their seeds cut and put together anew: a fuzzer's first minute, without a fuzzer.
#[path = "../../../fuzz/src/translate.rs"]
mod translate;

use weir_seeded::SplitMix64;

const MUTATIONS: u64 = 8000;

/// A seed with a few bytes changed, lost, or brought from another seed, behind a byte that chooses.
fn mutated(seeds: &[&str], random: &mut SplitMix64) -> Vec<u8> {
    let mut input = seeds[random.index(seeds.len())].as_bytes().to_vec();
    for _ in 0..random.below(4) {
        let other = seeds[random.index(seeds.len())].as_bytes();
        let (at, from) = (random.index(input.len()), random.index(other.len()));
        match random.below(4) {
            0 => drop(input.splice(at..(at + 3).min(input.len()), [])),
            1 => drop(input.splice(at..at, other[from..(from + 12).min(other.len())].iter().copied())),
            2 => input[at] = b"{}[]\",:\\0 \n\r"[random.index(12)],
            _ => input[at] ^= 1 << random.index(8),
        }
    }
    input.insert(0, random.bytes(1)[0]);
    input
}

fn every_mutation(seeds: &[&str], target: fn(&[u8])) {
    let mut random = SplitMix64::new(7);
    for seed in seeds {
        (0..8).for_each(|choice| target(&[&[choice * 32][..], seed.as_bytes()].concat()));
    }
    (0..MUTATIONS).for_each(|_| target(&mutated(seeds, &mut random)));
}

#[test]
fn a_mutated_request_becomes_one_that_its_target_takes_or_none() {
    every_mutation(&translate::REQUESTS, translate::translate_request);
}

#[test]
fn a_mutated_answer_is_translated_alike_however_it_is_cut() {
    every_mutation(&translate::ANSWERS, translate::translate_answer);
}
