//! Feature flags from end to end: set at the real `weir serve`, decided in the real Envoy, told to the upstream.
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::load::{Call, Client};

use crate::edge::{Edge, Setup, tenant};

const GATEWAY: &str = "gateway-token-5f2c8e91d07b";
const OPERATOR: &str = "operator-token-1c7e02ab93";
/// A tenant whose place under the flag is 2410 of 10,000, so that a quarter includes it.
const WITHIN: &str = "hooli";
/// One whose place is 9042.
const BEYOND: &str = "acme";
/// A change is in force within a second; a busy machine takes longer.
const SOON: Duration = Duration::from_secs(20);
const ROUNDS: usize = 5;

fn serve() -> Aggregator {
    let token = |name: &str, scopes: Value, text: &str| json!({"name": name, "scopes": scopes, "sha256": KeyHash::of(text.as_bytes())});
    let config = json!({
        "data": "data", "tenants": "tenants.yaml",
        "tokens": [token("gateways", json!(["ingest", "directory"]), GATEWAY), token("ann", json!(["admin"]), OPERATOR)],
        "flags": {"use-claude": {"type": "bool", "default": false}},
    });
    let tenants = json!({"tenants": [tenant(WITHIN, "p"), tenant(BEYOND, "p")]}).to_string();
    Aggregator::start(&config, &[("tenants.yaml", &tenants)], &[]).expect("weir serve")
}

fn edge(weir: &Aggregator) -> Edge {
    let filter = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "directory": {"cluster": "aggregator", "token": GATEWAY, "refresh": "1s"},
        "flags": {"use-claude": {"type": "bool", "default": false}},
        "flags_header": true,
        "plans": {"p": {}},
        "events": {"cluster": "aggregator", "token": GATEWAY, "flush": "100ms"},
    });
    Setup { clusters: vec![("aggregator", weir.address())], ..Setup::default() }.start(&filter)
}

async fn set(weir: &Aggregator, percent: &str) {
    let rules = json!({"rules": [{"percent": percent, "value": true}]});
    let mut request = Call::post(format!("{}/v1/flags/use-claude", weir.url()), &rules);
    request = request.header("authorization", &format!("Bearer {OPERATOR}"));
    request.method = "PUT".parse().expect("a method");
    let reply = Client::new().send(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// What the upstream is told when a tenant asks; None if the request is refused.
async fn told(edge: &Edge, tenant: &str) -> Option<String> {
    let body = json!({"model": "gpt-x", "messages": [{"role": "user", "content": "How are you?"}]});
    let call = Call::post(format!("{}/v1/chat/completions", edge.envoy.url()), &body);
    let call = call.header("authorization", &format!("Bearer sk_weir_{tenant}")).header("x-weir-flags", "admin");
    if Client::new().send(call).await.status != 200 {
        return None;
    }
    let seen = edge.llm.seen().pop().expect("a request");
    let mut values = seen.headers.iter().filter(|(name, _)| name == "x-weir-flags").map(|(_, value)| value.clone());
    let value = values.next();
    assert!(values.next().is_none(), "one copy");
    value
}

/// Asks until the upstream is told this; returns how long that took.
async fn until(edge: &Edge, tenant: &str, expected: &str) -> Duration {
    let begun = clock::instant();
    while told(edge, tenant).await.as_deref() != Some(expected) {
        assert!(begun.elapsed() < SOON, "never {expected}: {}", edge.envoy.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_percentage_is_in_force_within_a_second_and_taken_back_as_fast() {
    let weir = serve();
    let edge = edge(&weir);
    until(&edge, WITHIN, "use-claude=?0").await;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        set(&weir, "25%").await;
        took.push(until(&edge, WITHIN, "use-claude").await);
        assert_eq!(told(&edge, BEYOND).await.as_deref(), Some("use-claude=?0"));
        set(&weir, "0%").await;
        took.push(until(&edge, WITHIN, "use-claude=?0").await);
    }
    took.sort();
    let (fastest, slowest) = (took[0], took[took.len() - 1]);
    println!(
        "a flag is in force after {} ms (median; {} to {})",
        took[took.len() / 2].as_millis(),
        fastest.as_millis(),
        slowest.as_millis()
    );
    assert!(fastest < Duration::from_secs(1), "{took:?}");
}
