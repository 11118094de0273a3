//! Accounting for bills: comparison with Stripe, explanation down to single events, webhooks, setup.
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::config::Config;
use weir::store::DataDir;
use weir_billing::explain::period::Period;
use weir_billing::explain::{ExplainView, Question, explain};
use weir_clock::SystemClock;
use weir_contract::{Outcome, Timestamp};
use weir_rig::stripe::{Account, Fault, Limits, StripeServer, sign};

use super::commands::{json, weir};
use super::events::{Worker, batch};
use super::server::Running;

const HOUR_MS: u64 = 3_600_000;

/// Tenants with billing periods that began two weeks ago: no invoice in these tests is final, whatever day it is.
fn tenants(now: Timestamp) -> String {
    let began = Timestamp::from_millis(now.hour().as_millis() - 14 * 24 * HOUR_MS);
    let tenant = |id: &str, more: &str| format!("{{id: {id}, plan: p, billing_anchor: '{began}'{more}}}");
    let tenants = [
        tenant("acme", ", stripe_customer: cus_acme"),
        tenant("beta", ""),
        tenant("ghost", ", stripe_customer: cus_ghost"),
    ];
    format!("tenants: [{}]", tenants.join(", "))
}
const METERS: &str = "meters:\n- {name: requests, sum: requests, where: {outcome: [ok]}}\n\
                      - {name: credits, sum: input_tokens, weight: 0.3}\n";

/// A server that reports to a stand-in, in real time.
pub(super) struct Billed {
    pub(super) server: Running,
    pub(super) stripe: StripeServer,
    pub(super) now: Timestamp,
    more: String,
}

fn at(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(time.as_millis().cast_signed()).expect("a time")
}

impl Billed {
    async fn start() -> Self {
        Self::start_with(&["ai_requests", "ai_credits"], 1_000).await
    }

    /// A server whose account has `meters`, and that makes this many calls a second.
    pub(super) async fn start_with(meters: &[&str], calls_per_second: u32) -> Self {
        Self::start_configured(meters, calls_per_second, "").await
    }

    /// The same with further settings.
    pub(super) async fn start_configured(meters: &[&str], calls_per_second: u32, settings: &str) -> Self {
        let stripe = StripeServer::start(Account::sandbox()).expect("a stand-in");
        let clock = SystemClock::start();
        let now = clock.now();
        for name in meters {
            stripe.stripe().add_meter(at(now), name);
        }
        stripe.stripe().add_customer("cus_acme");
        stripe.stripe().set_limits(Limits::NONE);
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("tenants.yaml"), tenants(now)).expect("written");
        std::fs::write(dir.path().join("key"), Account::sandbox().secret_key).expect("written");
        std::fs::write(dir.path().join("hook"), Account::sandbox().webhook_secret).expect("written");
        std::fs::write(dir.path().join("hook.new"), "whsec_another").expect("written");
        let more = format!(
            "tenants: tenants.yaml\n{METERS}stripe: {{secret_key: {{file: key}}, url: '{}', account: acct_rig, \
             webhook_secrets: [{{file: hook.new}}, {{file: hook}}], calls_per_second: {calls_per_second}, concurrency: 16, \
             meters: {{requests: ai_requests, credits: ai_credits}}}}\n{settings}",
            stripe.url()
        );
        let server = Running::start_by(dir, clock, &more).await;
        Billed { server, stripe, now, more }
    }

    fn worker(&self, life: u8) -> Worker {
        Worker::new(life, self.now)
    }

    pub(super) async fn post(&self, events: &[Vec<u8>]) {
        assert_eq!(self.server.post(batch(events)).await.status(), StatusCode::ACCEPTED);
    }

    /// Closes and reports every window.
    pub(super) async fn report(&self) -> Value {
        self.server.ask("/v1/report", &json!({"as_of": self.now.plus_millis(2 * HOUR_MS)})).await
    }

    pub(super) async fn reconcile(&self) -> Value {
        self.server.ask("/v1/reconcile", &json!({"to": self.now.plus_millis(2 * HOUR_MS)})).await
    }

    /// Sends a meter event that weir does not know.
    async fn send_from_elsewhere(&self, value: i64) {
        let form = [
            ("event_name", "ai_requests".to_owned()),
            ("payload[stripe_customer_id]", "cus_acme".to_owned()),
            ("payload[value]", value.to_string()),
            ("timestamp", self.now.as_secs().to_string()),
        ];
        let request = self.server.http.post(format!("{}/v1/billing/meter_events", self.stripe.url()));
        let sent = request.bearer_auth(Account::sandbox().secret_key).form(&form).send().await.expect("an answer");
        assert!(sent.status().is_success());
    }

    async fn metric(&self, line: &str) -> bool {
        self.server.get("/metrics").await.text().await.expect("text").lines().any(|known| known == line)
    }

    /// Stops the server, so that commands run without one.
    async fn stop(self) -> (tempfile::TempDir, StripeServer, Timestamp) {
        (self.server.stop().await, self.stripe, self.now)
    }
}

pub(super) async fn run(dir: &Path, args: &[&str]) -> std::process::Output {
    let (dir, args): (_, Vec<String>) = (dir.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect());
    let work = move || weir(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(work).await.expect("run")
}

pub(super) fn causes(view: &Value) -> Vec<(String, i64)> {
    let causes = view["differences"].as_array().expect("differences").iter().flat_map(|difference| {
        let causes = difference["causes"].as_array().expect("causes").clone();
        causes
            .into_iter()
            .map(|cause| (cause["why"].as_str().expect("why").to_owned(), cause["value"].as_i64().expect("a value")))
    });
    let mut causes: Vec<_> = causes.collect();
    causes.sort();
    causes
}

fn found(causes: &[(&str, i64)]) -> Vec<(String, i64)> {
    causes.iter().map(|(why, value)| ((*why).to_owned(), *value)).collect()
}

#[tokio::test]
async fn what_agrees_is_no_difference_and_the_metric_says_so() {
    let billed = Billed::start().await;
    billed.post(&[billed.worker(1).usage(1), billed.worker(1).usage(2)]).await;
    billed.report().await;
    let view = billed.reconcile().await;
    assert_eq!((causes(&view), &view["attention"]), (vec![], &json!(false)), "{view}");
    assert_eq!(view["windows"], 2, "an hour of two meters: {view}");
    assert_eq!(view["series"], 4, "two customers, two meters");
    assert!(billed.metric("weir_reconciliation_differences{why=\"unexplained\"} 0").await);
    assert!(!billed.metric("weir_reconciliation_timestamp_seconds 0").await);
}

#[tokio::test]
async fn young_rows_that_summaries_do_not_show_yet_are_put_down_to_lag() {
    let billed = Billed::start().await;
    billed.stripe.stripe().set_summary_lag(jiff::SignedDuration::from_mins(20));
    billed.post(&[billed.worker(1).usage(1)]).await;
    billed.report().await;
    let view = billed.reconcile().await;
    assert_eq!(causes(&view), found(&[("lag", -3), ("lag", -1)]), "{view}");
    assert_eq!(view["attention"], false, "it goes away by itself");
}

#[tokio::test]
async fn what_another_sent_is_unexplained_to_the_unit() {
    let billed = Billed::start().await;
    billed.post(&[billed.worker(1).usage(1)]).await;
    billed.report().await;
    billed.send_from_elsewhere(7).await;
    let view = billed.reconcile().await;
    assert_eq!((causes(&view), &view["attention"]), (found(&[("unexplained", 7)]), &json!(true)));
    let difference = &view["differences"][0];
    assert_eq!((&difference["ours"], &difference["theirs"]), (&json!(1), &json!(8)));
    assert!(billed.metric("weir_reconciliation_differences{why=\"unexplained\"} 1").await);
    let alone = billed.server.ask("/v1/reconcile", &json!({"customer": "cus_ghost"})).await;
    assert_eq!(causes(&alone), vec![]);
    assert!(billed.metric("weir_reconciliation_differences{why=\"unexplained\"} 1").await, "a part is not the whole");
    let (dir, _stripe, _) = billed.stop().await;
    let output = run(dir.path(), &["reconcile"]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text.contains("cus_acme") && text.contains("unexplained +7"), "{text}");
}

#[tokio::test]
async fn what_waits_is_held_or_cannot_be_asked_for_is_named() {
    let billed = Billed::start().await;
    let beta = Worker { tenant: "beta", ..billed.worker(2) };
    let old = Worker { time: Timestamp::from_millis(billed.now.as_millis() - 3 * HOUR_MS), ..billed.worker(4) };
    billed.post(&[billed.worker(1).usage(1), beta.usage(1)]).await;
    billed.stripe.fail_next(20, Fault::RateLimit(Some(3_600)));
    let report = billed.report().await;
    assert_eq!((&report["pending"], &report["held"]["no_customer"]), (&json!(2), &json!(2)), "{report}");
    billed.post(&[old.usage(1)]).await;
    let view = billed.reconcile().await;
    let expected =
        [("held", -3), ("held", -1), ("not_closed", -3), ("not_closed", -1), ("pending", -3), ("pending", -1)];
    assert_eq!(causes(&view), found(&expected), "{view}");
    assert_eq!((&view["attention"], &view["by_cause"]["held"]), (&json!(true), &json!(2)));
}

#[tokio::test]
async fn a_meter_that_stripe_does_not_have_is_said_to_be_not_compared() {
    let billed = Billed::start().await;
    billed.post(&[billed.worker(1).usage(1)]).await;
    billed.report().await;
    let (dir, _stripe, _) = billed.stop().await;
    let config = std::fs::read_to_string(dir.path().join("weir.yaml")).expect("read");
    std::fs::write(dir.path().join("weir.yaml"), config.replace("credits: ai_credits", "credits: ai_gone"))
        .expect("written");
    let output = run(dir.path(), &["reconcile", "--json"]).await;
    let view = json(&output);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(view["by_cause"], json!({"not_compared": 2}), "{view}");
    assert!(
        view["differences"][0]["causes"][0]["detail"].as_str().is_some_and(|said| said.contains("ai_gone")),
        "{view}"
    );
}

#[tokio::test]
async fn more_hours_than_a_page_of_summaries_has_are_all_compared() {
    const HOURS: u64 = 130;
    let billed = Billed::start().await;
    let start = Timestamp::from_millis(billed.now.hour().as_millis() - HOURS * HOUR_MS);
    let events: Vec<Vec<u8>> = (0..HOURS)
        .map(|hour| {
            let time = start.plus_millis(hour * HOUR_MS + 60_000);
            Worker { time, ..billed.worker(1) }.usage_with(hour + 1, |data| data.usage.input_tokens = Some(0))
        })
        .collect();
    billed.post(&events).await;
    assert_eq!(billed.report().await["reported"], HOURS);
    let body = json!({"from": start, "to": billed.now.plus_millis(HOUR_MS)});
    let view = billed.server.ask("/v1/reconcile", &body).await;
    assert_eq!((&view["windows"], causes(&view)), (&json!(HOURS), vec![]), "{view}");
    let usual = billed.server.ask("/v1/reconcile", &json!({"to": billed.now.plus_millis(HOUR_MS)})).await;
    assert_eq!(usual["windows"], 71, "three days, unless asked otherwise; this hour is empty");
}

/// Sends events of every kind: billed, repeated, from a test environment, excluded by the meter, late, of other
/// tenants.
async fn busy_hour(billed: &Billed) {
    let (one, two) = (billed.worker(1), billed.worker(2));
    let beta = Worker { tenant: "beta", ..billed.worker(3) };
    let earlier = Worker { time: Timestamp::from_millis(billed.now.as_millis() - HOUR_MS), ..billed.worker(4) };
    let tokens = |n: u64| move |data: &mut weir_contract::UsageData<'_>| data.usage.input_tokens = Some(n);
    let mut events: Vec<Vec<u8>> = (1..=40).map(|n| one.usage_with(n, tokens(n * 7 % 13))).collect();
    events.extend((1..=9).map(|n| earlier.usage_with(n, tokens(n))));
    events.push(one.usage_with(41, |data| data.environment = Some("test".into())));
    events.push(one.usage_with(42, |data| data.outcome = Outcome::UpstreamError));
    events.push(one.usage_with(43, |data| data.response_model = Some("=HYPERLINK(\"http://x\")".into())));
    events.push(beta.usage(1));
    billed.post(&events).await;
    billed.post(&events[3..9]).await;
    // One event has the number of another, and one its id with other bytes.
    billed
        .post(&[Worker { time: one.time.plus_millis(1), ..one.clone() }.usage(5), one.usage_with(6, tokens(999))])
        .await;
    billed.report().await;
    billed.post(&(1..=5).map(|n| two.usage_with(n, tokens(n + 1))).collect::<Vec<_>>()).await;
    billed.report().await;
}

/// The sum of the last column in billionths.
pub(super) fn sum(csv: &str) -> i128 {
    let nano = |text: &str| {
        let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        sign * (whole.parse::<i128>().expect("a number") * 1_000_000_000
            + format!("{rest:0<9}").parse::<i128>().expect("decimals"))
    };
    csv.lines().skip(1).map(|line| nano(line.rsplit(',').next().expect("a column"))).sum()
}

fn period(billed: &Billed) -> String {
    let from = Timestamp::from_millis(billed.now.hour().as_millis() - HOUR_MS);
    format!("{from}/{}", billed.now.hour().plus_millis(HOUR_MS))
}

#[tokio::test]
async fn the_amounts_of_the_csv_add_up_to_stripes_number() {
    let billed = Billed::start().await;
    busy_hour(&billed).await;
    let totals = ["ai_requests", "ai_credits"].map(|meter| (meter, billed.stripe.stripe().total("cus_acme", meter)));
    assert!(totals.iter().all(|(_, total)| *total > 0));
    let period = period(&billed);
    for (meter, total) in totals {
        let csv = run(billed.server.dir.path(), &["explain", "cus_acme", meter, &period, "--csv"]).await;
        let text = String::from_utf8(csv.stdout).expect("text");
        assert_eq!(csv.status.code(), Some(0), "{text}");
        assert_eq!(sum(&text), i128::from(total) * 1_000_000_000, "{meter}: {text}");
        let view = json(&run(billed.server.dir.path(), &["explain", "cus_acme", meter, &period, "--json"]).await);
        assert_eq!((&view["billed"], &view["complete"]), (&json!(total), &json!(true)), "{view}");
        assert_eq!(view["invoice"]["cus_acme"][meter], total);
        assert_eq!(view["rows"].as_array().map(Vec::len), Some(3), "two windows and a correction");
    }
    let hour = run(billed.server.dir.path(), &["explain", "acme", "requests", &period, "--csv"]).await;
    let text = String::from_utf8(hour.stdout).expect("text");
    assert!(text.contains("'=HYPERLINK") && !text.contains(",=") && !text.contains(",\"="), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("event,")).count(), 40 + 9 + 1 + 5, "each once");
}

#[tokio::test]
async fn events_that_expired_are_said_to_be_and_their_sum_stands() {
    let billed = Billed::start().await;
    busy_hour(&billed).await;
    let (period, total) = (period(&billed), billed.stripe.stripe().total("cus_acme", "ai_credits"));
    let more = format!("{}log_retention: 1ms\n", billed.more);
    let (dir, _stripe, _) = billed.stop().await;
    let server = Running::start_by(dir, SystemClock::start(), &more).await;
    let view = until_expired(server.dir.path(), &period).await;
    assert_eq!((view.billed, view.complete), (total, true));
    let csv = run(server.dir.path(), &["explain", "cus_acme", "ai_credits", &period, "--csv"]).await;
    let text = String::from_utf8(csv.stdout).expect("text");
    assert_eq!(sum(&text), i128::from(total) * 1_000_000_000, "{text}");
    assert!(text.contains("kept no longer"), "{text}");
    let table = run(server.dir.path(), &["explain", "cus_acme", "ai_credits", &period]).await;
    assert!(String::from_utf8_lossy(&table.stdout).contains("single events are kept since"));
}

async fn until_expired(dir: &Path, period: &str) -> ExplainView {
    let config = Config::load(&dir.join("weir.yaml")).expect("a configuration");
    let question = Question {
        customer: "cus_acme".to_owned(),
        meter: "ai_credits".to_owned(),
        period: Period::parse(period).expect("a period"),
    };
    for _ in 0..300 {
        let home = DataDir::at(&config.data);
        let view =
            explain(home.ledger(), home.log_place(), &config.meters, &question, &mut |_| Ok(())).expect("explained");
        if view.windows.iter().any(|window| window.expired) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing expired");
}

#[tokio::test]
async fn what_nobody_was_billed_for_is_an_error_that_says_where_to_look() {
    let billed = Billed::start().await;
    let output = run(billed.server.dir.path(), &["explain", "cus_x", "ai_requests", "2026-11"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("weir usage"), "{output:?}");
    let output = run(billed.server.dir.path(), &["explain", "cus_x", "ai_requests", "last month"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

impl Billed {
    async fn webhook(&self, body: &str, signature: &str) -> StatusCode {
        let request = self.server.http.post(format!("{}/v1/stripe/webhook", self.server.url));
        let request = request.header("stripe-signature", signature).body(body.to_owned());
        request.send().await.expect("an answer").status()
    }

    fn signed(&self, body: &str) -> String {
        sign(&Account::sandbox().webhook_secret, at(SystemClock::start().now()), body)
    }
}

#[tokio::test]
async fn an_error_report_is_taken_in_once_and_explains_what_is_missing() {
    let billed = Billed::start().await;
    let ghost = Worker { tenant: "ghost", ..billed.worker(1) };
    billed.post(&[ghost.usage(1)]).await;
    assert_eq!(billed.report().await["reported"], 2, "taken, and found wrong afterwards");
    let deliveries = billed.stripe.stripe().webhooks(at(SystemClock::start().now()));
    assert_eq!(deliveries.len(), 2, "a report for each meter");
    for _ in 0..2 {
        for delivery in &deliveries {
            assert_eq!(billed.webhook(&delivery.body, &delivery.signature).await, StatusCode::OK);
        }
    }
    let status = billed.server.json("/v1/stripe").await;
    let errors: BTreeMap<&str, u64> = status["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| (error["event_name"].as_str().expect("a name"), error["errors"].as_u64().expect("a count")))
        .collect();
    assert_eq!(errors, [("ai_requests", 1), ("ai_credits", 1)].into(), "{status}");
    assert!(billed.metric("weir_stripe_errors_total{code=\"meter_event_customer_not_found\"} 2").await);
    assert!(billed.metric("weir_stripe_webhooks_total{outcome=\"duplicate\"} 2").await);
    let view = billed.reconcile().await;
    assert_eq!(causes(&view), found(&[("refused_later", -3), ("refused_later", -1)]), "{view}");
    let output = run(billed.server.dir.path(), &["stripe", "status"]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("meter_event_customer_not_found") && text.contains("refused_later 2"), "{text}");
}

#[tokio::test]
async fn a_report_of_more_errors_than_it_lists_makes_its_time_suspect() {
    let billed = Billed::start().await;
    let start = Timestamp::from_millis(billed.now.hour().as_millis() - 100 * HOUR_MS);
    let events: Vec<Vec<u8>> = (0..8)
        .map(|hour| {
            Worker { tenant: "ghost", time: start.plus_millis(hour * HOUR_MS), ..billed.worker(1) }.usage(hour + 1)
        })
        .collect();
    billed.post(&events).await;
    assert_eq!(billed.report().await["reported"], 16);
    let hook = format!("{}/v1/stripe/webhook", billed.server.url);
    assert_eq!(billed.stripe.deliver_webhooks(&hook).await, [200, 200]);
    // The comparison goes back beyond three days, to the suspect rows, and explains everything that is missing.
    let view = billed.server.ask("/v1/reconcile", &json!({})).await;
    assert_eq!(view["from"], json!(start), "{view}");
    assert_eq!(view["by_cause"]["unexplained"], Value::Null, "{view}");
    let explained: u64 = ["refused_later", "lag"].iter().filter_map(|why| view["by_cause"][*why].as_u64()).sum();
    assert_eq!(explained, 16, "{view}");
    let again = billed.server.ask("/v1/reconcile", &json!({})).await;
    assert!(again["from"] != json!(start), "compared once, it is as any other time");
}

#[tokio::test]
async fn webhooks_that_are_forged_old_or_mean_nothing_change_nothing() {
    let billed = Billed::start().await;
    let thin = json!({"id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
                      "livemode": false});
    let body = thin.to_string();
    assert_eq!(billed.webhook(&body, "").await, StatusCode::BAD_REQUEST);
    assert_eq!(billed.webhook(&body, &sign("whsec_wrong", at(billed.now), &body)).await, StatusCode::BAD_REQUEST);
    let old = Timestamp::from_millis(billed.now.as_millis() - 400_000);
    let secret = Account::sandbox().webhook_secret;
    assert_eq!(billed.webhook(&body, &sign(&secret, at(old), &body)).await, StatusCode::BAD_REQUEST);
    assert_eq!(billed.webhook(&body, &billed.signed(&body)).await, StatusCode::SERVICE_UNAVAILABLE, "not fetched");
    let live = body.replace("false", "true");
    assert_eq!(billed.webhook(&live, &billed.signed(&live)).await, StatusCode::OK);
    let other = json!({"id": "evt_2", "object": "event", "type": "invoice.paid"}).to_string();
    let rotated = sign("whsec_another", at(SystemClock::start().now()), &other);
    assert_eq!(billed.webhook(&other, &rotated).await, StatusCode::OK, "the other secret is good, too");
    assert_eq!(billed.webhook("[]", &billed.signed("[]")).await, StatusCode::BAD_REQUEST);
    for (outcome, count) in
        [("bad_signature", 3), ("not_fetched", 1), ("other_mode", 1), ("unknown_type", 1), ("malformed", 1)]
    {
        let line = format!("weir_stripe_webhooks_total{{outcome=\"{outcome}\"}} {count}");
        assert!(billed.metric(&line).await, "{line}");
    }
    assert_eq!(billed.server.json("/v1/stripe").await["errors"], json!([]));
}

#[tokio::test]
async fn setup_shows_then_makes_what_is_missing_and_never_prints_the_key() {
    let billed = Billed::start().await;
    let (dir, stripe, now) = billed.stop().await;
    let config = std::fs::read_to_string(dir.path().join("weir.yaml")).expect("read");
    std::fs::write(dir.path().join("weir.yaml"), config.replace("credits: ai_credits", "credits: ai_new"))
        .expect("written");
    stripe.stripe().add_subscription("cus_acme", 1_760_000_041);
    stripe.stripe().add_subscription("cus_ghost", 1_760_000_400);
    stripe.stripe().add_subscription("cus_nobodys", 1_760_000_041);
    let dry = run(dir.path(), &["stripe", "setup", "--json"]).await;
    assert_eq!(dry.status.code(), Some(3), "{dry:?}");
    let view = json(&dry);
    assert_eq!((&view["meters"]["ai_new"]["state"], &view["applied"]), (&json!("missing"), &json!(false)));
    assert_eq!(view["meters"]["ai_requests"]["state"], "good");
    let unaligned = view["unaligned"].as_array().expect("some");
    assert_eq!((unaligned.len(), &unaligned[0]["customer"]), (1, &json!("cus_acme")), "{view}");
    assert_eq!((&unaligned[0]["interval"], &view["subscriptions"]), (&json!("month"), &json!(3)));
    let applied = run(dir.path(), &["stripe", "setup", "--apply"]).await;
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");
    assert!(String::from_utf8_lossy(&applied.stdout).contains("periods of 2 tenants noted"), "{applied:?}");
    let again = run(dir.path(), &["stripe", "setup"]).await;
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(text.contains("meter ai_new: good") && text.contains("billing_anchor"), "{text}");
    for output in [dry, applied, again] {
        let said = format!("{output:?}");
        assert!(!said.contains(&Account::sandbox().secret_key), "{said}");
    }
    assert!(now < SystemClock::start().now());
}

#[tokio::test]
async fn setup_says_what_is_wrong_with_a_meter_and_whose_key_it_is() {
    let billed = Billed::start().await;
    let form = [("display_name", "x"), ("event_name", "ai_last"), ("default_aggregation[formula]", "last")];
    let request = billed.server.http.post(format!("{}/v1/billing/meters", billed.stripe.url()));
    let made = request.bearer_auth(Account::sandbox().secret_key).form(&form).send().await.expect("an answer");
    assert!(made.status().is_success());
    let (dir, _stripe, _) = billed.stop().await;
    let path = dir.path().join("weir.yaml");
    let config = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, config.replace("credits: ai_credits", "credits: ai_last")).expect("written");
    let output = run(dir.path(), &["stripe", "setup", "--apply"]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3));
    assert!(text.contains("ai_last: not usable") && text.contains("the last of events"), "{text}");
    std::fs::write(&path, config.replace("account: acct_rig", "account: acct_other")).expect("written");
    let output = run(dir.path(), &["stripe", "setup"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("acct_rig") && said.contains("acct_other"), "{said}");
}

/// Streams an hour of sixty tenants, each with a customer of its own, and hits `fault` twice.
async fn streamed(fault: Option<Fault>) {
    const TENANTS: usize = 60;
    let clock = SystemClock::start();
    let now = clock.now();
    let skew = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let (ahead, of_stripe) = (std::sync::Arc::clone(&skew), std::sync::Arc::clone(&clock));
    let time = move || {
        let by = jiff::SignedDuration::from_secs(ahead.load(std::sync::atomic::Ordering::SeqCst));
        at(of_stripe.now()).saturating_add(by).expect("a time")
    };
    let stripe = weir_rig::stripe::Stripe::new(Account::sandbox());
    let stripe = StripeServer::start_with_clock(stripe, std::sync::Arc::new(time)).expect("a stand-in");
    stripe.stripe().add_meter(at(now), "ai_requests");
    stripe.stripe().set_limits(Limits::NONE);
    let dir = tempfile::tempdir().expect("a directory");
    let names: Vec<&'static str> = (0..TENANTS).map(|n| &*format!("t{n}").leak()).collect();
    let mut file = String::from("tenants:\n");
    for name in &names {
        stripe.stripe().add_customer(&format!("cus_{name}"));
        file.push_str(&format!("- {{id: {name}, plan: p, stripe_customer: cus_{name}}}\n"));
    }
    std::fs::write(dir.path().join("tenants.yaml"), file).expect("written");
    std::fs::write(dir.path().join("key"), Account::sandbox().secret_key).expect("written");
    let more = format!(
        "tenants: tenants.yaml\nstripe: {{secret_key: {{file: key}}, url: '{}', api: v2, meters: {{requests: ai_requests}}}}\n",
        stripe.url()
    );
    let server = Running::start_by(dir, clock, &more).await;
    let worker = |n: usize, life| Worker { tenant: names[n], ..Worker::new(life, now) };
    let body = json!({"as_of": now.plus_millis(2 * HOUR_MS)});
    for round in 0..2_u8 {
        let events: Vec<Vec<u8>> = (0..TENANTS).map(|n| worker(n, round + 1).usage(n as u64 + 1)).collect();
        assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
        // A refused batch is resent event by event: a second refusal would hit one event, and hold its row.
        let times = if fault == Some(Fault::ErrorBefore(400)) { 1 } else { 2 };
        fault.into_iter().for_each(|fault| stripe.fail_next(times, fault));
        let view = server.ask("/v1/report", &body).await;
        assert_eq!((&view["pending"], &view["held"]), (&json!(0), &json!({})), "{fault:?}: {view}");
        // Advances Stripe's clock: the session of the first round has expired.
        skew.fetch_add(1_000, std::sync::atomic::Ordering::SeqCst);
    }
    for name in &names {
        assert_eq!(stripe.stripe().total(&format!("cus_{name}"), "ai_requests"), 2, "{fault:?}");
    }
    assert_eq!(stripe.stripe().meter_events().len(), 2 * TENANTS, "{fault:?}: each once");
}

#[tokio::test]
async fn streams_bring_each_row_once_across_sessions_and_faults() {
    streamed(None).await;
    for fault in [
        Fault::ErrorAfter(500),
        Fault::ResetAfter,
        Fault::ErrorBefore(503),
        Fault::ErrorBefore(400),
        Fault::RateLimit(Some(1)),
    ] {
        streamed(Some(fault)).await;
    }
}
