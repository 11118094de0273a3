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

/// An answer that the provider keeps, and that each event tells again.
fn kept(number: u64) -> Vec<u8> {
    let worker = Worker { tenant: "acme", ..Worker::new(1, noon()) };
    worker.usage_with(number, |data| {
        (data.response_model, data.response_id) = (Some("small".into()), Some("resp_1".into()));
        data.kept = true;
    })
}

#[tokio::test]
async fn a_kept_answer_that_is_read_again_is_a_request_without_usage() {
    let server = Running::start(noon(), PRICES).await;
    assert!(server.post(batch(&[kept(1), kept(2)])).await.status().is_success());
    assert!(server.post(batch(&[kept(3)])).await.status().is_success());
    let page = server.json("/v1/cost/events").await;
    assert_eq!(costs(&page), ["0.00003", "0", "0"], "{page}");
    assert_eq!((&page["events"][1]["counted_before"], &page["events"][1]["input_tokens"]), (&json!(true), &json!(0)));
    let second = page["events"][0]["id"].as_str().expect("an id").to_owned();
    let later = server.json(&format!("/v1/cost/events?after={}", "1.1")).await;
    assert_eq!(costs(&later), ["0", "0"], "a page that begins after the first knows it too");
    assert_eq!(server.json("/v1/cost").await[0]["cost"], "0.00003");
    let first = server.json(&format!("/v1/events/{second}")).await;
    assert_eq!((&first["counted_before"], &first["cost"]["cost"]), (&Value::Null, &json!("0.00003")), "{first}");
    let repeat = page["events"][2]["id"].as_str().expect("an id");
    let repeat = server.json(&format!("/v1/events/{repeat}")).await;
    assert_eq!((&repeat["counted_before"], &repeat["cost"]["cost"]), (&json!(true), &json!("0")), "{repeat}");
}

#[tokio::test]
async fn events_of_before_the_log_begins_are_told_to_be_gone() {
    let server = Running::start(noon(), PRICES).await;
    for number in 1..=2 {
        assert!(server.post(batch(&[usage("acme", 1, number, "small")])).await.status().is_success());
    }
    let dir = server.stop().await;
    // As pruning leaves it: the first record is gone, and the second knows the one before it.
    let log = rusqlite::Connection::open(dir.path().join("weir-data/log.sqlite")).expect("the log");
    assert_eq!(log.execute("DELETE FROM record WHERE position = 1", []).expect("pruned"), 1);
    drop(log);
    let listed = run(dir.path(), &["events", "list", "--tenant", "acme"]).await;
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(
        text.contains("note: single events are kept since 2026-11-21T12:30:00.000Z: older ones are gone"),
        "{text}"
    );
    assert!(text.contains("1 events on this page: 0.00003 USD"), "{text}");
    let csv = run(dir.path(), &["events", "list", "--csv"]).await;
    assert!(String::from_utf8_lossy(&csv.stderr).contains("older ones are gone"), "{csv:?}");
    let since = run(dir.path(), &["events", "list", "--from", "2026-11-21T12:30:00Z"]).await;
    assert!(!String::from_utf8_lossy(&since.stdout).contains("gone"), "nothing of this span is missing: {since:?}");
    let costs = run(dir.path(), &["cost", "--json"]).await;
    assert_eq!(super::commands::json(&costs)[0]["cost"], "0.00006", "sums stand");
    let again = run(dir.path(), &["reprice", "--from", "2026-11-21", "--why", "a slip"]).await;
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(text.contains("2 requests priced again, from the sums by model"), "{again:?}");
}
