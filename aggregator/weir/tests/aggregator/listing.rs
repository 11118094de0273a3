//! The single events behind a sum of costs.
use serde_json::{Value, json};

use super::answering::run;
use super::events::{Worker, batch, noon};
use super::server::Running;

const PRICES: &str = "prices: {shipped: false, entries: [{model: small, per_million: {input: 1, output: 4}}, {model: big, per_million: {input: 100}}]}\n";

fn usage(tenant: &'static str, life: u8, number: u64, model: &'static str) -> Vec<u8> {
    let worker = Worker { tenant, ..Worker::new(life, noon()) };
    worker.usage_with(number, |data| data.response_model = Some(model.into()))
}

/// Three events of `acme`, the second twice, one of them without a price for its output, and one of another tenant.
async fn shop() -> Running {
    let server = Running::start(noon(), PRICES).await;
    let events = [usage("acme", 1, 1, "small"), usage("acme", 1, 2, "big"), usage("globex", 2, 1, "small")];
    assert!(server.post(batch(&events)).await.status().is_success());
    let events = [usage("acme", 1, 2, "big"), usage("acme", 1, 3, "small")];
    assert!(server.post(batch(&events)).await.status().is_success());
    server
}

fn costs(page: &Value) -> Vec<&str> {
    page["events"].as_array().expect("events").iter().map(|event| event["cost"].as_str().expect("a cost")).collect()
}

#[tokio::test]
async fn the_events_of_a_tenant_add_up_to_its_cost_and_repeats_are_not_among_them() {
    let server = shop().await;
    let page = server.json("/v1/cost/events?tenant=acme").await;
    assert_eq!(costs(&page), ["0.00003", "0.001", "0.00003"], "{page}");
    let sum = server.json("/v1/cost?tenant=acme").await;
    assert_eq!(sum[0]["cost"], "0.00106");
    assert_eq!((&page["next"], &page["kept_since"]), (&Value::Null, &Value::Null));
    let second = &page["events"][1];
    assert_eq!(second["unpriced"], json!({"output": 5}));
    assert_eq!(second["dimensions"], json!({"model": "big", "class": "other", "plan": "starter"}), "{second}");
    let unpriced = server.json("/v1/cost/events?unpriced=true").await;
    assert_eq!(costs(&unpriced), ["0.001"]);
    let of_model = server.json("/v1/cost/events?model=small").await;
    assert_eq!(of_model["events"].as_array().map(Vec::len), Some(3), "of both tenants");
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_or_a_repeat() {
    let server = shop().await;
    let (mut path, mut listed) = ("/v1/cost/events?limit=1".to_owned(), Vec::new());
    loop {
        let page = server.json(&path).await;
        listed.extend(page["events"].as_array().expect("events").iter().map(|event| event["id"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/cost/events?limit=1&after={next}");
    }
    let all = server.json("/v1/cost/events").await;
    let ids: Vec<String> =
        all["events"].as_array().expect("events").iter().map(|event| event["id"].to_string()).collect();
    assert_eq!((listed.len(), &listed), (4, &ids));
    for (query, says) in [("limit=0", "limit"), ("after=x", "next"), ("model=(other)", "beyond the bound")] {
        let answer = server.get(&format!("/v1/cost/events?{query}")).await;
        assert_eq!(answer.status(), 400, "{query}");
        assert!(answer.text().await.expect("text").contains(says), "{query}");
    }
}

#[tokio::test]
async fn the_command_lists_pages_and_csv_lists_all() {
    let server = shop().await;
    let listed = run(server.dir.path(), &["events", "list", "--tenant", "acme", "--limit", "2"]).await;
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(text.contains("2 events on this page: 0.00103 USD") && text.contains("--after"), "{text}");
    let csv = run(server.dir.path(), &["events", "list", "--csv"]).await;
    let text = String::from_utf8_lossy(&csv.stdout);
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.lines().next().is_some_and(|header| header.contains("cost,without_a_price")), "{text}");
    let dir = server.stop().await;
    let json = run(dir.path(), &["--json", "events", "list", "--tenant", "globex"]).await;
    assert_eq!(costs(&super::commands::json(&json)), ["0.00003"], "and without a server");
}
