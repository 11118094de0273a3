//! Messages about budgets that several tenants share, and about budgets of some requests: who is responsible, and what used most.
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use weir_clock::ManualClock;

use super::events::{Worker, batch, noon};
use super::notifying::SECRET;
use super::server::Running;

const TENANTS: &str = "tenants: [{id: acme, plan: pro}, {id: globex, plan: free}, {id: initech, plan: free}]";
const PATIENCE: Duration = Duration::from_secs(20);
/// Nobody listens there: messages wait, and can be read.
const HOOK: &str = "webhook: {url: 'http://127.0.0.1:9/hook', secret: {file: secret}}";

async fn start(budgets: &str, receivers: &str) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    std::fs::write(dir.path().join("secret"), SECRET).expect("written");
    let alerts = format!(
        "alerts:\n  without: [unpriced-usage]\n  receivers: [{receivers}]\n  owners: {{acme: Ann, globex: Bob, initech: Eve}}\n\
         \x20 playbooks: {{pro: {{exceeded: call}}, free: {{exceeded: wait}}}}\n"
    );
    Running::start_by(dir, ManualClock::at(noon()), &format!("tenants: tenants.yaml\n{budgets}{alerts}")).await
}

/// Requests of a tenant with a feature, each of 15 tokens.
async fn send(server: &Running, worker: u8, tenant: &'static str, feature: &'static str, count: u64) {
    let worker = Worker { tenant, ..Worker::new(worker, noon()) };
    let event = |number| {
        worker.usage_with(number, |data| {
            data.feature = Some(feature).filter(|feature| !feature.is_empty()).map(Into::into);
            data.credential_id = Some("shop".into());
        })
    };
    let events: Vec<Vec<u8>> = (1..=count).map(event).collect();
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
}

/// The messages for a receiver, once there are some: what they say.
async fn messages(server: &Running, receiver: &str) -> Vec<Value> {
    let waiting = async {
        loop {
            let notices = server.json("/v1/alerts").await["notices"].clone();
            let its = notices.as_array().expect("rows").iter().filter(|notice| notice["receiver"] == receiver);
            let read = |notice: &Value| serde_json::from_str(notice["body"].as_str().expect("a body")).expect("JSON");
            let bodies: Vec<Value> = its.map(read).map(|body: Value| body["data"].clone()).collect();
            if !bodies.is_empty() {
                return bodies;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("messages")
}

const FAMILY: &str =
    "budgets:\n- {name: family, of: tokens, amount: 150, period: day, tenants: [acme, globex], shared: true}\n";

#[tokio::test]
async fn a_shared_budget_names_owners_playbooks_and_who_used_most() {
    let server = start(FAMILY, &format!("{{name: ops, {HOOK}, from: exceeded}}")).await;
    send(&server, 1, "acme", "chat", 2).await;
    send(&server, 2, "globex", "search", 8).await;
    let told = messages(&server, "ops").await;
    let last = &told[0];
    assert_eq!((&last["subject"], &last["owner"]), (&"#family".into(), &"Ann; Bob".into()));
    assert_eq!(last["action"], "free: wait pro: call");
    let driver = last["driver"].as_str().expect("a likely reason");
    assert!(
        driver.contains("tenant globex 80.00 %, acme 20.00 %") && driver.contains("feature search 80.00 %"),
        "{driver}"
    );
}

#[tokio::test]
async fn a_tenants_own_receiver_hears_of_a_shared_budget_and_nothing_of_the_other_tenants() {
    let receivers = format!("{{name: own, {HOOK}, tenants: [acme]}}, {{name: other, {HOOK}, tenants: [initech]}}");
    let server = start(FAMILY, &receivers).await;
    send(&server, 2, "globex", "search", 8).await;
    send(&server, 1, "acme", "chat", 2).await;
    let told = messages(&server, "own").await;
    assert!(told.iter().all(|data| data["subject"] == "#family"), "{told:?}");
    for data in &told {
        let driver = data["driver"].as_str().expect("a likely reason");
        assert!(driver.contains("feature search") && !driver.contains("globex"), "{driver}");
    }
    let all = server.json("/v1/alerts").await["notices"].to_string();
    assert!(!all.contains("\"other\""), "{all}");
}

#[tokio::test]
async fn the_likely_reason_looks_at_what_the_budget_covers_and_counts() {
    let budgets = "budgets:\n\
        - {name: chats, of: requests, amount: 4, period: day, tenants: [acme], only: {key: shop}}\n\
        - {name: other, of: requests, amount: 100, period: day, tenants: [acme], only: {key: app}}\n";
    let server = start(budgets, &format!("{{name: ops, {HOOK}, from: exceeded}}")).await;
    send(&server, 1, "acme", "chat", 3).await;
    send(&server, 2, "acme", "", 1).await;
    let told = messages(&server, "ops").await;
    let driver = told[0]["driver"].as_str().expect("a likely reason: nothing has a price, and requests count");
    assert_eq!(driver, "feature chat 75.00 %, without a feature 25.00 %");
}

#[tokio::test]
async fn a_message_says_why_a_stage_changed_where_usage_was_not_why() {
    let server = start(FAMILY, &format!("{{name: ops, {HOOK}, from: exceeded}}")).await;
    send(&server, 2, "globex", "search", 10).await;
    messages(&server, "ops").await;
    let path = server.dir.path().join("weir.yaml");
    let text = std::fs::read_to_string(&path).expect("read").replace(FAMILY, "");
    std::fs::write(&path, text).expect("written");
    let waiting = async {
        while messages(&server, "ops").await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the end is told");
    let told = messages(&server, "ops").await;
    let ended = told.iter().find(|data| data["stage"] == "ok").expect("the end");
    let summary = ended["summary"].as_str().expect("a summary");
    assert!(summary.contains("Why: the configuration changed: removed; it was: amount 150"), "{summary}");
}
