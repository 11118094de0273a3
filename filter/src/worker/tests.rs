//! What a worker says of fetches, takes over from the configuration before, and answers load balancers.
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;
use weir_contract::Timestamp;

use super::fetching::FetchNotice;
use super::{FetchOutcome, FilterState, Worker};
use crate::fetch::{Fetched, Target};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const STATE: &str = r#"{"version":"v1","next":null,"tenants":[{"id":"acme","plan":"p"}]}"#;
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn config() -> Value {
    json!({
        "version": 1, "plans": {"p": {}},
        "identity": {"sources": [{"jwt": {"issuer": "https://auth.example.com", "tenant_claim": "org",
            "jwks": {"url": "https://auth.example.com/keys", "cluster": "auth"}}}]},
        "directory": {"cluster": "weir", "token": "t"},
    })
}

fn state(config: &Value) -> FilterState {
    let mut worker = Worker::new([7; 32]);
    worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("a configuration")
}

fn answer(status: u16, body: &str) -> Fetched<'_> {
    Fetched::Answer { status, etag: None, cache_control: None, body: body.as_bytes() }
}

/// Handles an answer to the end; what there is to log.
fn told(state: &mut FilterState, target: Target, answer: &Fetched<'_>) -> Option<FetchNotice> {
    let outcome = state.answered(target, answer, NOW).expect("an outcome");
    let notice = state.fetch_notice(target, &outcome, NOW);
    if !matches!(outcome, FetchOutcome::Tenants(crate::directory::poll::Update::Staged)) {
        return notice;
    }
    let outcome = (0..100).find_map(|_| state.step(NOW)).expect("the page is taken in");
    state.fetch_notice(target, &outcome, NOW)
}

fn failing(notice: Option<FetchNotice>) -> String {
    match notice {
        Some(FetchNotice::Failing(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// A state with its tenants and its issuer's keys.
fn fetched(config: &Value) -> FilterState {
    let mut state = state(config);
    assert_eq!(told(&mut state, Target::Directory, &answer(200, STATE)), None, "all is well from the start");
    assert_eq!(told(&mut state, Target::Keys(0), &answer(200, KEYS)), None);
    state
}

#[test]
fn why_a_fetch_fails_is_told_once_for_each_change() {
    let mut state = state(&config());
    let text = failing(told(&mut state, Target::Directory, &answer(503, "")));
    for part in ["directory of tenants", "cluster weir", "status 503", "next try is in 1 s", "503 not_ready"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(told(&mut state, Target::Directory, &answer(503, "")), None);
    assert!(failing(told(&mut state, Target::Directory, &answer(401, ""))).contains("scope directory"));
    assert!(failing(told(&mut state, Target::Directory, &Fetched::Unsent)).contains("has it a cluster"));
    assert!(failing(told(&mut state, Target::Directory, &answer(200, "<html>"))).contains("cannot be used"));
    let again = told(&mut state, Target::Directory, &answer(200, STATE));
    assert!(matches!(again, Some(FetchNotice::BackAgain(text)) if text.contains("cluster weir")));
    let text = failing(told(&mut state, Target::Directory, &Fetched::Nothing));
    assert!(text.contains("no answer") && text.contains("stays in force"), "{text}");
    let text = failing(told(&mut state, Target::Keys(0), &answer(404, "")));
    assert!(text.contains("issuer https://auth.example.com") && text.contains("cluster auth"), "{text}");
}

#[test]
fn a_configuration_takes_over_what_the_one_before_fetched_from_the_same_places() {
    let before = fetched(&config());
    let mut changed = config();
    changed["plans"]["q"] = json!({});
    let mut after = state(&changed);
    assert!(after.tenants(NOW).is_none());
    after.inherit(&before);
    assert!(after.tenants(NOW).is_some_and(|tenants| tenants.tenant("acme").is_some()));
    assert_eq!(after.identity.keyring.keys(0).map(<[_]>::len), Some(1));
    assert_eq!(after.readiness(NOW).status, 200);
}

#[test]
fn nothing_is_taken_over_from_another_place() {
    let before = fetched(&config());
    let mut elsewhere = config();
    elsewhere["directory"]["cluster"] = json!("other");
    elsewhere["identity"]["sources"][0]["jwt"]["jwks"]["url"] = json!("https://auth.example.com/other");
    let mut after = state(&elsewhere);
    after.inherit(&before);
    assert!(after.tenants(NOW).is_none() && after.identity.keyring.keys(0).is_none());
}

#[test]
fn what_was_taken_over_is_as_old_as_it_was() {
    let mut bounded = config();
    bounded["directory"]["staleness_max"] = json!("60s");
    let before = fetched(&bounded);
    let mut worker = Worker::new([7; 32]);
    let later = NOW.plus_millis(50_000);
    let text = bounded.to_string();
    let mut after = worker.configure(text.as_bytes(), &Environment::Elsewhere, later).expect("a configuration");
    after.inherit(&before);
    assert!(after.tenants(later).is_some() && after.tenants(NOW.plus_millis(60_001)).is_none());
}

#[test]
fn tenants_to_start_with_count_until_the_first_state_and_no_longer() {
    let mut config = config();
    config["directory"]["at_start"] = json!("inline");
    config["tenants"] = json!([{"id": "globex", "plan": "p"}]);
    let mut state = state(&config);
    let has = |state: &FilterState, id: &str| state.tenants(NOW).is_some_and(|tenants| tenants.tenant(id).is_some());
    assert!(has(&state, "globex"));
    told(&mut state, Target::Directory, &answer(503, ""));
    assert!(has(&state, "globex"), "a failure is no answer");
    told(&mut state, Target::Directory, &answer(200, STATE));
    assert!(has(&state, "acme") && !has(&state, "globex"));
}

#[test]
fn readiness_names_what_is_missing_and_nothing_else() {
    let mut state = state(&config());
    let reply = state.readiness(NOW);
    assert_eq!((reply.status, reply.body.as_str()), (503, r#"{"missing":["directory","keys"],"status":"not_ready"}"#));
    told(&mut state, Target::Directory, &answer(200, STATE));
    assert_eq!(state.readiness(NOW).body, r#"{"missing":["keys"],"status":"not_ready"}"#);
    told(&mut state, Target::Keys(0), &answer(200, KEYS));
    let reply = state.readiness(NOW);
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"missing":[],"status":"ready"}"#));
}
