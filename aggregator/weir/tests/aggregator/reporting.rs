//! Counted usage becomes meter events, each once.
use serde_json::{Value, json};
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_rig::stripe::{Account, Fault, StripeServer};

use super::commands::{json as printed, weir};
use super::events::{Worker, batch};
use super::server::Running;

const HOURS_2: u64 = 2 * 3_600_000;

/// A server in real time that reports to a stand-in.
struct Billed {
    server: Running,
    stripe: StripeServer,
    now: Timestamp,
}

const TENANTS: &str = "tenants: [{id: acme, plan: p, stripe_customer: cus_acme}, {id: beta, plan: p}]";

impl Billed {
    async fn start() -> Self {
        Self::start_as(&Account::sandbox().secret_key).await
    }

    async fn start_as(key: &str) -> Self {
        let stripe = StripeServer::start(Account::sandbox()).expect("a stand-in");
        let clock = SystemClock::start();
        let now = clock.now();
        for name in ["weir_requests", "weir_input_tokens"] {
            let at = jiff::Timestamp::from_millisecond(now.as_millis().cast_signed()).expect("a time");
            stripe.stripe().add_meter(at, name);
        }
        stripe.stripe().add_customer("cus_acme");
        stripe.stripe().add_customer("cus_beta");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
        std::fs::write(dir.path().join("key"), key).expect("written");
        let more = format!(
            "tenants: tenants.yaml\nstripe: {{secret_key: {{file: key}}, url: '{}', account: acct_rig, \
             meters: {{requests: weir_requests, input_tokens: weir_input_tokens}}}}\n",
            stripe.url()
        );
        let server = Running::start_by(dir, clock, &more).await;
        Billed { server, stripe, now }
    }

    fn worker(&self, life: u8) -> Worker {
        Worker::new(life, self.now)
    }

    /// Closes and reports every window.
    async fn report(&self) -> Value {
        self.server.ask("/v1/report", &json!({"as_of": self.now.plus_millis(HOURS_2)})).await
    }

    fn total(&self, customer: &str, event_name: &str) -> i64 {
        self.stripe.stripe().total(customer, event_name)
    }

    async fn meter(&self, name: &str) -> Value {
        let view = self.server.json("/v1/ledger").await;
        assert_eq!(view["balanced"], true);
        view["meters"].as_array().expect("meters").iter().find(|m| m["meter"] == name).expect("the meter").clone()
    }
}

#[tokio::test]
async fn a_closed_window_reaches_stripe_once_however_often_it_is_reported() {
    let billed = Billed::start().await;
    let worker = billed.worker(1);
    billed.server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    let first = billed.report().await;
    assert_eq!((&first["created"], &first["reported"]), (&json!(2), &json!(2)), "{first}");
    let second = billed.report().await;
    assert_eq!((&second["created"], &second["reported"]), (&json!(0), &json!(0)));
    assert_eq!((billed.total("cus_acme", "weir_requests"), billed.total("cus_acme", "weir_input_tokens")), (2, 20));
    assert_eq!(billed.meter("input_tokens").await["reported"], 20);
}

#[tokio::test]
async fn an_open_window_is_not_reported() {
    let billed = Billed::start().await;
    billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
    let view = billed.server.ask("/v1/report", &json!({})).await;
    assert_eq!(view["created"], 0);
    assert_eq!(billed.meter("requests").await["pending"], 1);
}

#[tokio::test]
async fn late_events_become_a_correction() {
    let billed = Billed::start().await;
    let worker = billed.worker(1);
    billed.server.post(batch(&[worker.usage(1)])).await;
    billed.report().await;
    billed.server.post(batch(&[worker.usage(2), worker.usage(3)])).await;
    assert_eq!(billed.report().await["created"], 2);
    assert_eq!(billed.total("cus_acme", "weir_requests"), 3);
    assert_eq!(billed.stripe.stripe().meter_events().len(), 4, "two windows' rows and their corrections");
}

#[tokio::test]
async fn two_reports_at_once_send_everything_once() {
    let billed = Billed::start().await;
    let worker = billed.worker(1);
    billed.server.post(batch(&(1..=50).map(|n| worker.usage(n)).collect::<Vec<_>>())).await;
    tokio::join!(billed.report(), billed.report(), billed.report());
    assert_eq!(billed.total("cus_acme", "weir_requests"), 50);
}

#[tokio::test]
async fn work_done_behind_an_error_is_not_done_again() {
    for fault in [Fault::ErrorAfter(500), Fault::ResetAfter, Fault::ErrorBefore(503), Fault::ResetBefore] {
        let billed = Billed::start().await;
        billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
        billed.stripe.fail_next(2, fault);
        let view = billed.report().await;
        assert_eq!((view["pending"].as_u64(), &view["held"]), (Some(0), &json!({})), "{fault:?}: {view}");
        assert_eq!(billed.total("cus_acme", "weir_requests"), 1, "{fault:?}");
        assert_eq!(billed.total("cus_acme", "weir_input_tokens"), 10, "{fault:?}");
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_out() {
    let billed = Billed::start().await;
    billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
    billed.stripe.fail_next(1, Fault::RateLimit(Some(1)));
    billed.stripe.fail_next(1, Fault::LockTimeout);
    assert_eq!(billed.report().await["pending"], 0);
    assert_eq!(billed.total("cus_acme", "weir_requests"), 1);
}

#[tokio::test]
async fn a_tenant_without_a_customer_is_held_and_sent_once_it_has_one() {
    let billed = Billed::start().await;
    let beta = Worker { tenant: "beta", ..billed.worker(1) };
    billed.server.post(batch(&[beta.usage(1)])).await;
    assert_eq!(billed.report().await["held"], json!({"no_customer": 2}));
    assert_eq!(billed.meter("requests").await["held"], 1);
    let tenants = TENANTS.replace("{id: beta, plan: p}", "{id: beta, plan: p, stripe_customer: cus_beta}");
    std::fs::write(billed.server.dir.path().join("tenants.yaml"), tenants).expect("written");
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        if billed.report().await["held"] == json!({}) {
            break;
        }
    }
    assert_eq!(billed.total("cus_beta", "weir_requests"), 1);
}

#[tokio::test]
async fn a_customer_stripe_does_not_know_is_held_and_blocks_nobody() {
    let billed = Billed::start().await;
    billed.stripe.fail_next(1, Fault::ErrorBefore(400));
    billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
    let view = billed.report().await;
    assert_eq!((&view["held"], &view["reported"]), (&json!({"refused": 1}), &json!(1)));
    let rows = billed.server.json("/v1/stripe").await;
    assert_eq!((&rows["held"], &rows["rows"][0]["reason"]), (&json!(1), &json!("refused")));
}

#[tokio::test]
async fn a_wrong_key_stops_the_run_and_holds_nothing() {
    let billed = Billed::start_as("sk_test_wrong").await;
    billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
    let view = billed.report().await;
    assert!(view["stopped"].as_str().is_some_and(|why| why.contains("401")), "{view}");
    assert_eq!((&view["pending"], &view["held"]), (&json!(2), &json!({})));
}

#[tokio::test]
async fn an_identifier_that_was_there_before_the_row_was_sent_is_held() {
    let billed = Billed::start().await;
    billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
    let ledger = billed.server.json("/v1/ledger").await["ledger"].as_str().expect("a name").to_owned();
    let account = weir_billing::Account { id: "acct_rig".to_owned(), livemode: false };
    let identifier = weir_billing::outbox::Identity {
        ledger: &ledger,
        account: &account,
        customer: "cus_acme",
        tenant: "acme",
        meter: "requests",
        event_name: "weir_requests",
        window: billed.now.hour(),
        revision: 0,
    }
    .identifier();
    let form = [
        ("event_name", "weir_requests"),
        ("payload[stripe_customer_id]", "cus_acme"),
        ("payload[value]", "7"),
        ("identifier", &identifier),
    ];
    let request = billed.server.http.post(format!("{}/v1/billing/meter_events", billed.stripe.url()));
    let sent = request.bearer_auth(Account::sandbox().secret_key).form(&form).send().await.expect("an answer");
    assert!(sent.status().is_success());
    assert_eq!(billed.report().await["held"], json!({"taken_elsewhere": 1}));
    assert_eq!(billed.total("cus_acme", "weir_requests"), 7, "ours was not added to it");
}

#[tokio::test]
async fn a_run_stopped_by_a_bad_key_is_taken_up_again() {
    let billed = Billed::start().await;
    billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
    billed.stripe.fail_next(2, Fault::ErrorBefore(401));
    assert_eq!(billed.report().await["pending"], 2);
    assert_eq!(billed.report().await["pending"], 0);
    assert_eq!(billed.total("cus_acme", "weir_requests"), 1);
}

/// The configuration of a server that reports to `stripe` for `account`.
fn stripe_config(stripe: &StripeServer, account: &str) -> String {
    let url = stripe.url();
    format!("stripe: {{secret_key: {{file: key}}, url: '{url}', {account}meters: {{requests: weir_requests}}}}\n")
}

#[tokio::test]
async fn a_key_of_the_other_mode_refuses_to_start() {
    let billed = Billed::start().await;
    billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
    billed.report().await;
    let Billed { server, stripe, .. } = billed;
    let dir = server.stop().await;
    std::fs::write(dir.path().join("key"), Account::live().secret_key).expect("written");
    let error = Running::refused(dir, &stripe_config(&stripe, "account: acct_rig, ")).await;
    assert!(error.contains("(live mode)") && error.contains("(test mode)"), "{error}");
}

#[tokio::test]
async fn a_key_of_another_account_refuses_to_start() {
    let billed = Billed::start().await;
    billed.server.post(batch(&[billed.worker(1).usage(1)])).await;
    billed.report().await;
    let Billed { server, .. } = billed;
    let dir = server.stop().await;
    let other = StripeServer::start(Account { id: "acct_other".to_owned(), ..Account::sandbox() }).expect("a stand-in");
    let error = Running::refused(dir, &stripe_config(&other, "")).await;
    assert!(error.contains("acct_rig") && error.contains("acct_other"), "{error}");
    let fresh = tempfile::tempdir().expect("a directory");
    std::fs::write(fresh.path().join("key"), Account::sandbox().secret_key).expect("written");
    let error = Running::refused(fresh, &stripe_config(&other, "account: acct_rig, ")).await;
    assert!(error.contains("`stripe.account` is acct_rig"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_without_a_server_sends_the_same_and_is_audited() {
    let Billed { server, stripe, now } = Billed::start().await;
    server.post(batch(&[Worker::new(1, now).usage(1), Worker::new(1, now).usage(2)])).await;
    let dir = server.stop().await;
    let reported = in_background(dir.path(), &["report", "--as-of", "now+2h", "--json"]).await;
    assert_eq!((printed(&reported)["reported"].as_u64(), reported.status.code()), (Some(2), Some(0)), "{reported:?}");
    assert_eq!(stripe.stripe().total("cus_acme", "weir_requests"), 2);
    let audit = printed(&in_background(dir.path(), &["audit", "--json"]).await);
    let entry = |at: usize| (audit[at]["act"].clone(), audit[at]["detail"].clone());
    assert_eq!(entry(0), ("report".into(), "2 rows made, 2 reported".into()), "{audit}");
    assert!(audit[0]["who"].as_str().is_some_and(|who| !who.is_empty()), "{audit}");
}

async fn in_background(dir: &std::path::Path, args: &'static [&'static str]) -> std::process::Output {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || weir(&dir, args)).await.expect("run")
}
