//! A row counts as billed by Stripe's own word for it, and by nothing else that answers.
use serde_json::{Value, json};
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_rig::stripe::{Account, Fault, Foreign, Limits, StripeServer};

use super::events::{Worker, batch};
use super::server::Running;

const HOUR_MS: u64 = 3_600_000;
/// Far less than memory has, far more than any answer: what a client takes of an answer without an end, and what lies in
/// buffers on the way.
const ENDLESS_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A server that reports one meter of one customer to a stand-in, in real time.
struct Billed {
    server: Running,
    stripe: StripeServer,
    now: Timestamp,
    sent: u64,
}

impl Billed {
    async fn start(api: &str) -> Self {
        let stripe = StripeServer::start(Account::sandbox()).expect("a stand-in");
        let clock = SystemClock::start();
        let now = clock.now();
        let at = jiff::Timestamp::from_millisecond(now.as_millis().cast_signed()).expect("a time");
        stripe.stripe().set_limits(Limits::NONE);
        stripe.stripe().add_meter(at, "ai_requests");
        stripe.stripe().add_customer("cus_acme");
        let dir = tempfile::tempdir().expect("a directory");
        let tenants = "tenants: [{id: acme, plan: p, stripe_customer: cus_acme}]";
        std::fs::write(dir.path().join("tenants.yaml"), tenants).expect("written");
        std::fs::write(dir.path().join("key"), Account::sandbox().secret_key).expect("written");
        let more = format!(
            "tenants: tenants.yaml\nstripe: {{secret_key: {{file: key}}, url: '{}', account: acct_rig, api: {api}, \
             calls_per_second: 1000, meters: {{requests: ai_requests}}}}\n",
            stripe.url()
        );
        let server = Running::start_by(dir, clock, &more).await;
        Billed { server, stripe, now, sent: 0 }
    }

    /// One more request, which becomes a row of its own.
    async fn use_once(&mut self) {
        self.sent += 1;
        let event = Worker::new(1, self.now).usage(self.sent);
        assert_eq!(self.server.post(batch(&[event])).await.status(), 202);
    }

    async fn report(&self) -> Value {
        self.server.ask("/v1/report", &json!({"as_of": self.now.plus_millis(2 * HOUR_MS)})).await
    }

    fn total(&self) -> u64 {
        self.stripe.stripe().total("cus_acme", "ai_requests").unsigned_abs()
    }

    /// A row that meets `fault` is not billed by it, and is billed once in the end.
    async fn stays_open(&mut self, fault: Fault, stops: bool) {
        self.use_once().await;
        self.stripe.fail_next(1, fault);
        let view = self.report().await;
        if stops {
            assert_eq!((&view["reported"], &view["pending"]), (&json!(0), &json!(1)), "{fault:?}: {view}");
            assert!(view["stopped"].as_str().is_some_and(|why| why.contains("HTTP")), "{fault:?}: {view}");
            assert_eq!(self.server.json("/v1/stripe").await["in_flight"], 1, "{fault:?}: nobody knows");
            self.report().await;
        }
        assert_eq!(self.server.json("/v1/stripe").await["held"], 0, "{fault:?}");
        assert_eq!(self.report().await["pending"], 0, "{fault:?}");
        assert_eq!(self.total(), self.sent, "{fault:?}: once");
    }
}

const FOREIGN: [Foreign; 4] = [Foreign::Empty, Foreign::EmptyObject, Foreign::OtherJson, Foreign::Page];

#[tokio::test]
async fn a_success_that_is_not_stripes_own_object_is_no_bill() {
    let mut billed = Billed::start("v1").await;
    for foreign in FOREIGN.into_iter().chain([Foreign::OtherEvent]) {
        billed.stays_open(Fault::ForeignBefore(200, foreign), true).await;
        billed.stays_open(Fault::ForeignAfter(200, foreign), true).await;
    }
    for status in [201, 202, 204] {
        billed.stays_open(Fault::ForeignBefore(status, Foreign::Empty), true).await;
    }
}

#[tokio::test]
async fn a_failure_that_is_not_stripes_own_says_nothing_of_the_row() {
    let mut billed = Billed::start("v1").await;
    for status in [302, 400, 401, 403, 404, 408, 413, 429] {
        billed.stays_open(Fault::ForeignBefore(status, Foreign::Page), true).await;
        billed.stays_open(Fault::ForeignAfter(status, Foreign::EmptyObject), true).await;
    }
}

#[tokio::test]
async fn a_4xx_of_stripes_after_the_work_neither_holds_nor_bills_twice() {
    let mut billed = Billed::start("v1").await;
    for status in [408, 409, 422, 424] {
        billed.stays_open(Fault::ErrorAfter(status), false).await;
        billed.stays_open(Fault::ErrorBefore(status), false).await;
    }
}

#[tokio::test]
async fn a_stream_is_believed_by_an_object_of_stripes_only() {
    let mut billed = Billed::start("v2").await;
    for foreign in [Foreign::Empty, Foreign::OtherJson, Foreign::Page] {
        billed.stays_open(Fault::ForeignBefore(200, foreign), true).await;
        billed.stays_open(Fault::ForeignAfter(200, foreign), true).await;
    }
    billed.stays_open(Fault::ForeignBefore(204, Foreign::Empty), true).await;
    billed.stays_open(Fault::ErrorAfter(409), false).await;
}

#[tokio::test]
async fn a_token_that_stripe_does_not_take_is_dropped_and_another_one_tried() {
    let mut billed = Billed::start("v2").await;
    billed.use_once().await;
    assert_eq!(billed.report().await["reported"], 1);
    for refuse in [
        |stripe: &StripeServer| stripe.stripe().revoke_sessions(),
        |stripe: &StripeServer| stripe.fail_next(1, Fault::ErrorBefore(401)),
        |stripe: &StripeServer| stripe.fail_next(1, Fault::ErrorBefore(403)),
    ] {
        billed.use_once().await;
        refuse(&billed.stripe);
        let view = billed.report().await;
        assert_eq!((&view["reported"], &view["stopped"]), (&json!(1), &Value::Null), "{view}");
    }
    assert_eq!(billed.total(), 4);
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    for api in ["v1", "v2"] {
        let mut billed = Billed::start(api).await;
        for status in [200, 400, 503] {
            billed.stays_open(Fault::ForeignAfter(status, Foreign::Endless), status < 500).await;
        }
        let taken = billed.stripe.endless_bytes();
        assert!(taken < ENDLESS_MAX_BYTES, "{api}: {taken} bytes");
    }
}

#[tokio::test]
async fn our_key_repeated_by_a_peer_is_shown_nowhere() {
    let key = Account::sandbox().secret_key;
    let mut billed = Billed::start("v1").await;
    billed.use_once().await;
    billed.stripe.fail_next(1, Fault::ForeignBefore(400, Foreign::KeyEcho));
    let held = billed.report().await;
    assert_eq!(held["held"], json!({"refused": 1}), "an error of Stripe's shape: {held}");
    billed.use_once().await;
    billed.stripe.fail_next(1, Fault::ForeignBefore(401, Foreign::KeyEcho));
    let stopped = billed.report().await;
    assert!(stopped["stopped"].as_str().is_some_and(|why| why.contains("***")), "{stopped}");
    let status = billed.server.json("/v1/stripe").await;
    assert!(status["rows"][0]["detail"].as_str().is_some_and(|detail| detail.contains("***")), "{status}");
    for shown in [held, stopped, status, billed.server.json("/v1/audit").await] {
        assert!(!shown.to_string().contains(&key), "{shown}");
    }
    let dir = billed.server.stop().await;
    let ledger = std::fs::read(dir.path().join("weir-data/ledger.sqlite")).expect("read");
    assert!(!ledger.windows(key.len()).any(|bytes| bytes == key.as_bytes()), "nor in the ledger's file");
}
