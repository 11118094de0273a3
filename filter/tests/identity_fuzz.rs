//! The assertions of the fuzz targets of identity, on seeded inputs: good ones, mutated at random.
#[path = "../../fuzz/src/identity.rs"]
mod identity;

use weir_seeded::SplitMix64;

/// Inputs made from each seed.
const MUTATIONS: u64 = 400;

/// Runs `target` on a seed, and on it with a few bytes changed, doubled or lost.
fn run(target: fn(&[u8]), seed: &[u8], mutations: u64) {
    target(seed);
    let mut random = SplitMix64::new(seed.len() as u64);
    for _ in 0..mutations {
        let mut input = seed.to_vec();
        for _ in 0..=random.index(4) {
            let at = random.index(input.len());
            match random.index(4) {
                0 => input[at] = b"{}[]\",:.\n\r0A"[random.index(12)],
                1 => input[at] ^= 1 << random.index(8),
                2 => input.truncate(at.max(1)),
                _ => input.extend_from_within(at..),
            }
        }
        target(&input);
    }
}

/// Runs a target on every seed that is made for it.
fn run_all(name: &str, target: fn(&[u8]), mutations: u64) {
    let seeds: Vec<_> = identity::seeds().into_iter().filter(|(of, _)| *of == name).collect();
    assert!(!seeds.is_empty(), "{name}");
    seeds.iter().for_each(|(_, seed)| run(target, seed, mutations));
}

#[test]
fn no_configuration_makes_it_panic() {
    run_all("identity_config", identity::config, MUTATIONS);
}

#[test]
fn no_mutation_of_a_token_is_good() {
    run_all("identity_jwt", identity::jwt, MUTATIONS / 10);
}

#[test]
fn no_key_set_makes_it_panic() {
    run_all("identity_jwks", identity::jwks, MUTATIONS);
}

#[test]
fn no_head_makes_it_panic() {
    run_all("identity_head", identity::head, MUTATIONS);
}

#[test]
fn no_answer_to_a_poll_is_half_in_force() {
    run_all("identity_directory", identity::directory, MUTATIONS);
}
