//! Keys and tenants that come from elsewhere.
use crate::common::{ACME, config};
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, Request, get, ok, secs, status};

/// acme's token, signed with Ed25519 by a key that only the fetched set has.
fn token() -> String {
    let golden: Value = serde_json::from_str(include_str!("../../../filter/golden/tokens.json")).expect("json");
    let tokens = golden["tokens"].as_array().expect("tokens").clone();
    let entry = tokens.iter().find(|entry| entry["algorithm"] == "EdDSA").expect("a token");
    entry["token"].as_str().expect("text").to_owned()
}

fn set() -> String {
    let golden: Value = serde_json::from_str(include_str!("../../../filter/golden/tokens.json")).expect("json");
    json!({"keys": golden["keys"]}).to_string()
}

fn fetched_keys() -> Value {
    let mut config = config();
    config["plans"]["starter"] = json!({});
    config["identity"]["sources"] = json!([{"jwt": {
        "issuer": "https://vectors.example.com", "tenant_claim": "org.id",
        "jwks": {"url": "https://auth.example.com/keys", "cluster": "auth", "refresh": "5m", "refetch": "10s"}}}]);
    config
}

fn polled() -> Value {
    let mut config = config();
    config["plans"]["starter"] = json!({});
    config.as_object_mut().expect("an object").remove("tenants");
    config["directory"] = json!({"cluster": "tenants", "token": "t", "refresh": "10s", "staleness_max": "60s"});
    config
}

fn page(version: &str, next: Option<&str>, id: &str, key: &str) -> String {
    let key = json!({"id": "k", "sha256": KeyHash::of(key.as_bytes())});
    json!({"version": version, "next": next, "tenants": [{"id": id, "plan": "starter", "keys": [key]}]}).to_string()
}

fn models(credential: &str) -> Request {
    get("/v1/models").bearer(credential)
}

/// Answers all calls of all workers to an upstream.
fn answer_all(gateway: &Gateway, upstream: &str, code: u16, body: &str) {
    let body = body.to_owned();
    gateway.answer_all(upstream, move |_| status(code).body(&body));
}

/// Answers the calls that are under way, and leaves later ones open.
fn answer_calls_once(gateway: &Gateway, body: &str) {
    gateway.run_for(secs(1));
    gateway.calls().into_iter().for_each(|call| call.answer(200, body));
}

on_both_gateways! {
    fn until_the_first_keys_are_there_a_token_is_told_to_come_back(gateway) {
        let gateway = gateway.config(fetched_keys()).start();
        gateway.send(models(&token())).reply().assert_status(503).assert_header("retry-after", "1");
        answer_all(&gateway, "auth", 200, &set());
        gateway.run_for(secs(1));
        gateway.send(models(&token())).upstream(ok()).assert_status(200);
    }

    fn an_issuer_that_is_down_keeps_its_last_good_keys(gateway) {
        let gateway = gateway.config(fetched_keys()).start();
        answer_all(&gateway, "auth", 200, &set());
        gateway.run_for(secs(1));
        answer_all(&gateway, "auth", 503, "");
        gateway.run_for(secs(1_200));
        gateway.send(models(&token())).upstream(ok()).assert_status(200);
        assert!(gateway.metric("weir_jwks.result.failed") > 0);
    }

    fn a_key_that_is_withdrawn_takes_its_remembered_tokens_along(gateway) {
        let gateway = gateway.config(fetched_keys()).start();
        answer_all(&gateway, "auth", 200, &set());
        gateway.run_for(secs(1));
        gateway.send(models(&token())).upstream(ok()).assert_status(200);
        let others = set().replace("\"eddsa\"", "\"another\"");
        answer_all(&gateway, "auth", 200, &others);
        gateway.run_for(secs(301));
        gateway.send(models(&token())).reply().assert_status(401);
    }

    fn until_the_first_tenants_are_there_everybody_is_told_to_come_back(gateway) {
        let gateway = gateway.config(polled()).start();
        gateway.send(models(ACME)).reply().assert_status(503).assert_header("retry-after", "1");
        gateway.send(get("/healthz")).upstream(ok()).assert_status(200);
        answer_all(&gateway, "tenants", 200, &page("v1", None, "acme", ACME));
        gateway.run_for(secs(1));
        gateway.send(models(ACME)).upstream(ok()).assert_status(200);
    }

    fn a_suspension_is_in_force_within_the_refresh(gateway) {
        let gateway = gateway.config(polled()).start();
        answer_all(&gateway, "tenants", 200, &page("v1", None, "acme", ACME));
        gateway.run_for(secs(1));
        let suspended = page("v2", None, "acme", ACME).replace("\"plan\"", "\"state\":\"suspended\",\"plan\"");
        answer_all(&gateway, "tenants", 200, &suspended);
        gateway.run_for(secs(11));
        gateway.send(models(ACME)).reply().assert_status(403);
    }

    fn a_key_is_unknown_until_the_refresh_that_brings_it(gateway) {
        let gateway = gateway.config(polled()).start();
        answer_all(&gateway, "tenants", 200, &page("v1", None, "acme", ACME));
        gateway.run_for(secs(1));
        answer_all(&gateway, "tenants", 200, &page("v2", None, "acme", "sk_weir_new"));
        gateway.send(models("sk_weir_new")).reply().assert_status(401);
        gateway.send(models(ACME)).upstream(ok()).assert_status(200);
        gateway.run_for(secs(11));
        gateway.send(models("sk_weir_new")).upstream(ok()).assert_status(200);
        gateway.send(models(ACME)).reply().assert_status(401);
    }

    fn a_bad_state_changes_nothing_and_a_lost_directory_ends_at_its_age(gateway) {
        let gateway = gateway.config(polled()).start();
        answer_all(&gateway, "tenants", 200, &page("v1", None, "acme", ACME));
        gateway.run_for(secs(1));
        answer_all(&gateway, "tenants", 200, r#"{"version":"v2","tenants":[{"id":"acme"}]}"#);
        gateway.run_for(secs(30));
        gateway.send(models(ACME)).upstream(ok()).assert_status(200);
        assert!(gateway.metric("weir_directory.result.refused") > 0);
        answer_all(&gateway, "tenants", 503, "");
        gateway.run_for(secs(60));
        gateway.send(models(ACME)).reply().assert_status(503);
    }

    fn a_call_that_is_held_brings_the_change_as_soon_as_it_is_answered(gateway) {
        let gateway = gateway.config(polled()).start();
        answer_calls_once(&gateway, &page("v1", None, "acme", ACME));
        gateway.run_for(secs(1));
        let held = gateway.next_call("tenants");
        assert_eq!((held.path(), held.header("prefer")), ("/v1/directory?since=v1", Some("wait=25")));
        assert!(held.timeout() > secs(25), "{:?}", held.timeout());
        assert_eq!(held.header("weir-plans"), Some("free,starter"));
        gateway.run_for(secs(20));
        let open = gateway.calls().len();
        let suspended = page("v2", None, "acme", ACME).replace("\"plan\"", "\"state\":\"suspended\",\"plan\"");
        answer_calls_once(&gateway, &suspended);
        gateway.run_for(std::time::Duration::from_millis(300));
        gateway.send(models(ACME)).reply().assert_status(403);
        gateway.run_for(secs(1));
        assert_eq!(gateway.calls().len(), open, "one call of each worker at a time");
    }

    fn a_proxy_that_breaks_off_held_calls_does_not_keep_changes_away(gateway) {
        let gateway = gateway.config(polled()).start();
        answer_calls_once(&gateway, &page("v1", None, "acme", ACME));
        for _ in 0..12 {
            gateway.run_for(secs(10));
            for call in gateway.calls() {
                match call.header("prefer") {
                    Some(_) => call.time_out(),
                    None => call.answer(200, page("v2", None, "acme", "sk_weir_new")),
                }
            }
        }
        gateway.run_for(secs(1));
        gateway.send(models("sk_weir_new")).upstream(ok()).assert_status(200);
    }
}
