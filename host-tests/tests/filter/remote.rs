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
}

/// The most memory of a worker with the largest directory, twice over while a new state comes in.
const WORKER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// A page of the largest directory: 500 tenants with two keys each.
fn large_page(version: &str, number: usize) -> String {
    let key = |name: String| json!({"id": name, "sha256": KeyHash::of(name.as_bytes()), "environment": "production"});
    let tenant = |at: usize| {
        let keys = [key(format!("sk_weir_{at}_a")), key(format!("sk_weir_{at}_b"))];
        json!({"id": format!("tenant-{at:06}"), "plan": "starter", "keys": keys})
    };
    let tenants: Vec<Value> = (number * 500..(number + 1) * 500).map(tenant).collect();
    let next = (number < 199).then(|| format!("{version}.{}", number + 1));
    json!({"version": version, "next": next, "tenants": tenants}).to_string()
}

#[test]
fn a_hundred_thousand_tenants_fit_into_a_worker_twice_and_change_no_requests_cost() {
    let gateway = Gateway::envoy().config(polled()).start();
    answer_all(&gateway, "tenants", 200, &page("v0", None, "tenant-000001", "sk_weir_1_a"));
    gateway.run_for(secs(1));
    let few = gateway.send(models("sk_weir_1_a")).upstream(ok()).fuel();
    for version in ["v1", "v2"] {
        gateway.answer_all("tenants", move |call| {
            if call.header("if-none-match").is_some_and(|known| known.contains(version)) {
                return status(304);
            }
            let number = call.path().rsplit_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
            status(200).body(large_page(version, number))
        });
        gateway.run_for(secs(60));
    }
    assert_eq!(gateway.metric("weir_directory.result.refused"), 0);
    let reply = gateway.send(models("sk_weir_99999_b")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-tenant-id"), Some("tenant-099999"));
    let many = reply.fuel();
    let bytes = gateway.worker(0).memory_bytes();
    println!(
        "{} MiB with 100,000 tenants and 200,000 keys; a request {many} instructions, {few} with one tenant",
        bytes >> 20
    );
    assert!(bytes < WORKER_MAX_BYTES, "{bytes} bytes");
    assert!(many < few + few / 5, "{many} instructions, {few} with one tenant");
}
