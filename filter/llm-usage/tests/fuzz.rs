//! The fuzz targets' assertions, on seeded inputs: every provider's answer, mutated and cut at random.
#[path = "fixtures/usage/cases.rs"]
mod cases;
#[path = "fixtures/usage/harness.rs"]
mod harness;
#[path = "../../../fuzz/src/usage.rs"]
mod usage;

use std::io::Write;

use weir_seeded::SplitMix64;

/// Inputs made from each case.
const MUTATIONS: u64 = 60;

/// A body with a few bytes changed, doubled or lost, behind a list of cuts.
fn mutated(body: &[u8], random: &mut SplitMix64) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..random.index(6) {
        let at = random.index(body.len());
        match random.index(4) {
            0 => body[at] = b"{}[]\",:\\\n\r0"[random.index(11)],
            1 => body[at] ^= 1 << random.index(8),
            2 => body.truncate(at.max(1)),
            _ => body.extend_from_within(at..),
        }
    }
    let cuts: Vec<u8> = (0..random.index(32)).map(|_| random.next_u64() as u8).collect();
    [&[cuts.len() as u8][..], &cuts, &body].concat()
}

fn every_mutation(bodies: impl Iterator<Item = Vec<u8>>, target: fn(&[u8])) {
    for (seed, body) in (1..).zip(bodies) {
        let mut random = SplitMix64::new(seed);
        for _ in 0..MUTATIONS {
            target(&mutated(&body, &mut random));
        }
    }
}

fn plain() -> impl Iterator<Item = Vec<u8>> {
    cases::all().into_iter().map(|case| case.body)
}

fn compressed() -> impl Iterator<Item = Vec<u8>> {
    plain().map(|body| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body).unwrap();
        encoder.finish().unwrap()
    })
}

#[test]
fn the_reader_holds_its_promises_on_mutated_answers() {
    every_mutation(plain(), usage::usage_reader);
}

#[test]
fn decoding_holds_its_promises_on_mutated_answers() {
    every_mutation(compressed(), usage::usage_encoded);
}

#[test]
fn the_stripper_holds_its_promises_on_mutated_answers() {
    every_mutation(plain(), usage::usage_strip);
}

#[test]
fn the_scanner_agrees_with_serde_json_on_mutated_answers() {
    every_mutation(plain(), usage::json_scanner);
}
