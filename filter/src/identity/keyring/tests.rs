use super::*;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn remote() -> JwksEndpoint {
    let jwks =
        json!({"url": "https://auth.example.com/keys.json", "cluster": "auth", "refresh": "5m", "refetch": "10s"});
    let jwks = serde_json::from_value(jwks).expect("a shape");
    JwksEndpoint::compile(&jwks, "jwks").expect("good").expect("fetched")
}

fn jwk(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

fn answer<'a>(body: &'a str, cache_control: Option<&'a str>) -> Fetched<'a> {
    Fetched::Answer { status: 200, etag: None, cache_control: cache_control.map(str::as_bytes), body: body.as_bytes() }
}

fn set(kids: &[&str]) -> String {
    json!({"keys": kids.iter().map(|kid| jwk(kid)).collect::<Vec<_>>()}).to_string()
}

/// A ring that has fetched `kids` at `NOW`.
fn fetched(kids: &[&str]) -> (Keyring, JwksEndpoint) {
    let (mut ring, remote) = (Keyring::new(1, NOW), remote());
    assert!(ring.due(0, &remote, NOW).is_some());
    assert_eq!(ring.answered(0, &remote, &answer(&set(kids), None), NOW), Renewal::Changed);
    (ring, remote)
}

fn kids(ring: &Keyring) -> Vec<&str> {
    ring.keys(0).into_iter().flatten().filter_map(|key| key.kid()).collect()
}

#[test]
fn a_set_is_fetched_at_the_start_and_again_before_it_grows_old() {
    let (mut ring, remote) = fetched(&["a"]);
    assert_eq!(ring.due(0, &remote, NOW.plus_millis(299_999)), None);
    let fetch = ring.due(0, &remote, NOW.plus_millis(300_000)).expect("due");
    assert_eq!(
        (&*fetch.cluster, fetch.scheme, &*fetch.authority, &*fetch.path),
        ("auth", "https", "auth.example.com", "/keys.json")
    );
    assert_eq!(ring.due(0, &remote, NOW.plus_millis(300_001)), None, "one is under way");
}

#[test]
fn an_issuer_that_grants_less_is_asked_sooner() {
    let (mut ring, remote) = fetched(&["a"]);
    let later = NOW.plus_millis(300_000);
    assert!(ring.due(0, &remote, later).is_some());
    ring.answered(0, &remote, &answer(&set(&["a"]), Some("public, max-age=100")), later);
    assert!(ring.due(0, &remote, later.plus_millis(79_999)).is_none());
    assert!(ring.due(0, &remote, later.plus_millis(80_000)).is_some(), "four fifths of 100 s");
}

#[test]
fn made_up_key_names_cost_one_fetch_in_ten_seconds() {
    let (mut ring, remote) = fetched(&["a"]);
    let mut fetches = 0;
    for at in 0..60_000 {
        let now = NOW.plus_millis(at);
        ring.want(0, &remote, now);
        if ring.due(0, &remote, now).is_some() {
            fetches += 1;
            ring.answered(0, &remote, &answer(&set(&["a"]), None), now);
        }
    }
    assert_eq!(fetches, 5);
}

#[test]
fn a_client_with_a_new_key_is_told_to_wait_only_while_a_set_is_on_its_way() {
    let (mut ring, remote) = fetched(&["a"]);
    assert!(!ring.want(0, &remote, NOW.plus_millis(5_000)), "the set is fresh: the name is made up");
    let later = NOW.plus_millis(10_000);
    assert!(ring.want(0, &remote, later));
    assert!(ring.due(0, &remote, later).is_some() && ring.want(0, &remote, later), "under way");
    ring.answered(0, &remote, &answer(&set(&["a", "b"]), None), later);
    assert_eq!(kids(&ring), ["a", "b"]);
}

#[test]
fn while_the_issuer_is_down_its_last_good_keys_stay() {
    let (mut ring, remote) = fetched(&["a"]);
    let mut now = NOW.plus_millis(300_000);
    let broken = [
        (Fetched::Nothing, Failure::NoAnswer),
        (Fetched::Unsent, Failure::Unsent),
        (answer("<html>", None), Failure::NoSet),
        (answer(r#"{"keys":[]}"#, None), Failure::NoUsableKey),
        (Fetched::Answer { status: 503, etag: None, cache_control: None, body: b"" }, Failure::Status(503)),
    ];
    for (answer, failure) in broken {
        assert!(ring.due(0, &remote, now).is_some());
        assert_eq!(ring.answered(0, &remote, &answer, now), Renewal::Failed(failure));
        assert_eq!(kids(&ring), ["a"]);
        now = now.plus_millis(300_000);
    }
    let large = format!("{{\"keys\":[{}],\"x\":\"{}\"}}", jwk("b"), "x".repeat(SET_MAX_BYTES));
    assert_eq!(ring.answered(0, &remote, &answer(&large, None), now), Renewal::Failed(Failure::TooLong));
}

#[test]
fn a_key_that_stays_is_the_same_key_and_one_that_goes_is_gone() {
    let (mut ring, remote) = fetched(&["a", "b"]);
    let first: Vec<_> = ring.keys(0).expect("keys").to_vec();
    assert_eq!(ring.answered(0, &remote, &answer(&set(&["b", "a"]), None), NOW), Renewal::Same);
    assert_eq!(ring.answered(0, &remote, &answer(&set(&["b", "c"]), None), NOW), Renewal::Changed);
    let second = ring.keys(0).expect("keys");
    assert!(Rc::ptr_eq(&first[1], &second[0]) && !second.iter().any(|key| Rc::ptr_eq(key, &first[0])));
}

#[test]
fn where_a_set_comes_from_is_checked_at_the_start() {
    let cases = [
        (json!({}), "jwks"),
        (json!({"url": "https://a/keys"}), "jwks"),
        (json!({"cluster": "auth"}), "jwks"),
        (json!({"url": "ftp://a/keys", "cluster": "auth"}), "jwks.url"),
        (json!({"url": "https:///keys", "cluster": "auth"}), "jwks.url"),
        (json!({"url": "https://a/k\r\nx: y", "cluster": "auth"}), "jwks.url"),
        (json!({"url": "https://a/k", "cluster": "auth", "refetch": "0s"}), "jwks.refetch"),
        (json!({"url": "https://a/k", "cluster": "auth", "rsa_algorithm": "ES256"}), "jwks.rsa_algorithm"),
        (json!({"url": "https://a/k", "cluster": "auth", "keys": [jwk("a")]}), "jwks"),
    ];
    for (jwks, path) in cases {
        let shape = serde_json::from_value(jwks.clone()).expect("a shape");
        assert_eq!(
            JwksEndpoint::compile(&shape, "jwks").err().map(|error| error.path).as_deref(),
            Some(path),
            "{jwks}"
        );
    }
}
