//! What the fuzz targets of identity assert of any input. `filter/tests/identity_fuzz.rs` runs the same functions on seeded
//! inputs.
#![allow(dead_code, reason = "each fuzz target is a program that uses one of these")]
use weir_contract::directory::Revoked;
use weir_contract::{Class, Timestamp};
use weir_filter::config::{Environment, Policy};
use weir_filter::directory::poll::{Origin, Poll, Update};
use weir_filter::fetch::Fetched;
use weir_filter::hash::Keyed;
use weir_filter::head::{Head, Pair};
use weir_filter::identity::algorithm::Algorithm;
use weir_filter::identity::budget::Budget;
use weir_filter::identity::jwt::{Issuer, VerifyContext, verify};
use weir_filter::identity::key::check::no_native;
use weir_filter::identity::key::jwk::{KEYS_MAX, read_set};
use weir_filter::identity::keyring::Keyring;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A configuration compiles or says where it does not; one that compiles has a version of 16 hex digits.
pub(crate) fn config(input: &[u8]) {
    match Policy::read(input, &Environment::Elsewhere, Keyed::new([7; 16])) {
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
    let mut context =
        VerifyContext { keyring: &keyring, revoked: &revoked, budget: &mut budget, native: no_native, now: NOW };
    let good = verify(text, &[issuer], &mut context).is_ok();
    let signed = golden["tokens"].as_array().is_some_and(|tokens| tokens.iter().any(|entry| entry["token"] == text));
    assert_eq!(good, signed, "{text}");
}

/// A set holds no more keys than the bound, and reading it twice gives the same keys.
pub(crate) fn jwks(input: &[u8]) {
    let keys = read_set(input, Algorithm::RS256);
    assert_eq!(keys, read_set(input, Algorithm::RS256));
    assert!(keys.is_none_or(|set| set.keys.len() + set.ignored.len() <= KEYS_MAX));
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
    let _class = weir_filter::shared_operations::touches(head.method, head.path, Class::Other, false);
    let _plain = weir_filter::shared_operations::is_ambiguous(head.path);
}

/// Answers to polls, one a line: whatever comes, a state is in force whole or not at all, and the sums it names hold.
pub(crate) fn directory(input: &[u8]) {
    let shape = serde_json::json!({"cluster": "weir", "token": "t", "refresh": "1s"});
    let Some(Ok(origin)) =
        serde_json::from_value(shape).ok().map(|shape| Origin::compile(shape, "gw", std::iter::empty()))
    else {
        return;
    };
    let (mut poll, mut now) = (Poll::new(Keyed::new([7; 16]), None, NOW), NOW);
    for body in input.split(|byte| *byte == b'\n').take(16) {
        now = now.plus_millis(60_000);
        if poll.due(&origin, now).is_none() {
            continue;
        }
        let before = poll.tenants(&origin, now).map(|tenants| tenants.totals());
        let mut update =
            poll.answered(&origin, &Fetched::Answer { status: 200, etag: None, cache_control: None, body }, now);
        while update == Update::Staged {
            // A page is in, and the state is not whole yet: the next answer is its next page.
            match poll.step(&origin, now) {
                Some(Update::Staged) => break,
                Some(next) => update = next,
                None => {}
            }
        }
        let after = poll.tenants(&origin, now).map(|tenants| tenants.totals());
        if matches!(update, Update::Refused(_) | Update::Unfit(_) | Update::Staged) {
            assert_eq!(before, after, "what cannot be used changes nothing");
        }
        let named = serde_json::from_slice::<weir_contract::directory::Page>(body).ok().and_then(|page| page.totals);
        if matches!(update, Update::Replaced | Update::Changed) && named.is_some() {
            assert_eq!(named, after);
        }
    }
}

/// Good inputs to begin with: the name of the target, and what it is fed.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../filter/golden/tokens.json")).unwrap_or_default();
    let config = serde_json::json!({
        "version": 1, "identity": {"sources": [
            {"jwt": {"issuer": "https://a.example.com", "tenant_claim": "org.id", "keys": [{"jwk": golden["keys"][7]}],
                     "jwks": {"url": "https://a.example.com/keys", "cluster": "a"}}},
            {"header": {"header": "x-edge", "networks": ["10.0.0.0/8", "fd00::/8"]}}, {"api_key": {"prefix": "sk_"}}]},
        "plans": {"p": {"requests": {"rate": "10/s"}}}, "directory": {"cluster": "weir", "token": "t"},
        "routes": [{"match": {"path_prefix": "/v1"}, "permit": ["files"]}],
    });
    let head =
        b":method:POST\n:path:/v1/%66iles/../x?y\nHost:acme.example.com\nX-Tenant-Id:a\nx_model:b\nupgrade:websocket\n\
                 authorization:Bearer sk_\xff\ncontent-length:2";
    let key = "411ceca50ab2c146c57c1fa4cb69e75822d84a3c5bf06beddbde329eb79e3b06";
    let tenant = |id: &str, plan: &str| serde_json::json!({"id": id, "plan": plan});
    let acme = serde_json::json!({"id": "acme", "plan": "p", "keys": [{"id": "k", "sha256": key, "environment": "e"}]});
    let pages = [
        serde_json::json!({"version": "v1", "next": "v1.1", "tenants": [acme], "totals": {"tenants": 2, "keys": 1}}),
        serde_json::json!({"version": "v1", "tenants": [tenant("globex", "q")], "totals": {"tenants": 2, "keys": 1}}),
        serde_json::json!({"version": "v2", "since": "v1", "tenants": [tenant("acme", "q")], "removed": ["globex"],
                           "revoked": {"tokens": ["t"]}, "totals": {"tenants": 1, "keys": 0}}),
    ];
    let pages = pages.map(|page| page.to_string()).join("\n");
    let mut seeds = vec![
        ("identity_config", config.to_string().into_bytes()),
        // Found by fuzzing: a field without a name was an error without a path.
        ("identity_config", br#"{"":1}"#.to_vec()),
        ("identity_jwks", serde_json::json!({"keys": golden["keys"]}).to_string().into_bytes()),
        ("identity_head", head.to_vec()),
        ("identity_directory", pages.into_bytes()),
    ];
    let tokens = golden["tokens"].as_array().into_iter().flatten();
    seeds.extend(tokens.filter_map(|entry| Some(("identity_jwt", entry["token"].as_str()?.as_bytes().to_vec()))));
    seeds
}
