//! Revenue, cost and margin: the numbers, over HTTP and by commands, and the settings behind them.
use std::time::Duration;

use serde_json::{Value, json};
use weir::config::Config;
use weir_clock::SystemClock;
use weir_contract::Timestamp;

use super::answering::run;
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::server::Running;

/// A token in costs a half, a token out 1: an event of the tests costs 10.
const SETTINGS: &str = "\
tenants: tenants.yaml
prices:
  shipped: false
  entries: [{model: m, per_million: {input: 500000, output: 1000000}}, {model: small, per_million: {input: 50000, output: 100000}}]
price_plans:
- name: starter
  currency: USD
  plans: [starter]
  base_fee: 30
  per_request: 50
  charges: [{meter: input_tokens, included: 10, per_unit: 2}]
- {name: flat, currency: USD, base_fee: 90}
planned: [{tenant: acme, month: 2026-11, currency: USD, cost: 80, revenue: 500}]
";
const TENANTS: &str = "tenants:
- {id: acme, plan: starter, created_at: 2026-11-01T00:00:00Z}
- {id: loss, plan: free}
";

/// Three events of `acme`, two of `loss`, and one of a model without a price.
async fn shop() -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    let server = Running::start_in(dir, noon(), SETTINGS).await;
    let event = |tenant: &'static str, life: u8, number: u64, model: &'static str| {
        let worker = Worker { tenant, ..Worker::new(life, noon()) };
        worker.usage_with(number, |data| {
            data.response_model = Some(model.into());
            data.feature = Some("<script>".into());
            data.prompt_version = Some("v1".into());
        })
    };
    let acme = (1..=3).map(|number| event("acme", 1, number, "m"));
    let loss = (1..=2).map(|number| event("loss", 2, number, "m"));
    let events: Vec<Vec<u8>> = acme.chain(loss).chain([event("blind", 3, 1, "unknown")]).collect();
    assert!(server.post(batch(&events)).await.status().is_success());
    server
}

fn row<'v>(view: &'v Value, key: &str) -> &'v Value {
    view["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .find(|row| row["key"] == key)
        .unwrap_or_else(|| panic!("no {key}: {view}"))
}

#[tokio::test]
async fn margins_by_tenant_stand_with_the_worst_first() {
    let server = shop().await;
    let view = server.json("/v1/margin").await;
    assert_eq!(
        (&view["rows"][0]["key"], &view["rows"][0]["margin"], &view["rows"][0]["level"]),
        (&json!("loss"), &json!("-20"), &json!("negative"))
    );
    // 21 of 30 days of the fee, three requests, and 20 tokens beyond those included.
    let acme = row(&view, "acme");
    assert_eq!(
        (&acme["revenue"], &acme["llm_cost"], &acme["margin"]),
        (&json!("211"), &json!("30"), &json!("181")),
        "{view}"
    );
    assert_eq!(
        (&acme["margin_percent"], &acme["llm_cost_percent"], &acme["level"]),
        (&json!("85.78"), &json!("14.22"), &json!("good"))
    );
    assert_eq!((&view["totals"][0]["llm_cost"], &view["unpriced"]), (&json!("50"), &json!({"unknown": 15})), "{view}");
    assert!(
        view["notes"].to_string().contains("1 requests used what has no price (15 tokens); its cost is missing"),
        "{view}"
    );
    let blind = row(&view, "blind");
    assert_eq!((&blind["level"], &blind["unpriced_percent"]), (&json!("unpriced"), &json!("100.00")), "{view}");
    let keys: Vec<&Value> = view["rows"].as_array().expect("rows").iter().map(|row| &row["key"]).collect();
    assert_eq!(keys, ["loss", "blind", "acme"], "losses first, then what nobody knows");
}

#[tokio::test]
async fn revenue_is_spread_over_dimensions_and_says_so() {
    let server = shop().await;
    let view = server.json("/v1/margin?by=model").await;
    let m = row(&view, "m");
    assert_eq!((&m["revenue"], &m["revenue_spread"], &m["llm_cost"]), (&json!("211"), &json!(true), &json!("50")));
    let view = server.json("/v1/margin?by=plan").await;
    assert_eq!((&row(&view, "starter")["revenue"], &row(&view, "free")["llm_cost"]), (&json!("211"), &json!("20")));
    let answer = server.get("/v1/margin?by=colour").await;
    assert_eq!(answer.status().as_u16(), 400);
    assert!(answer.text().await.expect("text").contains("prompt_version"));
    assert_eq!(server.get("/v1/margin?tenant=nobody").await.status().as_u16(), 404);
}

#[tokio::test]
async fn a_bill_is_replayed_line_by_line() {
    let server = shop().await;
    let view = server.json("/v1/bill?tenant=acme").await;
    let lines = view["bills"][0]["lines"].as_array().expect("lines");
    let shown: Vec<String> = lines
        .iter()
        .map(|line| {
            format!(
                "{} {} {}",
                line["kind"].as_str().expect("kind"),
                line["quantity"],
                line["amount"].as_str().expect("amount")
            )
        })
        .collect();
    assert_eq!(shown, ["base_fee 21 21", "included 10 0", "usage 20 40", "usage 3 150"]);
    assert_eq!((&view["closed"], &view["bills"][0]["due"]), (&json!(false), &json!("211")));
}

/// Requests of a tenant at a moment.
fn requests(tenant: &'static str, life: u8, at: &str, count: u64) -> Vec<Vec<u8>> {
    let worker = Worker { tenant, ..Worker::new(life, Timestamp::parse(at).expect("a time")) };
    (1..=count).map(|number| worker.usage(number)).collect()
}

#[tokio::test]
async fn a_grant_that_was_cut_to_its_days_is_not_carried_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(
        dir.path().join("tenants.yaml"),
        "tenants: [{id: mid, plan: p, created_at: 2026-10-25T00:00:00Z}]\n",
    )
    .expect("written");
    let plans = "tenants: tenants.yaml
price_plans:
- {name: c, currency: USD, plans: [p], credits: {grant: 100, expires_after: 2, burn: {requests: 1}, per_credit: 1}}
";
    let server = Running::start_in(dir, noon(), plans).await;
    for events in [requests("mid", 1, "2026-10-25T12:00:00Z", 60), requests("mid", 2, "2026-11-10T12:00:00Z", 120)] {
        assert!(server.post(batch(&events)).await.status().is_success());
    }
    let due = |view: Value| view["bills"][0]["total"].as_str().expect("a total").to_owned();
    // October grants 7 of 31 days of 100, and sells the rest of 60; November burns 20 more than its 100.
    assert_eq!(due(server.json("/v1/bill?tenant=mid&at=2026-10-25T00:00:00Z").await), "37.41935483871");
    assert_eq!(due(server.json("/v1/bill?tenant=mid").await), "20");
}

#[tokio::test]
async fn a_tenant_that_was_used_before_it_was_created_pays_for_that_as_well() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(
        dir.path().join("tenants.yaml"),
        "tenants: [{id: late, plan: p, created_at: 2026-11-12T00:00:00Z}]\n",
    )
    .expect("written");
    let plans = "tenants: tenants.yaml\nprice_plans: [{name: c, currency: USD, plans: [p], per_request: 1}]\n";
    let server = Running::start_in(dir, noon(), plans).await;
    for events in [requests("late", 1, "2026-11-10T12:00:00Z", 1), requests("late", 2, "2026-11-12T12:00:00Z", 1)] {
        assert!(server.post(batch(&events)).await.status().is_success());
    }
    let view = server.json("/v1/bill?tenant=late").await;
    assert_eq!(view["bills"][0]["total"], "2", "as much as is reported: {view}");
}

#[tokio::test]
async fn the_periods_of_the_tenants_file_hold_without_stripe() {
    let dir = tempfile::tempdir().expect("a directory");
    let tenants =
        "tenants: [{id: anch, plan: p, created_at: 2026-09-01T00:00:00Z, billing_anchor: 2026-01-31T10:37:22Z}]\n";
    std::fs::write(dir.path().join("tenants.yaml"), tenants).expect("written");
    let plans = "tenants: tenants.yaml\nprice_plans: [{name: c, currency: USD, plans: [p], base_fee: 30}]\n";
    let server = Running::start_in(dir, noon(), plans).await;
    let view = server.json("/v1/bill?tenant=anch").await;
    assert_eq!((&view["from"], &view["to"]), (&json!("2026-10-31T10:37:22.000Z"), &json!("2026-11-30T10:37:22.000Z")));
}

#[tokio::test]
async fn what_has_no_price_and_is_no_tokens_is_named_and_other_costs_lower_every_margin() {
    let rules = "prices: {shipped: false, entries: [{model: m, per_million: {input: 1000000, output: 1000000}}]}
price_plans: [{name: flat, currency: USD, plans: ['*'], base_fee: 90}]
other_costs: [{reading: gpu_usd}]
tenants: tenants.yaml
";
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(
        dir.path().join("tenants.yaml"),
        "tenants: [{id: imgs, plan: p, created_at: 2026-11-01T00:00:00Z}]\n",
    )
    .expect("written");
    let server = Running::start_in(dir, noon(), rules).await;
    let worker = Worker { tenant: "imgs", ..Worker::new(1, noon()) };
    let pictures = worker.usage_with(1, |data| {
        (data.response_model, data.usage) = (Some("painter".into()), weir_contract::Usage::default());
        data.usage.status = weir_contract::UsageStatus::Complete;
        data.usage.details = std::collections::BTreeMap::from([("images".to_owned(), 7)]);
    });
    let text = worker.usage_with(2, |data| data.response_model = Some("m".into()));
    assert!(server.post(batch(&[pictures, text])).await.status().is_success());
    let reading = json!([{"id": "g/1", "tenant": "imgs", "name": "gpu_usd", "time": noon(), "amount": "100"}]);
    assert_eq!(super::readings::post(&server, &reading).await.0, 202);
    let view = server.json("/v1/margin").await;
    assert_eq!(
        (&view["totals"][0]["unpriced_requests"], &view["unpriced_requests"]),
        (&json!(1), &json!({"painter": 1}))
    );
    // 21 of 30 days of the fee, 15 tokens, and the reading.
    assert_eq!(row(&view, "imgs")["margin"], "-52");
    let by_model = server.json("/v1/margin?by=model").await;
    assert_eq!(row(&by_model, "(no request)")["other_cost"], "100", "{by_model}");
    assert_eq!(by_model["totals"][0]["revenue_spread"], false);
    let view = server.json("/v1/whatif").await;
    assert_eq!((&view["before"]["margin"], &view["unpriced"]["requests"]), (&json!("-52"), &json!(1)), "{view}");
    let view = server.json("/v1/review?week=2026-W47").await;
    assert_eq!((&view["total"]["cost"][1], &view["unpriced"]["requests"]), (&json!("115"), &json!(1)), "{view}");
    let cost = run(server.dir.path(), &["cost"]).await;
    assert!(String::from_utf8_lossy(&cost.stdout).contains("1 requests used what has no price"), "{cost:?}");
}

#[tokio::test]
async fn plans_scenarios_and_gpus_are_compared_over_real_usage() {
    let server = shop().await;
    let view = server.json("/v1/prices/compare?tenant=acme&to=2026-12-01T00:00:00Z").await;
    let of = |name: &str| {
        view["plans"].as_array().expect("plans").iter().find(|plan| plan["plan"] == name).cloned().expect("the plan")
    };
    assert_eq!((&of("starter")["revenue"], &of("flat")["revenue"]), (&json!("220"), &json!("90")), "{view}");
    assert_eq!((&of("starter")["current"], &of("flat")["more_than_current"]), (&json!(true), &json!("-130")));
    let view = server.json("/v1/whatif?price=m%3D50").await;
    assert_eq!(
        (&view["before"]["cost"], &view["after"]["cost"], &view["after"]["margin"]),
        (&json!("50"), &json!("25"), &json!("186"))
    );
    let view = server.json("/v1/whatif?mix=small%3D100&tenant=acme").await;
    assert_eq!(view["after"]["cost"], "3", "{view}");
    let published = "/v1/crossover?requests=10000000&api_cost=7500&replicas=3&month=5800&capacity=20000000";
    let view = server.json(published).await;
    assert_eq!(
        (&view["months"][0]["saved_percent"], &view["months"][1]["saved_percent"]),
        (&json!("22.67"), &json!("61.33")),
        "{view}"
    );
    assert_eq!((&view["months"][0]["own_cost"], &view["months"][1]["capacity"]), (&json!("5800"), &json!(20_000_000)));
    let refused = server.get(&format!("{published}&utilisation=150")).await;
    assert_eq!(refused.status().as_u16(), 400);
    let svg = server.get(&format!("{published}&form=svg")).await;
    assert_eq!(svg.headers()["content-type"], "image/svg+xml");
    assert!(svg.text().await.expect("text").ends_with("</svg>\n"));
}

#[tokio::test]
async fn the_review_has_all_forms_and_no_name_becomes_markup() {
    let server = shop().await;
    let view = server.json("/v1/review?week=2026-W47").await;
    assert_eq!((&view["by_spend"][0]["key"], &view["total"]["cost"]), (&json!("acme"), &json!(["0", "50"])), "{view}");
    assert_eq!(view["planned"][0]["actual"], "30", "{view}");
    let berlin =
        server.get("/v1/review?week=2026-W47&form=text&timezone=Europe/Berlin").await.text().await.expect("text");
    assert!(berlin.contains("Margin review, 2026-11-16 to 2026-11-22"), "{berlin}");
    let page = server.get("/v1/review?week=2026-W47&form=html").await.text().await.expect("text");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    assert_eq!(server.get("/v1/review?week=yesterday").await.status().as_u16(), 400);
}

#[tokio::test]
async fn no_fee_of_days_to_come_stands_beside_the_cost_of_today() {
    let server = shop().await;
    let month = "/v1/margin?from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z";
    let view = server.json(month).await;
    assert_eq!(row(&view, "acme")["revenue"], "211", "21 of 30 days, as in the bill: {view}");
    assert_eq!(
        (&view["to"], view["notes"].to_string().contains("the span ends now")),
        (&json!(noon()), true),
        "{view}"
    );
    let future = server.get("/v1/margin?from=2027-01-01T00:00:00Z&to=2027-02-01T00:00:00Z").await;
    assert_eq!(future.status().as_u16(), 409);
    assert!(future.text().await.expect("text").contains("in the future"));
    let view = server.json("/v1/review?week=2026-W47").await;
    // Five and a half of the seven days of a fee of 30: six of them have begun.
    assert_eq!((&view["until"], &view["total"]["revenue"][1]), (&json!(noon()), &json!("196")), "{view}");
    let text = server.get("/v1/review?week=2026-W47&form=text").await.text().await.expect("text");
    assert!(text.contains("The week is not over"), "{text}");
    assert_eq!(server.get("/v1/review?week=2030-W01").await.status().as_u16(), 409);
    let view = server.json("/v1/whatif?to=2026-12-01T00:00:00Z").await;
    assert_eq!(view["before"]["revenue"], "211", "{view}");
}

#[tokio::test]
async fn a_tenant_that_nobody_knows_or_that_has_no_price_plan_is_named() {
    let server = shop().await;
    for path in ["cost", "cost/models", "cost/other", "cost/events"] {
        let known = server.get(&format!("/v1/{path}?tenant=blind")).await;
        assert_eq!(known.status().as_u16(), 200, "{path}");
        let slip = server.get(&format!("/v1/{path}?tenant=aceme")).await;
        assert_eq!(slip.status().as_u16(), 404, "{path}");
        assert!(slip.text().await.expect("text").contains("aceme"), "{path}");
    }
    let view = server.json("/v1/bill?tenant=loss").await;
    assert!(view["notes"].to_string().contains("no price plan applies: add the tenant's plan"), "{view}");
    let view = server.json("/v1/bill?tenant=acme&at=2027-01-01T00:00:00Z").await;
    assert!(view["notes"].to_string().contains("has not begun"), "{view}");
    let view = server.json("/v1/margin").await;
    assert!(
        view["notes"].to_string().contains("no price plan applies to blind, loss: they bring no revenue"),
        "{view}"
    );
    let shown = run(server.dir.path(), &["cost", "--tenant", "aceme"]).await;
    assert_eq!(shown.status.code(), Some(1), "{shown:?}");
    let dir = server.stop().await;
    for args in [&["cost", "--models", "--tenant", "aceme"][..], &["events", "list", "--tenant", "aceme"]] {
        let shown = run(dir.path(), args).await;
        assert!(String::from_utf8_lossy(&shown.stderr).contains("aceme"), "{args:?}: {shown:?}");
    }
}

#[tokio::test]
async fn an_absurd_price_makes_no_answer_unreadable() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(
        dir.path().join("tenants.yaml"),
        "tenants: [{id: acme, plan: huge, created_at: 2026-11-01T00:00:00Z}]\n",
    )
    .expect("written");
    let settings = "tenants: tenants.yaml\nprice_plans: [{name: huge, currency: USD, plans: [huge], base_fee: 999999999999999, \
                    charges: [{meter: input_tokens, per_unit: 999999999999999}]}]\n";
    let server = Running::start_in(dir, noon(), settings).await;
    assert!(server.post(batch(&[Worker::new(1, noon()).usage(1)])).await.status().is_success());
    for args in [&["bill", "acme", "--json"][..], &["margin", "--json"], &["whatif", "--json"], &["margin"]] {
        let shown = run(server.dir.path(), args).await;
        assert!(!String::from_utf8_lossy(&shown.stderr).contains("decimal"), "{args:?}: {shown:?}");
    }
    let bill = printed(&run(server.dir.path(), &["bill", "acme", "--json"]).await);
    // 21 of 30 days of the fee, and ten tokens.
    assert_eq!(bill["bills"][0]["total"], "10699999999999989.3", "{bill}");
    let text = settings.replace("base_fee: 999999999999999", "base_fee: 9999999999999999");
    let error = Config::parse(std::path::Path::new("weir.yaml"), &text).expect_err("too large").to_string();
    assert!(error.contains("weir.yaml:2:") && error.contains("15 digits before the point"), "{error}");
}

#[tokio::test]
async fn the_time_to_the_first_answer_counts_from_creation() {
    let server = shop().await;
    let worker = Worker { tenant: "acme", ..Worker::new(9, Timestamp::parse("2026-11-20T08:00:00Z").expect("a time")) };
    let failed = worker.usage_with(1, |data| data.outcome = weir_contract::Outcome::UpstreamError);
    assert!(server.post(batch(&[failed])).await.status().is_success());
    let rows = server.json("/v1/lifetime").await;
    let acme = rows.as_array().expect("rows").iter().find(|row| row["tenant"] == "acme").expect("acme");
    assert_eq!(
        (&acme["first_answer"], &acme["seconds_to_first_answer"]),
        (&json!("2026-11-21T12:30:00.000Z"), &json!(1_773_000))
    );
}

#[tokio::test]
async fn commands_answer_the_same_with_and_without_a_server() {
    let dir = shop().await.stop().await;
    let span = ["--from", "2026-11", "--to", "2026-11-21T13"];
    let margin = [&["margin", "--json"][..], &span].concat();
    let without = run(dir.path(), &margin).await;
    assert_eq!((without.status.code(), &printed(&without)["rows"][0]["key"]), (Some(3), &json!("loss")), "{without:?}");
    let csv = run(dir.path(), &[&["margin", "--csv", "--by", "feature"][..], &span].concat()).await;
    assert!(String::from_utf8_lossy(&csv.stdout).starts_with("key,currency,revenue,spread,LLM cost,"), "{csv:?}");
    let table = run(dir.path(), &[&["margin"][..], &span].concat()).await;
    assert!(
        String::from_utf8_lossy(&table.stdout).contains("no price for unknown: 15 tokens, 1 requests"),
        "{table:?}"
    );
    let review = run(dir.path(), &["review", "--week", "2026-W47", "--format", "markdown"]).await;
    assert!(String::from_utf8_lossy(&review.stdout).starts_with("# Margin review, 2026"), "{review:?}");
    let server = Running::start_by(dir, SystemClock::start(), SETTINGS).await;
    assert_eq!(printed(&run(server.dir.path(), &margin).await), printed(&without));
    server.stop().await;
}

#[tokio::test]
async fn changed_price_plans_are_in_force_without_a_restart_and_bad_ones_never() {
    let server = shop().await;
    let path = server.dir.path().join("weir.yaml");
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, text.replace("base_fee: 30", "base_fee: 60")).expect("written");
    let revenue = |view: &Value| row(view, "acme")["revenue"].as_str().expect("revenue").to_owned();
    let changed = async {
        while revenue(&server.json("/v1/margin").await) != "232" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), changed).await.expect("the new plan");
    std::fs::write(&path, text.replace("base_fee: 30", "base_fee: -1")).expect("written");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(revenue(&server.json("/v1/margin").await), "232", "the last good plans stay");
    assert!(server.get("/readyz").await.status().is_success());
}

#[test]
fn a_bad_price_plan_is_named_with_file_line_and_column() {
    let text = SETTINGS.replace("per_unit: 2", "per_unit: -2");
    let error = Config::parse(std::path::Path::new("weir.yaml"), &text).expect_err("negative").to_string();
    assert_eq!(error, "weir.yaml:11:59: price_plans[0].charges[0].per_unit: -2 is negative; write 0 or more");
    let text = SETTINGS.replace("month: 2026-11", "month: 2026-13");
    let error = Config::parse(std::path::Path::new("weir.yaml"), &text).expect_err("no month").to_string();
    assert!(error.starts_with("weir.yaml:13:") && error.contains("such as 2026-11"), "{error}");
}
