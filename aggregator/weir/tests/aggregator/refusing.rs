//! Bad prices and price plans on a running server: the refusal names file, line, column and remedy, the last good ones stay in force, the
//! metric shows it, and readiness does not change.
use std::time::Duration;

use serde_json::Value;
use weir::config::Config;

use super::events::{Worker, batch, noon};
use super::server::Running;

/// A token in costs a half, a token out 1: an event of the tests, ten in and five out, costs 10.
const ENTRY: &str = "  - {model: m, per_million: {input: 500000, output: 1000000}}\n";
/// A request costs 50, the first ten tokens 2 each, and further ones 1.
const CHARGE: &str = "  - {meter: input_tokens, graduated: [{up_to: 10, per_unit: 2}, {per_unit: 1}]}\n";
const TENANTS: &str = "tenants: [{id: acme, plan: starter, created_at: 2026-11-01T00:00:00Z}]\n";
/// Long enough for a server to look at its files.
const LOOK_MAX: Duration = Duration::from_secs(15);

fn settings() -> String {
    format!(
        "tenants: tenants.yaml\nprices:\n  shipped: false\n  files: [list.yaml]\n  entries:\n{ENTRY}price_plans:\n- name: p\n  \
         currency: USD\n  plans: [starter]\n  per_request: 50\n  charges:\n{CHARGE}"
    )
}

async fn send(server: &Running, number: u64) {
    let event = Worker::new(1, noon()).usage_with(number, |data| data.response_model = Some("m".into()));
    assert!(server.post(batch(&[event])).await.status().is_success());
}

/// Cost and revenue of all tenants.
async fn sums(server: &Running) -> (Value, Value) {
    let total = server.json("/v1/margin").await["totals"][0].clone();
    (total["llm_cost"].clone(), total["revenue"].clone())
}

/// Waits until the metric says that prices cannot be read, or that they can.
async fn wait_for_failing(server: &Running, failing: u8) {
    let line = format!("weir_prices_failing {failing}");
    let waiting = async {
        while !server.get("/metrics").await.text().await.expect("text").lines().any(|of| of == line) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LOOK_MAX, waiting).await.expect(&line);
}

/// The error of the configuration, or of the files of prices that it names.
fn error_of(server: &Running) -> String {
    match Config::load(&server.dir.path().join("weir.yaml")) {
        Err(error) => error.to_string(),
        Ok(config) => config.prices.book().expect_err("the prices are bad").to_string(),
    }
}

/// The line and column of `at` in a text, counted from 1.
fn place(text: &str, at: &str) -> String {
    let before = &text[..text.find(at).unwrap_or_else(|| panic!("no {at} in {text}"))];
    let line = before.rsplit('\n').next().unwrap_or_default();
    format!("{}:{}", before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Puts `bad` in the place of `good` in a file of a running server. The error must point at `at` and name the `remedy`.
async fn refused(name: &str, good: &str, bad: &str, at: &str, remedy: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    std::fs::write(dir.path().join("list.yaml"), format!("entries:\n{}", ENTRY.replace(": m,", ": other,")))
        .expect("written");
    let server = Running::start_in(dir, noon(), &settings()).await;
    send(&server, 1).await;
    assert_eq!(sums(&server).await, ("10".into(), "70".into()));
    let path = server.dir.path().join(name);
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(text.contains(good), "{text}");
    let broken = text.replace(good, bad);
    std::fs::write(&path, &broken).expect("written");
    let error = error_of(&server);
    assert!(
        error.contains(&format!("{name}:{}", place(&broken, at))),
        "{} is the place of {at}: {error}",
        place(&broken, at)
    );
    assert!(error.contains(remedy), "{error}");
    wait_for_failing(&server, 1).await;
    assert!(server.get("/readyz").await.status().is_success(), "readiness does not change");
    send(&server, 2).await;
    assert_eq!(sums(&server).await, ("20".into(), "130".into()), "the last good ones stay in force");
    std::fs::write(&path, text).expect("written");
    wait_for_failing(&server, 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_negative_price_is_refused() {
    refused("weir.yaml", "input: 500000", "input: -5", "-5", "a price is 0 or more").await;
}

#[tokio::test]
async fn a_price_with_too_many_digits_is_refused() {
    refused("weir.yaml", "input: 500000", "input: 0.0000001", "0.0000001", "at most 6 are exact").await;
}

#[tokio::test]
async fn an_entry_that_overlaps_another_is_refused() {
    let twice = format!("{ENTRY}{}", ENTRY.replace("model: m", "model: 'm'"));
    refused("weir.yaml", ENTRY, &twice, "model: 'm'", "give the later one an effective_from of its own").await;
}

#[tokio::test]
async fn a_price_of_an_unknown_unit_is_refused() {
    refused("weir.yaml", "{input: 500000,", "{inputs: 500000,", "inputs: 500000", "known are input").await;
}

#[tokio::test]
async fn a_context_tier_out_of_order_is_refused() {
    let tiers = "output: 1000000}, above: [{input_tokens_over: 200, per_million: {}}, {input_tokens_over: 100, per_million: {}}]}";
    refused("weir.yaml", "output: 1000000}}", tiers, "input_tokens_over: 100", "rising").await;
}

#[tokio::test]
async fn a_currency_mix_in_one_plan_is_refused() {
    refused(
        "weir.yaml",
        "{meter: input_tokens,",
        "{meter: input_tokens, currency: EUR,",
        "EUR",
        "make a plan of its own for EUR",
    )
    .await;
}

#[tokio::test]
async fn a_tier_out_of_order_is_refused() {
    refused("weir.yaml", "{per_unit: 1}]", "{up_to: 5, per_unit: 1}, {}]", "5, per_unit: 1", "increasing order").await;
}

#[tokio::test]
async fn a_plan_that_overlaps_another_is_refused() {
    let twice = "price_plans:\n- {name: q, currency: USD, plans: [starter]}\n- name: p\n";
    refused("weir.yaml", "price_plans:\n- name: p\n", twice, "[starter]}", "pays by one plan at a time").await;
}

#[tokio::test]
async fn a_negative_amount_in_a_plan_is_refused() {
    refused("weir.yaml", "per_request: 50", "per_request: -1", "-1", "write 0 or more").await;
}

#[tokio::test]
async fn a_meter_that_nobody_knows_is_refused_in_a_plan() {
    refused("weir.yaml", "{meter: input_tokens,", "{meter: pictures,", "pictures", "there are ").await;
}

#[tokio::test]
async fn a_file_of_the_wrong_shape_is_refused() {
    refused("list.yaml", "entries:\n  - {", "prices:\n  - {", "prices", "entries").await;
}

#[tokio::test]
async fn a_file_that_ends_in_the_middle_is_refused() {
    refused("list.yaml", "output: 1000000}}", "output: 1000000", "{input", "bracket").await;
}
