//! The running server calls Stripe at the configured pace, for setup and for comparison.
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir_rig::stripe::Account;

use super::answering::{Billed, run};
use super::commands::json as printed;
use super::events::{Worker, batch};

#[tokio::test]
async fn setup_through_the_running_server_shows_first_and_makes_what_is_missing() {
    let billed = Billed::start_with(&["ai_requests"], 1_000).await;
    billed.stripe.stripe().add_subscription("cus_acme", 1_760_000_041);
    let dir = billed.server.dir.path();
    let dry = run(dir, &["stripe", "setup", "--json"]).await;
    assert_eq!(dry.status.code(), Some(3), "{dry:?}");
    let view = printed(&dry);
    assert_eq!((&view["meters"]["ai_credits"]["state"], &view["applied"]), (&json!("missing"), &json!(false)));
    assert_eq!(view["meters"]["ai_requests"]["state"], "good");
    assert_eq!(view["unaligned"][0]["customer"], "cus_acme", "{view}");
    let audit = billed.server.json("/v1/audit").await.to_string();
    assert!(!audit.contains("stripe setup"), "nothing was done: {audit}");
    let applied = run(dir, &["stripe", "setup", "--apply", "--json"]).await;
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");
    let view = printed(&applied);
    assert_eq!((&view["meters"]["ai_credits"]["state"], &view["noted"]), (&json!("created"), &json!(1)), "{view}");
    let audit = billed.server.json("/v1/audit").await.to_string();
    assert!(audit.contains("stripe setup") && audit.contains("1 billing periods noted"), "{audit}");
    assert!(!format!("{dry:?} {applied:?} {audit}").contains(&Account::sandbox().secret_key));
    // The created meters accept reports.
    let worker = Worker::new(1, billed.now);
    billed.server.post(batch(&(1..=4).map(|n| worker.usage(n)).collect::<Vec<_>>())).await;
    assert_eq!(billed.report().await["held"], json!({}));
    assert_eq!(billed.stripe.stripe().total("cus_acme", "ai_credits"), 12);
}

#[tokio::test]
async fn setup_through_the_server_is_for_administrators() {
    let billed = Billed::start_with(&["ai_requests"], 1_000).await;
    let post = billed.server.http.post(format!("{}/v1/stripe/setup", billed.server.url)).json(&json!({"apply": true}));
    let answer = post.bearer_auth("another-token-of-nobody").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let view: Value = billed.server.ask("/v1/stripe/setup", &json!({})).await;
    assert_eq!(view["meters"]["ai_credits"]["state"], "missing", "nothing was made: {view}");
}

#[tokio::test]
async fn a_comparison_asks_no_faster_than_the_configured_rate() {
    const CALLS_PER_SECOND: u32 = 20;
    let billed = Billed::start_with(&["ai_requests", "ai_credits"], CALLS_PER_SECOND).await;
    let customers = 15_u32;
    let tenants: Vec<String> = (0..customers)
        .map(|n| {
            billed.stripe.stripe().add_customer(&format!("cus_{n}"));
            format!("{{id: t{n}, plan: p, stripe_customer: cus_{n}}}")
        })
        .collect();
    let path = billed.server.dir.path().join("tenants.yaml");
    std::fs::write(path, format!("tenants: [{}]", tenants.join(", "))).expect("written");
    let series = 2 * u64::from(customers);
    let asked = async {
        loop {
            let began = Instant::now();
            let view = billed.reconcile().await;
            if view["series"].as_u64() == Some(series) {
                return (began.elapsed(), view);
            }
        }
    };
    let (took, view) = tokio::time::timeout(Duration::from_secs(120), asked).await.expect("the new tenants");
    assert_eq!(view["differences"], json!([]), "{view}");
    // The first call does not wait, and no sleep is shorter than asked for.
    let least = Duration::from_secs(1) / CALLS_PER_SECOND * (2 * customers - 1);
    assert!(took >= least, "{series} series in {took:?}: sixteen at once, and no pace");
}
