//! Tenants that come late, change their plan or leave: what they owe for periods that are over does not change.
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::Timestamp;
use weir_ledger::query::LedgerReader;

use super::answering::run;
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::readings::post;
use super::server::Running;

const SETTINGS: &str = "\
tenants: tenants.yaml
prices: {shipped: false}
price_plans:
- {name: basic, currency: USD, plans: [basic], base_fee: 31, per_request: 1}
- {name: pro, currency: USD, plans: [pro], base_fee: 60, per_request: 2}
";
/// Long enough for a server to look at its files, and for the ledger to follow.
const NOTED_MAX: Duration = Duration::from_secs(20);
const BASIC: &str = "tenants: [{id: acme, plan: basic, created_at: 2026-10-20T00:00:00Z}]";

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

/// Starts a server at a moment, with these tenants.
async fn start(dir: tempfile::TempDir, at: &str, tenants: &str) -> Running {
    std::fs::write(dir.path().join("tenants.yaml"), tenants).expect("written");
    Running::start_in(dir, time(at), SETTINGS).await
}

/// So many requests of a tenant in the hour of a moment.
async fn send(server: &Running, tenant: &'static str, life: u8, at: &str, requests: u64) {
    let worker = Worker { tenant, ..Worker::new(life, time(at)) };
    let events: Vec<Vec<u8>> = (1..=requests).map(|number| worker.usage(number)).collect();
    assert!(server.post(batch(&events)).await.status().is_success());
}

async fn bill(server: &Running, tenant: &str, at: &str) -> Value {
    server.json(&format!("/v1/bill?tenant={tenant}&at={at}T12:00:00Z")).await
}

async fn total(server: &Running, at: &str) -> Value {
    bill(server, "acme", at).await["bills"][0]["total"].clone()
}

async fn october_revenue(server: &Running) -> Value {
    let view = server.json("/v1/margin?from=2026-10-01T00:00:00Z&to=2026-11-01T00:00:00Z").await;
    view["totals"][0]["revenue"].clone()
}

#[tokio::test]
async fn a_period_that_is_over_is_billed_by_the_plan_of_then() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(dir, "2026-11-21T12:30:00Z", BASIC).await;
    send(&server, "acme", 1, "2026-10-25T10:00:00Z", 2).await;
    send(&server, "acme", 2, "2026-11-10T10:00:00Z", 3).await;
    assert_eq!(total(&server, "2026-10-25").await, "14", "12 of 31 days, two requests");

    // An upgrade counts for the whole period in which it happens.
    let server = start(server.stop().await, "2026-11-22T12:30:00Z", &BASIC.replace("plan: basic", "plan: pro")).await;
    assert_eq!(total(&server, "2026-10-25").await, "14");
    assert_eq!(total(&server, "2026-11-21").await, "50", "22 of 30 days, three requests");
    assert_eq!(october_revenue(&server).await, "14");

    // The tenant leaves: it owes its last period, and nothing after it.
    let server = start(server.stop().await, "2026-11-23T12:30:00Z", "tenants: []").await;
    let server = Running::start_in(server.stop().await, time("2026-12-03T12:30:00Z"), SETTINGS).await;
    assert_eq!((total(&server, "2026-10-25").await, total(&server, "2026-11-21").await), (json!("14"), json!("66")));
    assert_eq!(bill(&server, "acme", "2026-12-02").await["bills"], json!([]));
    assert_eq!(october_revenue(&server).await, "14");
    let dir = server.stop().await;

    let rebuilt = run(dir.path(), &["ledger", "rebuild", "--json"]).await;
    assert_eq!(rebuilt.status.code(), Some(0), "{rebuilt:?}");
    let shown = printed(&run(dir.path(), &["bill", "acme", "--at", "2026-10", "--json"]).await);
    assert_eq!(shown["bills"][0]["total"], "14", "no log has the plans: a rebuilt ledger takes them over");
}

#[tokio::test]
async fn a_plan_that_changes_while_the_server_runs_is_noted() {
    let server = start(tempfile::tempdir().expect("a directory"), "2026-11-21T12:30:00Z", BASIC).await;
    send(&server, "acme", 1, "2026-10-25T10:00:00Z", 2).await;
    let path = server.dir.path().join("tenants.yaml");
    std::fs::write(path, BASIC.replace("plan: basic", "plan: pro")).expect("written");
    let ledger = server.dir.path().join("weir-data/ledger.sqlite");
    let noted = || {
        let histories = LedgerReader::open(&ledger).expect("opened").plan_histories(None).expect("read");
        histories["acme"].last().and_then(|entry| entry.plan.clone())
    };
    let waiting = async {
        while noted().as_deref() != Some("pro") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(NOTED_MAX, waiting).await.expect("noted");
    assert_eq!(total(&server, "2026-10-25").await, "14");
}

#[tokio::test]
async fn usage_before_a_tenant_was_created_is_charged_as_it_is_reported() {
    let late = "tenants: [{id: acme, plan: basic, created_at: 2026-11-12T08:00:00Z}]";
    let server = start(tempfile::tempdir().expect("a directory"), "2026-11-21T12:30:00Z", late).await;
    send(&server, "acme", 1, "2026-10-25T10:00:00Z", 4).await;
    send(&server, "acme", 2, "2026-11-10T10:00:00Z", 1).await;
    send(&server, "acme", 3, "2026-11-12T10:00:00Z", 1).await;
    assert_eq!(total(&server, "2026-11-21").await, "12.333333333333", "10 of 30 days, two requests");
    assert_eq!(total(&server, "2026-10-25").await, "4", "no fee is due yet");
    assert_eq!(october_revenue(&server).await, "4");
    assert_eq!(server.billable("requests").await, 6);
}

#[tokio::test]
async fn plans_are_compared_over_the_time_since_the_tenant_began() {
    let server = start(tempfile::tempdir().expect("a directory"), "2026-11-21T12:30:00Z", BASIC).await;
    send(&server, "acme", 1, "2026-10-25T10:00:00Z", 2).await;
    let view = server.json("/v1/prices/compare?tenant=acme").await;
    assert_eq!(view["periods"], json!(["2026-10-01T00:00:00.000Z"]), "it was not there in August and September");
    let of = |name: &str| {
        view["plans"].as_array().expect("plans").iter().find(|plan| plan["plan"] == name).cloned().expect("the plan")
    };
    assert_eq!((&of("basic")["revenue"], &of("basic")["current"]), (&total(&server, "2026-10-25").await, &json!(true)));
    assert_eq!(of("pro")["revenue"], "27.225806451613", "12 of 31 days, two requests");
}

#[tokio::test]
async fn billing_periods_of_the_tenants_file_count_without_a_provider() {
    let tenants = "tenants: [{id: acme, plan: basic, billing_anchor: 2026-01-31T10:37:22Z}]";
    let server = start(tempfile::tempdir().expect("a directory"), "2026-11-21T12:30:00Z", tenants).await;
    send(&server, "acme", 1, "2026-11-02T10:00:00Z", 1).await;
    let from = |view: Value| view["from"].clone();
    assert_eq!(from(bill(&server, "acme", "2026-11-21").await), "2026-10-31T10:37:22.000Z");
    let server = start(server.stop().await, "2026-11-22T12:30:00Z", "tenants: []").await;
    assert_eq!(from(bill(&server, "acme", "2026-11-21").await), "2026-10-31T10:37:22.000Z", "though it has left");
}

#[tokio::test]
async fn shares_of_a_cost_do_not_depend_on_the_step_that_is_asked_for() {
    let rules = "prices: {shipped: false, entries: [{model: m, per_request: 1}]}\nother_costs: [{reading: vectors, spread: {from: shared, by: requests}}]\n";
    let server = Running::start(noon(), rules).await;
    send(&server, "a", 1, "2026-11-21T12:00:00Z", 1).await;
    send(&server, "b", 2, "2026-11-10T10:00:00Z", 2).await;
    let reading =
        |id: &str, at: &str| json!({"id": id, "tenant": "shared", "name": "vectors", "time": at, "amount": "1"});
    let readings = json!([reading("v/1", "2026-11-21T12:10:00Z"), reading("v/2", "2026-11-12T05:30:00Z")]);
    assert_eq!(post(&server, &readings).await.0, 202);
    let shares = async |query: &str| {
        let rows = server.json(&format!("/v1/cost/other?{query}")).await;
        let of = |tenant: &str| -> Vec<String> {
            let rows = rows.as_array().expect("rows").iter().filter(|row| row["tenant"] == tenant);
            rows.map(|row| row["amount"].as_str().expect("an amount").to_owned()).collect()
        };
        (of("a"), of("b"))
    };
    let both = |a: [&str; 2], b: [&str; 2]| (a.map(str::to_owned).to_vec(), b.map(str::to_owned).to_vec());
    let apart = both(["0.333333333333", "0.333333333333"], ["0.666666666667", "0.666666666667"]);
    let together = (vec!["0.666666666666".to_owned()], vec!["1.333333333334".to_owned()]);
    assert_eq!(shares("step=hour").await, apart);
    assert_eq!(shares("step=day").await, apart);
    assert_eq!(shares("step=month").await, together);
    assert_eq!(shares("step=total").await, together);
    let (day_a, day_b) = shares("step=total&from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z").await;
    assert_eq!((day_a, day_b), (vec!["0.333333333333".to_owned()], vec!["0.666666666667".to_owned()]));
    let day = server.json("/v1/margin?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z&tenant=b").await;
    assert_eq!(day["totals"][0]["other_cost"], "0.666666666667", "{day}");
}

#[tokio::test]
async fn a_running_server_answers_though_a_file_of_prices_is_broken() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("more.json");
    std::fs::write(&file, r#"{"entries": []}"#).expect("written");
    let server = Running::start_in(dir, noon(), "prices: {files: [more.json]}\n").await;
    send(&server, "acme", 1, "2026-11-21T12:00:00Z", 2).await;
    std::fs::write(&file, r#"{"entries": ["#).expect("written");
    let at = server.dir.path().to_owned();
    let with = run(&at, &["usage", "--json"]).await;
    assert_eq!((with.status.code(), &printed(&with)["usage"][0]["tenant"]), (Some(0), &json!("acme")), "{with:?}");
    assert!(String::from_utf8_lossy(&with.stderr).contains("the server goes on with the last good prices"), "{with:?}");
    let dir = server.stop().await;
    let without = run(dir.path(), &["usage"]).await;
    assert_eq!(without.status.code(), Some(1), "nobody else has the prices");
    std::fs::remove_file(&file).expect("removed");
    let gone = String::from_utf8(run(dir.path(), &["prices", "list"]).await.stderr).expect("text");
    assert!(
        gone.contains("weir.yaml:") && gone.contains("prices.files[0]") && gone.contains("weir prices import"),
        "{gone}"
    );
}
