//! What people do about held rows and sums, and that it waits for no report that is under way.
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir::store::{DataDir, Store};
use weir_billing::outbox::policy::BillingPolicy;
use weir_billing::outbox::report::{Pace, Reporter, Tenants};
use weir_billing::outbox::view::ReportRequest;
use weir_billing::{Account, Answer, BillingSink, MeterEvent, RequestError, Summary};
use weir_clock::{Clock, ManualClock};
use weir_contract::Timestamp;
use weir_ledger::LedgerError;
use weir_ledger::meters::{self, Meters};
use weir_ledger::thread::LedgerHandle;
use weir_ledger::validate::Format;

use super::answering::{Billed, causes, run};
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::holding::World;
use super::server::TOKEN;

const HOUR: Duration = Duration::from_secs(3_600);

impl World {
    /// Rows that came after their invoice: held, one an hour.
    pub(super) async fn with_late_rows(rows: u8) -> Self {
        let world = World::start("day").await;
        world.clock.advance(26 * HOUR);
        for life in 0..rows {
            let hour = Timestamp::from_millis(world.now.as_millis() + u64::from(life) * 3_600_000);
            world.server.post(batch(&[Worker::new(life + 1, hour).usage(1)])).await;
        }
        assert_eq!(world.report().await["held"], json!({"invoiced": rows}));
        world
    }

    async fn refusal(&self, path: &str, body: &Value) -> String {
        self.refusal_with(400, path, body).await
    }

    async fn refusal_with(&self, status: u16, path: &str, body: &Value) -> String {
        let request = self.server.http.post(format!("{}{path}", self.server.url)).bearer_auth(TOKEN).json(body);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{body}");
        answer.text().await.expect("text")
    }
}

#[tokio::test]
async fn rows_billed_by_hand_are_settled_and_stay_out_of_every_later_report() {
    let world = World::with_late_rows(3).await;
    let dir = world.server.dir.path().to_owned();
    let args = ["stripe", "settle", "1", "2", "--as", "invoiced", "--ref", "ii_1", "--why", "march invoice", "--json"];
    let settled = run(&dir, &args).await;
    assert_eq!((settled.status.code(), printed(&settled)[1]["row"].as_i64()), (Some(0), Some(2)), "{settled:?}");
    let status = world.server.json("/v1/stripe").await;
    assert_eq!(
        (&status["held"], &status["settled"], status["rows"].as_array().map(Vec::len)),
        (&json!(1), &json!(2), Some(1))
    );
    let world = world.restart("next_period", |_| ()).await;
    assert_eq!(world.server.ask("/v1/report", &json!({"retry_held": true})).await["released"], 1);
    assert_eq!(world.total(), 1, "only the third is sent");
    let ledger = world.server.json("/v1/ledger").await;
    let meter =
        ledger["meters"].as_array().expect("meters").iter().find(|meter| meter["meter"] == "requests").expect("it");
    assert_eq!((&meter["settled"], &meter["reported"], &ledger["balanced"]), (&json!(2), &json!(1), &json!(true)));
    let view = world.server.ask("/v1/reconcile", &json!({})).await;
    assert_eq!(causes(&view), [], "they are expected nowhere: {view}");
    let audit = world.server.json("/v1/audit").await.to_string();
    assert!(audit.contains("invoiced by ii_1: march invoice") && audit.contains("stripe settle"), "{audit}");
    let metrics = world.server.get("/metrics").await.text().await.expect("text");
    assert!(metrics.contains("weir_outbox_rows{state=\"settled\"} 2"), "{metrics}");
}

#[tokio::test]
async fn settlements_outlive_a_rebuilt_ledger_and_work_without_a_server() {
    let world = World::with_late_rows(2).await;
    let World { server, stripe: _stripe, .. } = world;
    let dir = server.stop().await;
    let void = run(dir.path(), &["stripe", "settle", "1", "--as", "void", "--why", "a test tenant"]).await;
    assert_eq!(void.status.code(), Some(0), "{void:?}");
    let nothing = run(dir.path(), &["stripe", "settle", "1", "--as", "void", "--why", "again"]).await;
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("row 1 is settled"), "{nothing:?}");
    assert_eq!(run(dir.path(), &["ledger", "rebuild", "--replace"]).await.status.code(), Some(0));
    let status = run(dir.path(), &["stripe", "status", "--json"]).await;
    assert_eq!((&printed(&status)["settled"], &printed(&status)["held"]), (&json!(1), &json!(1)), "{status:?}");
    assert_eq!(printed(&run(dir.path(), &["ledger", "--json"]).await)["balanced"], true);
}

#[tokio::test]
async fn a_settlement_is_for_administrators_and_says_by_what_and_why() {
    let world = World::with_late_rows(1).await;
    let url = format!("{}/v1/stripe/settle", world.server.url);
    let good = json!({"rows": [1], "as": "invoiced", "ref": "ii_1", "why": "by hand"});
    let stranger = world.server.http.post(url).bearer_auth("another-token-of-nobody").json(&good);
    assert_eq!(stranger.send().await.expect("an answer").status(), 401);
    for (field, value, words) in [("ref", json!(""), "ref"), ("why", json!(" "), "why"), ("as", json!("paid"), "as")] {
        let mut body = good.clone();
        body[field] = value;
        let said = world.refusal("/v1/stripe/settle", &body).await;
        assert!(field == "as" || said.contains(words), "{said}");
    }
    let mut unknown = good.clone();
    unknown["rows"] = json!([9]);
    let request = world.server.http.post(format!("{}/v1/stripe/settle", world.server.url)).bearer_auth(TOKEN);
    let answer = request.json(&unknown).send().await.expect("an answer");
    assert_eq!(answer.status(), 409, "there is no such row");
    assert_eq!(world.server.json("/v1/stripe").await["held"], 1, "nothing was settled");
}

#[tokio::test]
async fn held_rows_are_let_go_one_by_one() {
    let world = World::with_late_rows(3).await.restart("next_period", |_| ()).await;
    let dir = world.server.dir.path().to_owned();
    let one = run(&dir, &["report", "--retry-held", "--row", "2", "--json"]).await;
    assert_eq!((printed(&one)["released"].as_u64(), one.status.code()), (Some(1), Some(3)), "{one:?}");
    assert_eq!(world.total(), 1);
    let none = run(&dir, &["report", "--retry-held", "--reason", "refused", "--json"]).await;
    assert_eq!(printed(&none)["released"], 0, "{none:?}");
    let none = run(&dir, &["report", "--retry-held", "--customer", "cus_other", "--json"]).await;
    assert_eq!(printed(&none)["released"], 0, "{none:?}");
    let gone = run(&dir, &["report", "--retry-held", "--row", "2"]).await;
    assert!(String::from_utf8_lossy(&gone.stderr).contains("row 2 is reported, not held"), "{gone:?}");
    let odd = run(&dir, &["report", "--row", "1"]).await;
    assert_eq!(odd.status.code(), Some(2), "a filter of what is not asked for: {odd:?}");
    let rest = run(&dir, &["report", "--retry-held", "--customer", "cus_acme", "--reason", "invoiced", "--json"]).await;
    assert_eq!((printed(&rest)["released"].as_u64(), rest.status.code()), (Some(2), Some(0)), "{rest:?}");
}

#[tokio::test]
async fn a_correction_that_no_invoice_can_take_is_refused_with_the_reason() {
    let world = World::start("month").await;
    world.server.post(batch(&[Worker::new(1, world.now).usage(1)])).await;
    let good = json!({"tenant": "acme", "meter": "requests", "window": world.now, "value": 1, "why": "w"});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let year_2020 = with("window", json!("2020-03-01T00:00:00Z"));
    let said = world.refusal_with(409, "/v1/adjust", &with("tenant", json!("acmee"))).await;
    assert!(said.contains("there is no tenant"), "{said}");
    for (body, words) in [
        (year_2020.clone(), "is final"),
        (with("window", json!(Timestamp::from_millis(world.now.as_millis() - 36 * 24 * 3_600_000))), "is final"),
        (with("value", json!(1_000_000_000_000_000_i64)), "15 digits"),
        (with("window", json!(world.now.plus_millis(7_200_000))), "has not begun"),
    ] {
        let said = world.refusal("/v1/adjust", &body).await;
        assert!(said.contains(words), "{body}: {said}");
    }
    let world = world.restart("next_period", |_| ()).await;
    let said = world.refusal("/v1/adjust", &year_2020).await;
    assert!(said.contains("more than 400 days back"), "{said}");
    let status = world.server.json("/v1/stripe").await;
    assert_eq!((&status["held"], &status["pending"]), (&json!(0), &json!(0)), "nothing was made: {status}");
    assert_eq!(world.server.ask("/v1/adjust", &good).await["held"], Value::Null);
}

#[tokio::test]
async fn a_correction_does_not_wait_for_the_report_that_is_under_way() {
    let billed = Billed::start_with(&["ai_requests", "ai_credits"], 1_000).await;
    let events: Vec<Vec<u8>> = (0..6)
        .map(|hour| {
            let time = Timestamp::from_millis(billed.now.as_millis() - hour * 3_600_000);
            Worker::new(1, time).usage(hour + 1)
        })
        .collect();
    billed.post(&events).await;
    // One call at a time of a customer's meter: six of them, one after the other.
    billed.stripe.set_latency(Duration::from_secs(2));
    let corrected = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        let body = json!({"tenant": "acme", "meter": "requests", "window": billed.now, "value": 1, "why": "w"});
        billed.server.ask("/v1/adjust", &body).await;
        began.elapsed()
    };
    let began = Instant::now();
    let (report, waited) = tokio::join!(billed.report(), corrected);
    assert!(began.elapsed() > Duration::from_secs(10), "it took long: {report}");
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

/// What a call of a provider does before it is taken.
#[derive(Debug)]
enum Call {
    /// It takes half a minute, by the clock of the test.
    Slow(Arc<ManualClock>),
    /// During the first one the ledger fails. The identifiers of all are kept.
    Breaking(LedgerHandle, Arc<Mutex<Vec<String>>>),
}

/// A provider that takes everything.
#[derive(Debug)]
struct Provider {
    account: Account,
    call: Call,
}

impl Provider {
    fn of(call: Call) -> Self {
        Provider { account: Account { id: "acct_1".to_owned(), livemode: false }, call }
    }
}

impl BillingSink for Provider {
    fn account(&self) -> &Account {
        &self.account
    }

    async fn identify(&self) -> Result<Account, RequestError> {
        Ok(self.account.clone())
    }

    async fn summaries(&self, _: &str, _: &str, _: Timestamp, _: Timestamp) -> Result<Vec<Summary>, RequestError> {
        Ok(Vec::new())
    }

    async fn send(&self, event: MeterEvent) -> Answer {
        match &self.call {
            Call::Slow(clock) => clock.advance(Duration::from_secs(30)),
            Call::Breaking(ledger, calls) => {
                let is_first = calls.lock().expect("whole").is_empty();
                calls.lock().expect("whole").push(event.identifier);
                if is_first {
                    let breaks =
                        "CREATE TEMP TRIGGER breaks BEFORE UPDATE ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END";
                    run_in(ledger, breaks).await;
                }
            }
        }
        Answer::Taken { request_id: None }
    }
}

/// A ledger with a row for each of some hours, and a reporter that sends them to `sink`.
async fn reporter(
    dir: &Path,
    clock: &Arc<ManualClock>,
    rows: u64,
    sink: impl FnOnce(&Store) -> Provider,
) -> (Store, Reporter<Provider>) {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good");
    let store = Store::open(DataDir::at(dir), meters, Arc::clone(clock) as Arc<dyn Clock>).expect("a store");
    let sink = sink(&store);
    let policy = BillingPolicy {
        ledger: store.ledger_id.clone(),
        account: sink.account().clone(),
        event_names: [("requests".to_owned(), "weir_requests".to_owned())].into(),
        invoice_delay_ms: 3_600_000,
        ..BillingPolicy::default()
    };
    let file = store.home.ledger_identity().expect("a file");
    let pace = Pace { concurrency: 1, calls_per_second: 1_000 };
    let reporter = Reporter::new(store.ledger.clone(), file, sink, policy, pace, Arc::clone(clock) as Arc<dyn Clock>);
    let events: Vec<Vec<u8>> = (0..rows)
        .map(|hour| Worker::new(1, Timestamp::from_millis(noon().as_millis() - (hour + 2) * 3_600_000)).usage(hour + 1))
        .collect();
    let taken = store.intake.take(noon(), None, Format::Batch, batch(&events)).expect("taken");
    taken.synced.await.expect("answered").expect("synced");
    store.catch_up().await.expect("counted");
    (store, reporter)
}

fn tenants() -> Tenants {
    Tenants { customers: [("acme".to_owned(), "cus_1".to_owned())].into(), ..Tenants::default() }
}

#[tokio::test]
async fn a_run_ends_after_a_minute_and_says_that_there_is_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::at(noon());
    let slow = |_: &Store| Provider::of(Call::Slow(Arc::clone(&clock)));
    let (_store, reporter) = reporter(dir.path(), &clock, 5, slow).await;
    let mut reported = Vec::new();
    loop {
        let view = reporter.run(ReportRequest::default(), tenants).await.expect("a report");
        reported.push(view.reported);
        if !view.more {
            assert_eq!((view.pending, view.stopped), (0, None));
            break;
        }
    }
    assert_eq!(reported, [2, 2, 1], "two calls a minute");
}

async fn run_in(ledger: &LedgerHandle, sql: &'static str) {
    ledger.call(move |ledger| Ok::<_, LedgerError>(ledger.db().execute_batch(sql)?)).await.expect("done");
}

#[tokio::test]
async fn a_row_whose_answer_could_not_be_noted_is_sent_again_by_the_next_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let (clock, calls) = (ManualClock::at(noon()), Arc::new(Mutex::new(Vec::new())));
    let breaking = |store: &Store| Provider::of(Call::Breaking(store.ledger.clone(), Arc::clone(&calls)));
    let (store, reporter) = reporter(dir.path(), &clock, 1, breaking).await;
    reporter.run(ReportRequest::default(), tenants).await.expect_err("the ledger fails");
    run_in(&store.ledger, "DROP TRIGGER breaks").await;
    let view = reporter.run(ReportRequest::default(), tenants).await.expect("a report");
    assert_eq!((view.reported, view.pending), (1, 0), "it does not stay under way for as long as the process lives");
    let calls = calls.lock().expect("whole").clone();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls.first(), calls.last(), "under one identifier, so that the provider counts it once");
}
