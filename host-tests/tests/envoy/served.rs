//! The real Envoy with the real `weir serve` behind it: what both logs say when something stops working.
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::aggregator::Aggregator;

use crate::edge::{Edge, Setup, tenant};

/// A token that `weir serve` knows, and one that it does not.
const TOKEN: &str = "gateway-token-5f2c8e91d07b";
const WRONG: &str = "gateway-token-of-somebody-else";

fn tenants_file(tenants: &[Value]) -> String {
    json!({"tenants": tenants}).to_string()
}

fn serve() -> Aggregator {
    let config = json!({
        "data": "data", "tenants": "tenants.yaml",
        "tokens": [{"name": "gateways", "scopes": ["ingest", "directory"], "sha256": KeyHash::of(TOKEN.as_bytes())}],
    });
    let tenants = tenants_file(&[tenant("acme", "p")]);
    Aggregator::start(&config, &[("tenants.yaml", &tenants)], &[]).expect("weir serve")
}

fn edge(weir: &Aggregator, ingest_token: &str) -> Edge {
    let filter = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "directory": {"cluster": "aggregator", "token": TOKEN, "refresh": "1s"},
        "plans": {"p": {}},
        "events": {"cluster": "aggregator", "token": ingest_token, "flush": "200ms"},
    });
    let mut setup = Setup::workers(1);
    setup.clusters = vec![("aggregator", weir.address())];
    setup.start(&filter)
}

/// Waits until a log has a line with this text.
async fn logged(log: impl Fn() -> String, part: &str) {
    for _ in 0..300 {
        if log().contains(part) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no line with {part:?}: {}", log());
}

fn lines(log: &str, part: &str) -> usize {
    log.lines().filter(|line| line.contains(part)).count()
}

async fn until_status(edge: &Edge, status: u16) {
    for _ in 0..300 {
        if edge.statuses(1).await == [status] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {status}: {}", edge.envoy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_file_that_is_emptied_closes_the_gateway_and_is_told() {
    let weir = serve();
    let edge = edge(&weir, TOKEN);
    until_status(&edge, 200).await;
    std::fs::write(weir.folder().join("tenants.yaml"), tenants_file(&[])).expect("written");
    until_status(&edge, 401).await;
    logged(|| weir.log(), "names no tenants or no keys any more: gateways refuse every key").await;
    let told = weir.log().lines().find(|line| line.contains("new tenants are in force")).map(str::to_owned);
    assert!(told.is_some_and(|line| line.contains("tenants_before") && line.contains('1')), "{}", weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_setting_that_waits_for_a_restart_is_told_once_and_the_gateway_goes_on() {
    let weir = serve();
    let edge = edge(&weir, TOKEN);
    until_status(&edge, 200).await;
    let text = std::fs::read_to_string(weir.config_file()).expect("the file");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["grace"] = json!("2h");
    std::fs::write(weir.config_file(), config.to_string()).expect("written");
    logged(|| weir.log(), "in force after a restart").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = weir.log();
    assert_eq!(lines(&log, "in force after a restart"), 1, "{log}");
    assert!(log.lines().any(|line| line.contains("in force after a restart") && line.contains("grace")), "{log}");
    assert_eq!(edge.statuses(1).await, [200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_does_not_arrive_is_told_once_for_each_change() {
    let mut weir = serve();
    let edge = edge(&weir, WRONG);
    until_status(&edge, 200).await;
    let refused = "usage events do not reach the aggregator (cluster aggregator): status 401; is `events.token`";
    logged(|| edge.envoy.log(), refused).await;
    assert_eq!(edge.statuses(5).await, [200; 5]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(lines(&edge.envoy.log(), refused), 1, "{}", edge.envoy.log());
    weir.kill().expect("killed");
    logged(|| edge.envoy.log(), "usage events do not reach the aggregator (cluster aggregator): status 503").await;
    // Else the server may be back before the gateway has missed it.
    logged(|| edge.envoy.log(), "the directory of tenants is not fetched (cluster aggregator)").await;
    weir.restart().expect("weir serve");
    logged(|| edge.envoy.log(), "the directory of tenants is fetched again (cluster aggregator)").await;
    assert_eq!(edge.statuses(5).await, [200; 5], "what was known stayed in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_arrives_again_is_told() {
    let mut weir = serve();
    let edge = edge(&weir, TOKEN);
    until_status(&edge, 200).await;
    weir.kill().expect("killed");
    assert_eq!(edge.statuses(2).await, [200; 2]);
    logged(|| edge.envoy.log(), "usage events do not reach the aggregator (cluster aggregator)").await;
    weir.restart().expect("weir serve");
    logged(|| edge.envoy.log(), "usage events reach the aggregator again (cluster aggregator)").await;
}
