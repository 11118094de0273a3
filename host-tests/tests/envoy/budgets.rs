//! Budgets from end to end: the real Envoy, the real `weir serve`, a stand-in provider.
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::Timestamp;
use weir_contract::directory::KeyHash;
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::load::{Client, Reply};

use crate::edge::{Edge, Setup, tenant};

const TOKEN: &str = "gateway-token-5f2c8e91d07b";
/// How far away the end of the period is: no machine is so slow. The next one begins when the tenants file says so.
const PERIOD_SECS: u64 = 12 * 3_600;
/// The budget.
const REQUESTS: u64 = 20;

fn now() -> u64 {
    clock::now().as_second().try_into().expect("after 1970")
}

/// A tenants file in which the billing periods of acme end at this moment, and a day before and after it.
fn tenants(ends: u64) -> String {
    let mut acme = tenant("acme", "p");
    acme["billing_anchor"] = json!(Timestamp::from_secs(ends).to_string());
    acme["billing_interval"] = json!("day");
    json!({"tenants": [acme]}).to_string()
}

/// A server with a budget of 20 requests in a billing period.
fn serve(ends: u64) -> Aggregator {
    let config = json!({
        "data": "data", "tenants": "tenants.yaml",
        "tokens": [{"name": "gateways", "scopes": ["ingest", "directory"], "sha256": KeyHash::of(TOKEN.as_bytes())}],
        "budgets": [{"name": "period", "of": "requests", "amount": "20", "period": "billing_period"}],
    });
    Aggregator::start(&config, &[("tenants.yaml", &tenants(ends))], &[]).expect("weir serve")
}

fn edge(weir: &Aggregator) -> Edge {
    let stages = json!({
        "degrade": {"models": {"allow": ["fast"], "otherwise": {"replace": "fast"}}},
        "exceeded": {"refuse": {"status": 402}},
    });
    let filter = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "directory": {"cluster": "aggregator", "token": TOKEN, "refresh": "1s"},
        "plans": {"p": {"stages": stages}},
        "limit_headers": {"budget": true},
        "events": {"cluster": "aggregator", "token": TOKEN, "flush": "100ms"},
    });
    let mut setup = Setup::workers(2);
    setup.clusters = vec![("aggregator", weir.address())];
    setup.start(&filter)
}

async fn chat(edge: &Edge) -> Reply {
    let body = json!({"model": "premium", "messages": [{"role": "user", "content": "How are you?"}]});
    Client::new().send(edge.post("/v1/chat/completions", &body)).await
}

/// The model that the provider was asked for last.
fn asked(edge: &Edge) -> String {
    let seen = edge.llm.seen().pop().expect("a request");
    let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
    body["model"].as_str().expect("a model").to_owned()
}

/// Sends one request after the other until the provider is asked for another model, or one is refused. Returns how many
/// were served, and the answer that was another one.
async fn until_changed(edge: &Edge, model: &str) -> (u64, Reply) {
    let mut served = 0;
    loop {
        assert!(served < 10 * REQUESTS, "no stage arrives: {}", edge.envoy.log());
        let reply = chat(edge).await;
        if reply.status != 200 || asked(edge) != model {
            return (served, reply);
        }
        served += 1;
        // The least time in which an event can be counted and told; a burst would only test what is in flight.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn until_ready(edge: &Edge) {
    for _ in 0..300 {
        if edge.statuses(1).await == [200] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never ready: {}", edge.envoy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_premium_model_serves_until_90_percent_a_fast_one_after_and_all_again_in_the_next_period() {
    let ends = now() + PERIOD_SECS;
    let weir = serve(ends);
    let edge = edge(&weir);
    until_ready(&edge).await;
    let (premium, told) = until_changed(&edge, "premium").await;
    assert_eq!((told.status, asked(&edge)), (200, "fast".to_owned()));
    let header = told.header("x-weir-budget").expect("the header").to_owned();
    assert!(header.starts_with("period;stage=") && header.ends_with(&format!("resets=@{ends}")), "{header}");
    let (fast, refused) = until_changed(&edge, "fast").await;
    assert_eq!(refused.status, 402);
    let served = premium + fast + 1;
    println!("{premium} requests with the premium model, {served} of {REQUESTS} in all");
    assert!(served >= REQUESTS - 1, "refused at {served}: the first looks for readiness count, too");
    // Of the answer itself: the other worker may not have heard of it yet.
    let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!(wait <= PERIOD_SECS, "{wait}");
    // The subscription begins anew, and with it the period.
    std::fs::write(weir.folder().join("tenants.yaml"), tenants(now())).expect("written");
    until_ready(&edge).await;
    assert_eq!(chat(&edge).await.status, 200, "the stage ends with its period");
    assert_eq!(asked(&edge), "premium");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_reaches_every_worker_within_moments_of_the_event() {
    let weir = serve(now() + PERIOD_SECS);
    let edge = edge(&weir);
    until_ready(&edge).await;
    for _ in 0..REQUESTS {
        chat(&edge).await;
    }
    let begun = clock::instant();
    // Both workers, over connections of their own.
    loop {
        let statuses = edge.statuses(8).await;
        if statuses.iter().all(|status| *status == 402) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{statuses:?} {}", edge.envoy.log());
    }
    println!("from the last answer to refusal on every worker: {:?}", begun.elapsed());
}
