//! What pages say: which budgets bind, what was typed into a form that was refused, earlier months, and what an address may ask.
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use weir_clock::ManualClock;
use weir_contract::Timestamp;

use super::browser::Browser;
use super::events::{Worker, batch, noon};
use super::holding::World;
use super::server::{Running, TOKEN};
use super::viewing::{busy, busy_by, token, with_budgets};

const UNTIL: &str = "2026-11-22T00:00";

#[tokio::test]
async fn a_budget_that_binds_nobody_says_so_on_every_page() {
    let server = with_budgets("- {name: watch, of: requests, amount: 1, period: day, mode: observe}\n").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let page = browser.page("/budgets?tenant=acme").await;
    assert!(page.contains("exceeded (observed)"), "{page}");
    let tenants = browser.page("/tenants?sort=budget").await;
    assert!(tenants.contains("90.0 %") && !tenants.contains("900.0 %"), "one that binds comes first: {tenants}");
    let own = token(&server, "acme-own", "Al", json!({"tenant": "acme"})).await;
    let member = Browser::sign_in(&server, &own).await;
    let page = member.page("/own").await;
    assert!(page.contains("exceeded (observed)") && page.contains("no: it is only observed"), "{page}");
    let pause = [("budget", "daily"), ("tenant", "acme"), ("until", UNTIL), ("why", "a launch")];
    assert_eq!(browser.act("/budgets/pause", &pause).await.status, StatusCode::SEE_OTHER);
    let page = member.page("/own").await;
    assert!(page.contains("ok (paused)") && page.contains("not while it is paused"), "{page}");
    let page_of_budget = browser.page("/budgets/one?tenant=acme&budget=daily").await;
    assert!(page_of_budget.contains("none: paused"), "{page_of_budget}");
    assert!(page.contains("datetime=\"2026-11-22T00:00:00.000Z\"") && !page.contains("a launch"), "{page}");
}

#[tokio::test]
async fn a_form_that_is_refused_comes_back_with_what_was_typed_but_secrets() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let typed = [("budget", "daily"), ("tenant", "acme"), ("amount", "many"), ("until", UNTIL), ("why", "a <launch>")];
    let refused = browser.act("/budgets/raise", &typed).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    for part in [
        "action=\"/ui/budgets/raise\"",
        "value=\"many\"",
        "value=\"2026-11-22T00:00\"",
        "value=\"a &lt;launch&gt;\"",
        "href=\"/ui/money\"",
        "Back to the page",
        "at most 12 places",
    ] {
        assert!(refused.text.contains(part), "{part} in {}", refused.text);
    }
    // It can be sent again as it is, once what was wrong is put right.
    assert!(refused.text.contains(&format!("name=\"csrf\" value=\"{}\"", browser.csrf)));
    let stale = browser.act("/tenants/acme/budget", &[("budget", "daily"), ("amount", "77"), ("version", "0")]).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert!(
        stale.text.contains("value=\"77\"") && stale.text.contains("name=\"version\" value=\"1\""),
        "{}",
        stale.text
    );
    let secret = [("provider", "openai"), ("secret", "sk-0123456789abcdef")];
    let refused = browser.act("/tenants/acme/provider-keys", &secret).await;
    assert!(refused.status.is_client_error() && refused.text.contains("name=\"secret\""), "{}", refused.text);
    assert!(!refused.text.contains("sk-0123456789abcdef"), "{}", refused.text);
    let foreign = [("rule", "planted"), ("why", "planted"), ("csrf", "0")];
    let foreign = browser.send_from(&browser.url, "/alerts/silence", &foreign).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert!(!foreign.text.contains("planted"), "a form of another page is not shown: {}", foreign.text);
    let raise = [("budget", "daily"), ("tenant", "acme"), ("amount", "90"), ("until", UNTIL), ("why", "a launch")];
    let viewer = token(&server, "looks", "Vera", json!("viewer")).await;
    let viewer = Browser::sign_in(&server, &viewer).await;
    let forbidden = viewer.act("/budgets/raise", &raise).await;
    assert!(forbidden.status == StatusCode::FORBIDDEN && !forbidden.text.contains("action=\"/ui/budgets/raise\""));
    let missing = browser.get("/nothing").await;
    assert!(missing.status == StatusCode::NOT_FOUND && missing.text.contains("href=\"/ui/money\""), "{}", missing.text);
}

#[tokio::test]
async fn a_tenants_errors_bear_its_brand_and_name_no_other_page() {
    let server = busy("ui: {theme: {name: Acme AI}}\n").await;
    let own = token(&server, "acme-own", "Al", json!({"tenant": "acme"})).await;
    let browser = Browser::sign_in(&server, &own).await;
    let refused = browser.act("/own/keys", &[("id", "not a name!"), ("expires", "")]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text.contains("Acme AI") && refused.text.contains("value=\"not a name!\""), "{}", refused.text);
    assert!(!refused.text.contains("/ui/tenants"), "{}", refused.text);
    let refused = browser.get("/tenants/globex").await.text;
    assert!(refused.contains("To the first page") && !refused.contains("globex"), "{refused}");
}

#[tokio::test]
async fn a_shared_budget_is_raised_paused_and_resumed_on_its_page() {
    let family = "- {name: family, of: requests, amount: 10, period: day, shared: true, tenants: [acme, globex]}\n";
    let server = with_budgets(family).await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let budgets = browser.page("/budgets").await;
    assert!(budgets.contains("/ui/budgets/one?tenant=%23family&amp;budget=family"), "{budgets}");
    let page = browser.page("/budgets/one?tenant=%23family&budget=family").await;
    assert!(page.contains("The shared budget family") && page.contains("90.0 %"), "{page}");
    assert!(page.contains("name=\"tenant\" value=\"acme\""), "any of its tenants stands for it: {page}");
    let named = [("budget", "family"), ("tenant", "acme"), ("until", UNTIL)];
    let raise = [&named[..], &[("amount", "90"), ("why", "a launch")]].concat();
    let raised = browser.act("/budgets/raise", &raise).await;
    assert!(browser.page(raised.location().trim_start_matches("/ui")).await.contains("a launch"));
    let paused = browser.act("/budgets/pause", &[&named[..], &[("why", "a fire")]].concat()).await;
    let page = browser.page(paused.location().trim_start_matches("/ui")).await;
    let (_, in_force) = page.split_once("In force instead of the usual amount").expect("the pause");
    let in_force = in_force.split("<form").next().unwrap_or_default();
    assert!(page.contains("in place of the raise or pause") && in_force.contains("a fire"), "{page}");
    assert!(!in_force.contains("a launch"), "it is over: {in_force}");
    browser.act("/budgets/resume", &named[..2]).await;
    assert!(browser.page("/budgets/one?tenant=%23family&budget=family").await.contains("90.0 %"));
    assert_eq!(browser.get("/budgets/one?tenant=%23daily&budget=daily").await.status, StatusCode::NOT_FOUND);
    let budgets = server.json("/v1/budgets?tenant=%23family").await["budgets"].clone();
    let found: Vec<_> = budgets.as_array().expect("budgets").iter().map(|of| (&of["subject"], &of["budget"])).collect();
    assert_eq!(found, [(&json!("#family"), &json!("family"))], "itself, and no other one: {budgets}");
    let page = browser.page("/budgets?tenant=%23family").await;
    assert!(
        page.contains("/ui/budgets/one?tenant=%23family&amp;budget=family") && !page.contains("budget=daily"),
        "{page}"
    );
    assert_eq!(browser.get("/budgets?tenant=%23daily").await.status, StatusCode::NOT_FOUND, "it is not shared");
}

#[tokio::test]
async fn what_an_address_asks_and_no_page_knows_is_refused_with_what_it_may_ask() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    for (path, told) in [
        ("/money?by=zzz", "`by` is one of tenant, plan"),
        ("/money/margin.csv?by=zzz", "`by` is one of tenant, plan"),
        ("/money?month=2027-01", "`month` is a month that has begun"),
        ("/tenants?sort=zzz", "expected one of `name`"),
        ("/tenants?sort=cost&after=zzz", "how many came before"),
        ("/tenants/acme?by=zzz", "`by` is one of"),
        ("/tenants/acme/bill?at=zzz", "`at` is a month, a day or a moment"),
        ("/tenants/acme/bill?month=2026-10", "unknown field `month`"),
        ("/budgets?stage=zzz", "`stage` is one of ok, warn"),
        ("/requests?id=r&back=zzz", "`back` is one of day, week, all"),
        ("/billing?before=zzz", "before"),
        ("/money?by=tenant&by=model", "duplicate field `by`"),
        ("/overview?x=1", "unknown field `x`"),
        ("/gateways?x=1", "unknown field `x`"),
        ("/models?by=zzz", "unknown field `by`"),
        ("/requests?back=zzz", "`back` is one of day, week, all"),
        ("/billing/settled?x=1", "unknown field `x`"),
        ("/tenants/acme/bill?at=zzz", "2026-10-15T12:00:00Z, not"),
        ("/requests?from=2026-11-01", "2026-12-01T09:00:00Z"),
    ] {
        let refused = browser.get(path).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(refused.text.contains(told) && refused.text.contains("href=\"/ui/money\""), "{path}: {}", refused.text);
    }
    for path in ["/budgets?tenant=nobody", "/limits?tenant=nobody"] {
        let refused = browser.get(path).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{path}");
        assert!(refused.text.contains("there is no tenant &quot;nobody&quot;"), "{path}: {}", refused.text);
    }
}

#[tokio::test]
async fn earlier_months_and_billing_periods_have_their_pages() {
    let clock = ManualClock::at(noon());
    let server = busy_by(clock.clone(), "").await;
    let own = token(&server, "acme-own", "Al", json!({"tenant": "acme"})).await;
    clock.advance(Duration::from_secs(40 * 24 * 3_600));
    server.json("/v1/ledger").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let nine = "<data value=\"9\">9</data>";
    for (now, before) in [
        ("/money?by=feature", "/money?by=feature&month=2026-11"),
        ("/money", "/money?month=2026-11"),
        ("/tenants/acme?by=model", "/tenants/acme?by=model&month=2026-11"),
    ] {
        assert!(!browser.page(now).await.contains(nine), "{now}");
        let page = browser.page(before).await;
        assert!(page.contains(nine) && page.contains("2026-11"), "{before}: {page}");
    }
    let tenants = browser.page("/tenants?month=2026-11&q=acme").await;
    assert!(tenants.contains("href=\"/ui/tenants/acme?month=2026-11\""), "the links stay in the month: {tenants}");
    assert!(tenants.contains("Revenue in 2026-11") && tenants.contains("of all tenants"), "{tenants}");
    assert!(browser.get("/money/margin.csv?month=2026-11").await.text.contains("\"9\""));
    let bill = browser.page("/tenants/acme/bill?at=2026-11").await;
    assert!(bill.contains("<h1>Bill of acme</h1>") && bill.contains("2026-12-01T00:00:00.000Z"), "{bill}");
    assert!(browser.page("/tenants/acme/bill").await.contains("Bill of acme, so far"));
    let member = Browser::sign_in(&server, &own).await;
    let page = member.page("/own?at=2026-11").await;
    assert!(page.contains("in an earlier billing period") && page.contains(nine), "{page}");
    assert!(!member.page("/own").await.contains(nine));
    let csv = member.get("/own/features.csv?at=2026-11").await.text;
    assert!(csv.contains("\"search\",\"9\""), "{csv}");
    assert_eq!(member.get("/own/features.csv").await.text.lines().count(), 1);
    let csv = member.get("/own/usage.csv?at=2026-11").await.text;
    assert!(csv.contains("\"2026-11-21\",\"9\""), "{csv}");
    for words in ["Today (UTC)", "This billing period", "At its end"] {
        assert!(!page.contains(words), "{words} in {page}");
    }
}

#[tokio::test]
async fn a_month_whose_sums_by_model_are_gone_still_has_its_page() {
    let clock = ManualClock::at(noon());
    let server = busy_by(clock.clone(), "").await;
    let own = token(&server, "acme-own", "Al", json!({"tenant": "acme"})).await;
    clock.advance(Duration::from_secs(200 * 24 * 3_600));
    let late = Worker::new(5, weir_clock::Clock::now(&*clock));
    assert_eq!(server.post(batch(&[late.usage(1)])).await.status(), StatusCode::ACCEPTED);
    server.json("/v1/ledger").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let nine = "<data value=\"9\">9</data>";
    let page = browser.page("/tenants/acme?month=2026-11").await;
    assert!(page.contains("sums by model are kept since") && page.contains(nine), "{page}");
    let member = Browser::sign_in(&server, &own).await;
    let page = member.page("/own?at=2026-11").await;
    assert!(page.contains("Usage by feature and key is kept since") && page.contains(nine), "{page}");
    assert!(!page.contains("Nothing was used"), "{page}");
    assert!(!member.page("/own").await.contains("is kept since"));
}

#[tokio::test]
async fn what_was_reported_to_stripe_is_listed_with_the_requests_behind_it() {
    let world = World::start("month").await;
    world.server.post(batch(&[Worker::new(1, world.now).usage(1)])).await;
    world.clock.advance(Duration::from_secs(2 * 3_600));
    world.report().await;
    let browser = Browser::sign_in(&world.server, TOKEN).await;
    let reported = world.server.json("/v1/stripe").await["reported"].as_u64().expect("a count");
    assert_eq!(reported, 1);
    let page = browser.page("/billing").await;
    let (_, rows) = page.split_once("Reported rows, the latest first</caption>").expect("the table");
    let rows = rows.split("</table>").next().unwrap_or_default();
    assert_eq!(rows.matches("aria-label=\"Requests: row ").count() as u64, reported, "{rows}");
    let minute = |at: Timestamp| at.to_string().chars().take(16).collect::<String>();
    let earlier = minute(Timestamp::from_millis(world.now.as_millis() - 3 * 3_600_000));
    let later = minute(world.now.plus_millis(3_600_000));
    let before = format!("/billing?customer=cus_acme&to={earlier}");
    let none = [
        "/billing?before=1",
        "/billing?tenant=globex",
        "/billing?customer=cus_none",
        &before,
        "/billing?tenant=globex&customer=cus_acme",
    ];
    for page in none {
        assert!(browser.page(page).await.contains("was reported."), "{page}");
    }
    let within = format!("/billing?customer=cus_acme&from={earlier}&to={later}");
    let some = ["/billing?tenant=acme", &within];
    assert!(browser.page(some[1]).await.contains("What these rows add up to"));
    assert_eq!(browser.get("/billing?from=yesterday").await.status, StatusCode::BAD_REQUEST);
    for page in some {
        assert!(!browser.page(page).await.contains("was reported."), "{page}");
    }
}

#[tokio::test]
async fn the_requests_of_an_hour_are_found_though_they_came_late() {
    let clock = ManualClock::at(noon());
    let server = busy_by(clock.clone(), "").await;
    clock.advance(Duration::from_secs(5 * 3_600));
    let late = Worker { tenant: "globex", ..Worker::new(3, noon()) };
    assert_eq!(server.post(batch(&[late.usage(1)])).await.status(), StatusCode::ACCEPTED);
    server.json("/v1/ledger").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let hour = "from=2026-11-21T12:00:00.000Z&to=2026-11-21T13:00:00.000Z";
    let page = browser.page(&format!("/requests?tenant=globex&{hour}")).await;
    assert!(page.contains(&late.id(1).to_string()), "{page}");
}

#[tokio::test]
async fn a_fresh_installation_does_not_say_that_all_is_well() {
    let server = Running::start(noon(), "budgets:\n- {name: daily, of: requests, amount: 10, period: day}\n").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let overview = browser.page("/overview").await;
    assert!(overview.contains("No gateway was ever heard") && !overview.contains("Everything is as"), "{overview}");
    let budgets = browser.page("/budgets").await;
    assert!(budgets.contains("Budgets of the configuration") && budgets.contains("<td>daily</td>"), "{budgets}");
}

#[tokio::test]
async fn silences_stand_on_the_overview() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let silence = [("rule", "*"), ("until", UNTIL), ("why", "maintenance")];
    assert_eq!(browser.act("/alerts/silence", &silence).await.status, StatusCode::SEE_OTHER);
    let overview = browser.page("/overview").await;
    assert!(overview.contains("maintenance") && overview.contains("rules *"), "{overview}");
}
