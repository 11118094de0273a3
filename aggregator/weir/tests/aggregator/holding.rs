//! Held rows, the reasons, and their release: late usage, corrections by hand, a restored ledger.
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_clock::{Clock, ManualClock, SystemClock};
use weir_contract::Timestamp;
use weir_rig::stripe::{Account, Limits, Stripe, StripeServer};

use super::events::{Worker, batch};
use super::server::{Running, TOKEN};

const HOUR: Duration = Duration::from_secs(3_600);

/// A server and a stand-in that share a clock, which moves only when told to.
pub(super) struct World {
    pub(super) server: Running,
    pub(super) stripe: StripeServer,
    pub(super) clock: Arc<ManualClock>,
    pub(super) now: Timestamp,
}

impl World {
    /// Starts billing periods of `interval` now, at twenty past the hour, so that the two parts of the hour do not
    /// depend on the time of the test run.
    pub(super) async fn start(interval: &str) -> Self {
        let today = SystemClock::start().now().as_secs();
        let now = Timestamp::from_secs(today - today % HOUR.as_secs() + 1_200);
        let clock = ManualClock::at(now);
        let mut stripe = Stripe::new(Account::sandbox());
        stripe.set_limits(Limits::NONE);
        stripe.add_meter(moment(now), "weir_requests");
        stripe.add_customer("cus_acme");
        let shown = Arc::clone(&clock);
        let stripe = StripeServer::start_with_clock(stripe, Arc::new(move || moment(shown.now()))).expect("a stand-in");
        let dir = tempfile::tempdir().expect("a directory");
        let tenant = format!(
            "{{id: acme, plan: p, stripe_customer: cus_acme, billing_anchor: '{now}', billing_interval: {interval}}}"
        );
        std::fs::write(dir.path().join("tenants.yaml"), format!("tenants: [{tenant}]")).expect("written");
        std::fs::write(dir.path().join("key"), Account::sandbox().secret_key).expect("written");
        let server = Running::start_by(dir, clock.clone(), &config(&stripe, "hold")).await;
        World { server, stripe, clock, now }
    }

    /// Restarts the server with another setting of `late`.
    pub(super) async fn restart(self, late: &str, change: impl FnOnce(&std::path::Path)) -> Self {
        let dir = self.server.stop().await;
        change(dir.path());
        let server = Running::start_by(dir, self.clock.clone(), &config(&self.stripe, late)).await;
        World { server, ..self }
    }

    pub(super) async fn report(&self) -> Value {
        self.server.ask("/v1/report", &json!({})).await
    }

    pub(super) fn total(&self) -> i64 {
        self.stripe.stripe().total("cus_acme", "weir_requests")
    }

    async fn requests(&self) -> Value {
        let view = self.server.json("/v1/ledger").await;
        assert_eq!(view["balanced"], true, "{view}");
        view["meters"].as_array().expect("meters").iter().find(|m| m["meter"] == "requests").expect("it").clone()
    }
}

fn moment(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(time.as_millis().cast_signed()).expect("a time")
}

fn config(stripe: &StripeServer, late: &str) -> String {
    let url = stripe.url();
    format!(
        "tenants: tenants.yaml\nstripe: {{secret_key: {{file: key}}, url: '{url}', late: {late}, \
         meters: {{requests: weir_requests}}}}\n"
    )
}

fn weir(dir: &std::path::Path, arguments: &[&str]) {
    let weir = env!("CARGO_BIN_EXE_weir");
    let output = Command::new(weir).args(arguments).arg("--config").arg(dir.join("weir.yaml")).output().expect("run");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_window_is_billed_in_the_period_its_usage_lies_in() {
    let world = World::start("month").await;
    let before = Worker::new(1, Timestamp::from_millis(world.now.as_millis() - 1));
    let after = Worker::new(2, world.now);
    world.server.post(batch(&[before.usage(1), after.usage(1), after.usage(2)])).await;
    for wait in [HOUR / 4, HOUR] {
        world.clock.advance(wait);
        assert_eq!(world.report().await["reported"], 1, "the part before the anchor does not wait for the hour");
    }
    let begins = world.now.as_secs().cast_signed();
    let stripe = world.stripe.stripe();
    assert_eq!(stripe.total_between("cus_acme", "weir_requests", 0, begins), 1, "the period that ended");
    assert_eq!(stripe.total_between("cus_acme", "weir_requests", begins, i64::MAX), 2, "the one that began");
}

#[tokio::test]
async fn usage_after_the_invoice_is_held_and_billed_in_the_next_period_once_that_is_wanted() {
    let world = World::start("day").await;
    world.server.post(batch(&[Worker::new(1, world.now).usage(1)])).await;
    world.clock.advance(2 * HOUR);
    assert_eq!(world.report().await["reported"], 1);
    world.server.post(batch(&[Worker::new(2, world.now).usage(1)])).await;
    world.clock.advance(24 * HOUR);
    let held = world.report().await;
    assert_eq!((&held["held"], world.total()), (&json!({"invoiced": 1}), 1), "{held}");
    assert_eq!(world.requests().await["held"], 1);
    let metrics = world.server.get("/metrics").await.text().await.expect("text");
    assert!(metrics.contains("weir_outbox_held_rows{reason=\"invoiced\"} 1"), "{metrics}");
    let world = world.restart("next_period", |_| ()).await;
    assert_eq!(world.server.ask("/v1/report", &json!({"retry_held": true})).await["held"], json!({}));
    let next = world.now.as_secs().cast_signed() + 24 * 3_600;
    assert_eq!(world.stripe.stripe().total_between("cus_acme", "weir_requests", next, i64::MAX), 1);
    assert_eq!(world.requests().await["reported"], 2);
}

#[tokio::test]
async fn a_correction_by_hand_is_its_own_row_with_a_name_and_never_takes_a_period_below_zero() {
    let world = World::start("month").await;
    let worker = Worker::new(1, world.now);
    world.server.post(batch(&[worker.usage(1), worker.usage(2), worker.usage(3)])).await;
    world.clock.advance(2 * HOUR);
    world.report().await;
    let by = |value: i64, why: &str| json!({"tenant": "acme", "meter": "requests", "window": world.now, "value": value, "why": why});
    let made = world.server.ask("/v1/adjust", &by(-2, "outage")).await;
    assert_eq!(made["held"], Value::Null, "{made}");
    assert_eq!((world.report().await["pending"].as_u64(), world.total()), (Some(0), 1));
    let made = world.server.ask("/v1/adjust", &by(-2, "too much")).await;
    assert_eq!(made["held"], "below_zero");
    assert_eq!((&world.report().await["held"], world.total()), (&json!({"below_zero": 1}), 1));
    let requests = world.requests().await;
    let of = |field: &str| requests[field].as_i64().expect("a number");
    assert_eq!((of("billable"), of("adjusted"), of("reported"), of("held")), (3, -4, 1, -2));
    let audit = world.server.json("/v1/audit").await.to_string();
    assert!(audit.contains("outage") && audit.contains("\"who\":\"all\""), "{audit}");
    let nothing = world.server.http.post(format!("{}/v1/adjust", world.server.url)).bearer_auth(TOKEN);
    assert_eq!(nothing.json(&by(0, "nothing")).send().await.expect("an answer").status(), 400);
}

#[tokio::test]
async fn a_restored_ledger_sends_nothing_before_the_summaries_have_settled_it() {
    let world = World::start("month").await;
    let worker = Worker::new(1, world.now);
    world.server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    world.server.json("/v1/ledger").await;
    let backups = tempfile::tempdir().expect("a directory");
    let backup = backups.path().join("backup");
    let path = backup.to_str().expect("text").to_owned();
    weir(world.server.dir.path(), &["backup", &path]);
    world.clock.advance(2 * HOUR);
    assert_eq!(world.report().await["reported"], 1, "after the backup");
    let world = world.restart("hold", |dir| weir(dir, &["restore", &path, "--replace"])).await;
    assert_eq!(world.report().await["held"], json!({"restored": 1}));
    assert_eq!(world.stripe.stripe().meter_events().len(), 1);
    for wait in [HOUR * 3, HOUR / 3] {
        assert_eq!(world.report().await["held"], json!({"restored": 1}));
        world.clock.advance(wait);
    }
    assert_eq!(world.report().await["held"], json!({}), "two reads say that it is there");
    assert_eq!(world.stripe.stripe().meter_events().len(), 1);
    assert_eq!(world.total(), 2);
    assert_eq!(world.requests().await["reported"], 2);
    world.server.post(batch(&[Worker::new(2, world.clock.now()).usage(1)])).await;
    world.clock.advance(2 * HOUR);
    world.report().await;
    assert_eq!(world.total(), 3, "what began after the restore is sent at once");
}

#[tokio::test]
async fn a_copied_ledger_sends_nothing_before_the_summaries_have_settled_it() {
    let world = World::start("month").await;
    world.server.post(batch(&[Worker::new(1, world.now).usage(1)])).await;
    world.server.json("/v1/ledger").await;
    world.clock.advance(HOUR / 60);
    let world = world
        .restart("hold", |dir| {
            let ledger = dir.join("weir-data/ledger.sqlite");
            // Both files exist for a moment, so the copy gets another identity.
            std::fs::copy(&ledger, ledger.with_extension("copy")).expect("copied");
            std::fs::rename(ledger.with_extension("copy"), &ledger).expect("renamed");
        })
        .await;
    world.clock.advance(2 * HOUR);
    assert_eq!(world.report().await["held"], json!({"restored": 1}));
    assert_eq!(world.total(), 0);
    for wait in [HOUR * 2, HOUR / 3] {
        world.clock.advance(wait);
        world.report().await;
    }
    assert_eq!(world.total(), 1, "the summaries say that it is not there");
}
