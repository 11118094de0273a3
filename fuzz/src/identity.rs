//! What the fuzz targets of identity assert of any input. `filter/tests/identity_fuzz.rs` runs the same functions on seeded
//! inputs.
#![allow(dead_code, reason = "each fuzz target is a program that uses one of these")]
use weir_contract::directory::Revoked;
use weir_contract::{Class, Timestamp};
use weir_filter::config::Policy;
use weir_filter::hash::Keyed;
use weir_filter::head::{Head, Pair};
use weir_filter::identity::algorithm::Algorithm;
use weir_filter::identity::budget::Budget;
use weir_filter::identity::jwt::{Court, Issuer, verify};
use weir_filter::identity::key::check::no_native;
use weir_filter::identity::key::jwk::{KEYS_MAX, read_set};
use weir_filter::identity::keyring::Keyring;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A configuration compiles or says where it does not; one that compiles has a version of 16 hex digits.
pub(crate) fn config(input: &[u8]) {
    match Policy::read(input, Keyed::new([7; 16])) {
        Ok(policy) => assert_eq!(policy.version.len(), 16),
        Err(error) => assert!(!error.path.is_empty() && !error.problem.is_empty()),
    }
}

/// No token is good but the one that was signed: what the mutations make of it is refused.
pub(crate) fn jwt(input: &[u8]) {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../filter/golden/tokens.json")).unwrap_or_default();
    let issuer = serde_json::json!({"issuer": "https://vectors.example.com", "tenant_claim": "org.id",
                                    "jwks": {"keys": golden["keys"]}});
    let Ok(shape) = serde_json::from_value(issuer) else { return };
    let Ok(issuer) = Issuer::compile(shape, "jwt") else { return };
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (keyring, revoked, mut budget) = (Keyring::new(1, NOW), Revoked::default(), Budget::new(NOW));
    let mut court = Court { keyring: &keyring, revoked: &revoked, budget: &mut budget, native: no_native, now: NOW };
    let good = verify(text, &[issuer], &mut court).is_ok();
    let signed = golden["tokens"].as_array().is_some_and(|tokens| tokens.iter().any(|entry| entry["token"] == text));
    assert_eq!(good, signed, "{text}");
}

/// A set has at most so many keys, and reading it twice gives the same ones.
pub(crate) fn jwks(input: &[u8]) {
    let keys = read_set(input, Algorithm::RS256);
    assert_eq!(keys, read_set(input, Algorithm::RS256));
    assert!(keys.is_none_or(|keys| (1..=KEYS_MAX).contains(&keys.len())));
}

/// A head is read in one pass, whatever names and values are. Lines of the input are headers, cut at the first colon.
pub(crate) fn head(input: &[u8]) {
    let cut = |line: &'_ [u8]| line.iter().skip(1).position(|byte| *byte == b':').map(|at| at + 1);
    let lines = input.split(|byte| *byte == b'\n');
    let pairs: Vec<Pair<'_>> =
        lines.filter_map(|line| cut(line).and_then(|at| Some((line.get(..at)?, line.get(at + 1..)?)))).collect();
    let head = Head::read(&pairs);
    let injected =
        |name: &[u8]| weir_filter::head::INJECTED.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    assert_eq!(head.injected.contains(&true), pairs.iter().any(|(name, _)| injected(name)));
    let _class = weir_filter::account::touches(head.method, head.path, Class::Other);
    let _plain = weir_filter::account::is_ambiguous(head.path);
}
