//! The fuzz targets' assertions, on seeded inputs: every provider's answer, mutated and cut at random.
#[path = "fixtures/usage/cases.rs"]
mod cases;
#[path = "fixtures/usage/harness.rs"]
mod harness;
#[path = "../../../fuzz/src/usage.rs"]
mod usage;

use std::io::Write;

/// Inputs made from each case.
const MUTATIONS: u64 = 60;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A body with a few bytes changed, doubled or lost, behind a list of cuts.
fn mutated(body: &[u8], random: &mut Random) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..random.below(6) {
        let at = random.below(body.len());
        match random.below(4) {
            0 => body[at] = b"{}[]\",:\\\n\r0"[random.below(11)],
            1 => body[at] ^= 1 << random.below(8),
            2 => body.truncate(at.max(1)),
            _ => body.extend_from_within(at..),
        }
    }
    let cuts: Vec<u8> = (0..random.below(32)).map(|_| random.next() as u8).collect();
    [&[cuts.len() as u8][..], &cuts, &body].concat()
}

fn every_mutation(bodies: impl Iterator<Item = Vec<u8>>, target: fn(&[u8])) {
    for (seed, body) in (1..).zip(bodies) {
        let mut random = Random(seed);
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
