//! What Stripe tells and changes by itself: billing periods of subscriptions, errors that it finds later.
use std::time::Duration;

use serde_json::{Value, json};
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_rig::stripe::{Account, Limits, StripeServer, Subscription, SubscriptionItem, sign};

use super::answering::run;
use super::commands::json as printed;
use super::events::{Worker, batch};
use super::server::Running;

/// A server whose tenants file says nothing of billing periods, and a stand-in.
struct Followed {
    server: Running,
    stripe: StripeServer,
    now: Timestamp,
}

const TENANTS: &str =
    "tenants: [{id: acme, plan: p, stripe_customer: cus_acme}, {id: beta, plan: p, stripe_customer: cus_beta}]";

fn moment(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(time.as_millis().cast_signed()).expect("a time")
}

impl Followed {
    async fn start(subscriptions: Vec<Subscription>) -> Self {
        let stripe = StripeServer::start(Account::sandbox()).expect("a stand-in");
        let clock = SystemClock::start();
        let now = clock.now();
        stripe.stripe().add_meter(moment(now), "ai_requests");
        stripe.stripe().add_meter(moment(now), "others");
        stripe.stripe().set_limits(Limits::NONE);
        stripe.stripe().add_customer("cus_acme");
        subscriptions.into_iter().for_each(|subscription| stripe.stripe().subscribe(subscription));
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
        std::fs::write(dir.path().join("key"), Account::sandbox().secret_key).expect("written");
        std::fs::write(dir.path().join("hook"), Account::sandbox().webhook_secret).expect("written");
        let more = format!(
            "tenants: tenants.yaml\nstripe: {{secret_key: {{file: key}}, url: '{}', account: acct_rig, calls_per_second: 1000, \
             webhook_secrets: [{{file: hook}}], meters: {{requests: ai_requests}}}}\n",
            stripe.url()
        );
        let server = Running::start_by(dir, clock, &more).await;
        Followed { server, stripe, now }
    }

    /// Where billing periods of a tenant begin by Stripe, as the ledger has it.
    fn anchor(&self, tenant: &str) -> Option<(i64, String)> {
        let db = rusqlite::Connection::open(self.server.dir.path().join("weir-data/ledger.sqlite")).expect("open");
        let sql = "SELECT at, interval FROM anchor WHERE tenant = ?1 AND source = 'provider'";
        db.query_row(sql, [tenant], |row| Ok((row.get(0)?, row.get(1)?))).ok()
    }

    /// Waits until the server has read the subscriptions for the first time.
    async fn read(&self) {
        for _ in 0..200 {
            let metrics = self.metrics().await;
            if !metrics.contains("weir_stripe_periods_timestamp_seconds 0\n") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the subscriptions are never read");
    }

    async fn metrics(&self) -> String {
        self.server.get("/metrics").await.text().await.expect("text")
    }

    /// Posts an event under a good signature.
    async fn hook(&self, event: &Value) -> u16 {
        let body = event.to_string();
        let signature = sign(&Account::sandbox().webhook_secret, moment(SystemClock::start().now()), &body);
        let request = self.server.http.post(format!("{}/v1/stripe/webhook", self.server.url));
        request.header("stripe-signature", signature).body(body).send().await.expect("an answer").status().as_u16()
    }

    async fn counted(&self, outcome: &str, count: u64) -> bool {
        self.metrics().await.contains(&format!("weir_stripe_webhooks_total{{outcome=\"{outcome}\"}} {count}\n"))
    }

    async fn status(&self) -> (Option<i32>, Value) {
        let output = run(self.server.dir.path(), &["stripe", "status", "--json"]).await;
        (output.status.code(), printed(&output))
    }
}

fn subscription(customer: &str, status: &'static str, anchor: i64, items: Vec<SubscriptionItem>) -> Subscription {
    Subscription::new(customer, status, anchor, items)
}

fn metered() -> SubscriptionItem {
    SubscriptionItem::monthly(Some("ai_requests"))
}

const ANCHOR: i64 = 1_760_000_041;

#[tokio::test]
async fn periods_follow_the_item_with_our_meter_of_any_live_subscription() {
    let year = SubscriptionItem { interval: "year", ..SubscriptionItem::monthly(None) };
    let seats = subscription("cus_acme", "active", ANCHOR + 5_000, vec![SubscriptionItem::monthly(None)]);
    let others = subscription("cus_acme", "active", ANCHOR + 6_000, vec![SubscriptionItem::monthly(Some("others"))]);
    let mut items = vec![year; 11];
    items.push(metered());
    let ours = subscription("cus_acme", "past_due", ANCHOR, items);
    let ended = subscription("cus_beta", "canceled", ANCHOR, vec![metered()]);
    let followed = Followed::start(vec![ours, seats, others, ended]).await;
    followed.read().await;
    assert_eq!(followed.anchor("acme"), Some((ANCHOR, "month".to_owned())), "the twelfth item");
    assert_eq!(followed.anchor("beta"), None);
    let setup = run(followed.server.dir.path(), &["stripe", "setup", "--json"]).await;
    assert_eq!((&printed(&setup)["unpriced"], setup.status.code()), (&json!(["beta"]), Some(0)), "{setup:?}");
}

#[tokio::test]
async fn subscriptions_beyond_any_number_of_pages_are_read() {
    let mut all = vec![subscription("cus_acme", "trialing", ANCHOR, vec![metered()])];
    // The oldest comes last: after more than fifty pages of a hundred.
    all.extend((0..5_200).map(|n| subscription(&format!("cus_{n}"), "active", n, Vec::new())));
    let followed = Followed::start(all).await;
    followed.read().await;
    assert_eq!(followed.anchor("acme"), Some((ANCHOR, "month".to_owned())));
}

#[tokio::test]
async fn periods_that_disagree_are_told_and_the_known_ones_stay() {
    let followed = Followed::start(vec![subscription("cus_acme", "active", ANCHOR, vec![metered()])]).await;
    followed.read().await;
    followed.stripe.stripe().subscribe(subscription("cus_acme", "active", ANCHOR + 86_400, vec![metered()]));
    let setup = run(followed.server.dir.path(), &["stripe", "setup", "--apply", "--json"]).await;
    let view = printed(&setup);
    assert_eq!((setup.status.code(), &view["undecided"][0]["tenant"]), (Some(3), &json!("acme")), "{view}");
    assert!(view["undecided"][0]["problem"].as_str().is_some_and(|said| said.contains("billing_anchor")), "{view}");
    assert_eq!(followed.anchor("acme"), Some((ANCHOR, "month".to_owned())));
    let file = TENANTS.replace("cus_acme}", "cus_acme, billing_anchor: '2026-01-01T00:00:00Z'}");
    std::fs::write(followed.server.dir.path().join("tenants.yaml"), file).expect("written");
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let setup = run(followed.server.dir.path(), &["stripe", "setup", "--json"]).await;
        if setup.status.code() == Some(0) {
            return;
        }
    }
    panic!("what the tenants file says is not undecided");
}

#[tokio::test]
async fn a_changed_subscription_is_read_when_the_webhook_tells_of_it() {
    let followed = Followed::start(vec![subscription("cus_acme", "active", ANCHOR, vec![metered()])]).await;
    followed.read().await;
    followed.stripe.stripe().end_subscriptions("cus_acme");
    let week = SubscriptionItem { interval: "week", ..metered() };
    followed.stripe.stripe().subscribe(subscription("cus_acme", "active", ANCHOR + 60, vec![week]));
    let event = |customer: &str, more: Value| {
        let mut event = json!({"id": "evt_1", "object": "event", "type": "customer.subscription.updated", "livemode": false,
                               "data": {"object": {"object": "subscription", "customer": customer}}});
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        event
    };
    assert_eq!(followed.hook(&event("cus_acme", json!({"account": "acct_connected"}))).await, 200);
    assert_eq!(followed.hook(&event("cus_nobodys", json!({}))).await, 200);
    assert_eq!(followed.anchor("acme"), Some((ANCHOR, "month".to_owned())), "neither is ours");
    assert_eq!(followed.hook(&event("cus_acme", json!({"account": "acct_rig"}))).await, 200);
    assert_eq!(followed.anchor("acme"), Some((ANCHOR + 60, "week".to_owned())));
    for (outcome, count) in [("other_account", 1), ("other_customer", 1), ("taken", 1)] {
        assert!(followed.counted(outcome, count).await, "{outcome}");
    }
}

#[tokio::test]
async fn errors_found_later_need_a_person_until_they_are_acknowledged() {
    let followed = Followed::start(Vec::new()).await;
    let beta = Worker { tenant: "beta", ..Worker::new(1, followed.now) };
    followed.server.post(batch(&[beta.usage(1)])).await;
    let as_of = followed.now.plus_millis(7_200_000);
    assert_eq!(
        followed.server.ask("/v1/report", &json!({"as_of": as_of})).await["reported"],
        1,
        "cus_beta is not there"
    );
    assert_eq!(followed.status().await.0, Some(0));
    let hook = format!("{}/v1/stripe/webhook", followed.server.url);
    assert_eq!(followed.stripe.deliver_webhooks(&hook).await, [200]);
    let (code, view) = followed.status().await;
    assert_eq!((code, &view["errors"][0]["unseen"]), (Some(3), &json!(1)), "{view}");
    assert!(followed.metrics().await.contains("weir_stripe_errors_unseen 1\n"));
    let seen = run(followed.server.dir.path(), &["stripe", "seen", "--why", "customer made", "--json"]).await;
    assert_eq!((seen.status.code(), printed(&seen)), (Some(0), json!({"errors": 1, "reports": 0})), "{seen:?}");
    let (code, view) = followed.status().await;
    assert_eq!((code, &view["errors"][0]["errors"]), (Some(0), &json!(1)), "it is still shown: {view}");
    assert!(followed.metrics().await.contains("weir_stripe_errors_unseen 0\n"));
    let audit = followed.server.json("/v1/audit").await.to_string();
    assert!(audit.contains("stripe seen") && audit.contains("customer made"), "{audit}");
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_an_error_until_it_is() {
    let followed = Followed::start(Vec::new()).await;
    let beta = Worker { tenant: "beta", ..Worker::new(1, followed.now) };
    followed.server.post(batch(&[beta.usage(1)])).await;
    let as_of = followed.now.plus_millis(7_200_000);
    followed.server.ask("/v1/report", &json!({"as_of": as_of})).await;
    let delivery = followed.stripe.stripe().webhooks(moment(SystemClock::start().now())).remove(0);
    let thin: Value = serde_json::from_str(&delivery.body).expect("JSON");
    let empty = json!({"id": thin["id"], "data": {"reason": {}}});
    let other = json!({"id": "evt_other", "data": {"reason": {"error_count": 1}}});
    for unreadable in [json!({"id": thin["id"], "data": {"reasons": []}}), empty, other] {
        followed.stripe.stripe().replace_core_events(Some(unreadable.clone()));
        assert_eq!(followed.hook(&thin).await, 503, "it is to come again: {unreadable}");
        let (code, view) = followed.status().await;
        assert_eq!((code, &view["unread_reports"][0]["id"]), (Some(3), &thin["id"]), "{unreadable}: {view}");
    }
    assert!(
        followed.counted("unreadable", 3).await && followed.metrics().await.contains("weir_stripe_reports_unread 1\n")
    );
    followed.stripe.stripe().replace_core_events(None);
    assert_eq!(followed.hook(&thin).await, 200);
    let (_, view) = followed.status().await;
    assert_eq!(
        (&view["unread_reports"], &view["errors"][0]["errors"]),
        (&json!([]), &json!(1)),
        "read after all: {view}"
    );
}

#[tokio::test]
async fn subscriptions_that_cannot_be_read_are_told() {
    let followed = Followed::start(Vec::new()).await;
    followed.read().await;
    assert!(followed.metrics().await.contains("weir_stripe_periods_failing 0\n"));
    let Followed { server, stripe, .. } = followed;
    let (dir, url) = (server.stop().await, stripe.url());
    drop(stripe);
    let more = format!(
        "tenants: tenants.yaml\nstripe: {{secret_key: {{file: key}}, url: '{url}', account: acct_rig, meters: {{requests: ai_requests}}}}\n"
    );
    let server = Running::start_by(dir, SystemClock::start(), &more).await;
    for _ in 0..200 {
        if server.get("/metrics").await.text().await.expect("text").contains("weir_stripe_periods_failing 1\n") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing says that they cannot be read");
}

#[tokio::test]
async fn a_report_of_a_connected_account_is_not_ours() {
    let followed = Followed::start(Vec::new()).await;
    let thin = json!({"id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
                      "livemode": false, "context": "acct_connected"});
    assert_eq!(followed.hook(&thin).await, 200);
    assert!(followed.counted("other_account", 1).await);
    let (code, view) = followed.status().await;
    assert_eq!((code, &view["errors"], &view["unread_reports"]), (Some(0), &json!([]), &json!([])), "{view}");
}
