//! The dashboard: each page shows what the API says, and what people do on it has the effect and the audit of the API.
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use weir_clock::ManualClock;
use weir_contract::directory::{KeyHash, Page, TenantState};

use super::browser::Browser;
use super::events::{Worker, batch, noon};
use super::holding::World;
use super::server::{Running, TOKEN};

const KEPT: &str = "tenants_database: true\n\
    budgets:\n- {name: daily, of: requests, amount: 10, period: day}\n\
    price_plans:\n- {name: seats, currency: USD, plans: [starter], base_fee: 30}\n";

/// The pages of operators.
pub(super) const PAGES: [&str; 16] = [
    "/overview",
    "/tenants",
    "/tenants?sort=margin",
    "/tenants?sort=cost&q=acme",
    "/tenants/acme",
    "/tenants/acme/bill",
    "/budgets",
    "/limits",
    "/money",
    "/money?by=feature",
    "/money/compare",
    "/money/crossover",
    "/billing",
    "/alerts",
    "/models",
    "/gateways",
];

/// A server with a tenant that has used something.
pub(super) async fn busy(more: &str) -> Running {
    busy_by(ManualClock::at(noon()), more).await
}

pub(super) async fn busy_by(clock: std::sync::Arc<ManualClock>, more: &str) -> Running {
    busy_in(tempfile::tempdir().expect("a directory"), clock, more).await
}

pub(super) async fn busy_in(dir: tempfile::TempDir, clock: std::sync::Arc<ManualClock>, more: &str) -> Running {
    filled(dir, clock, &format!("{KEPT}{more}")).await
}

/// The same with further budgets.
pub(super) async fn with_budgets(more: &str) -> Running {
    let settings = KEPT.replace("budgets:\n", &format!("budgets:\n{more}"));
    filled(tempfile::tempdir().expect("a directory"), ManualClock::at(noon()), &settings).await
}

async fn filled(dir: tempfile::TempDir, clock: std::sync::Arc<ManualClock>, settings: &str) -> Running {
    let server = Running::start_by(dir, clock, settings).await;
    for tenant in ["acme", "globex"] {
        let body = json!({"id": tenant, "plan": "starter"});
        let request = server.http.post(format!("{}/v1/tenants", server.url)).bearer_auth(TOKEN).json(&body);
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::CREATED);
    }
    let worker = Worker::new(1, noon());
    let usage = |number| {
        worker.usage_with(number, |data| {
            data.request_model = Some("gpt-4o-mini".into());
            data.response_model = Some("gpt-4o-mini".into());
            data.provider = Some("openai".into());
            data.feature = Some("search".into());
            data.user = Some("hmac:ada".into());
        })
    };
    let events: Vec<Vec<u8>> = (1..=9).map(usage).collect();
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
    server.json("/v1/ledger").await;
    server
}

/// A token with these scopes, of a person.
pub(super) async fn token(server: &Running, name: &str, person: &str, scope: serde_json::Value) -> String {
    let body = json!({"name": name, "person": person, "scopes": [scope]});
    let request = server.http.post(format!("{}/v1/tokens", server.url)).bearer_auth(TOKEN).json(&body);
    let made: serde_json::Value = request.send().await.expect("an answer").json().await.expect("JSON");
    made["token"].as_str().expect("told once").to_owned()
}

async fn directory(server: &Running) -> Page {
    server.get("/v1/directory").await.json().await.expect("a page")
}

#[tokio::test]
async fn every_page_shows_what_the_api_says() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    for path in PAGES.into_iter().chain(["/tokens", "/requests", "/requests?tenant=acme", "/money/review"]) {
        let page = browser.page(path).await;
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<h1>"), "{path}");
        assert_eq!(
            (page.contains("style="), page.contains("<script>"), page.contains("onclick")),
            (false, false, false)
        );
    }
    let overview = browser.page("/overview").await;
    assert!(overview.contains("every equation holds") && overview.contains("No number is missing"), "{overview}");
    assert!(browser.page("/gateways").await.contains("gw-1"));
    let tenant = browser.page("/tenants/acme").await;
    assert!(tenant.contains("gpt-4o-mini") && tenant.contains("daily") && tenant.contains("90.0 %"), "{tenant}");
    let margin = server.json("/v1/margin?tenant=acme").await;
    let cost = margin["rows"][0]["llm_cost"].as_str().expect("a cost");
    assert!(tenant.contains(&format!("value=\"{cost}\"")), "the exact cost {cost} is on the page");
    let id = Worker::new(1, noon()).id(1).to_string();
    let users = browser.page("/tenants/acme?by=user").await;
    assert!(users.contains("Lately by user") && users.contains("hmac:ada") && users.contains("Events received since"));
    let event = browser.page(&format!("/requests?event={id}")).await;
    assert!(event.contains("What it cost, line by line") && event.contains("search"), "{event}");
    assert!(browser.page("/requests?id=r").await.contains(&id));
    let bill = browser.page("/tenants/acme/bill").await;
    let (_, behind) = bill.split_once("/ui/requests?tenant=acme").expect("a bill leads to its requests");
    let query = behind.split('"').next().unwrap_or_default().replace("&amp;", "&");
    assert!(browser.page(&format!("/requests?tenant=acme{query}")).await.contains(&id), "{query}");
}

#[tokio::test]
async fn figures_of_all_tenants_say_of_when_they_are_and_are_read_again_while_somebody_looks() {
    let clock = ManualClock::at(noon());
    let server = busy_by(clock.clone(), "").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let requests = |count: u64| format!("<data value=\"{count}\"");
    let pages =
        ["/money", "/money?by=feature", "/tenants", "/models", "/budgets", "/money/review?week=2026-W47", "/limits"];
    for path in pages {
        assert!(browser.page(path).await.contains("Figures as of <time"), "{path}");
    }
    assert!(browser.page("/money").await.contains(&requests(9)));
    let tenants = browser.page("/tenants?sort=budget").await;
    assert!(tenants.contains("90.0 %") && tenants.contains(">degrade<"), "{tenants}");
    let tenth = Worker::new(1, noon()).usage(10);
    assert_eq!(server.post(batch(&[tenth])).await.status(), StatusCode::ACCEPTED);
    server.json("/v1/ledger").await;
    assert!(browser.page("/money").await.contains(&requests(9)), "what was read a moment ago is shown");
    let csv = browser.get("/money/margin.csv").await.text;
    assert!(csv.lines().any(|line| line.starts_with("\"acme\"") && line.contains("\"10\"")), "files are exact: {csv}");
    clock.advance(Duration::from_secs(31));
    let read_again = async {
        while !browser.page("/money").await.contains(&requests(10)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read_again).await.expect("it is read again");
    let metrics = server.get("/metrics").await.text().await.expect("text");
    let kept = metrics.lines().find_map(|line| line.strip_prefix("weir_ui_answers ")).expect("the metric");
    assert_eq!(kept, "7", "{metrics}");
}

#[tokio::test]
async fn a_question_without_a_beginning_is_of_a_month_and_says_since_when() {
    let server = busy("").await;
    for path in ["/v1/usage", "/v1/analysis?by=model", "/v1/cost", "/v1/cost/models", "/v1/usage?tenant=acme"] {
        let answer = server.get(path).await;
        let begins = answer.headers().get("weir-from").and_then(|at| at.to_str().ok()).map(str::to_owned);
        let (said, text) = (begins.unwrap_or_default(), answer.text().await.expect("text"));
        assert!(said.starts_with("2026-10-21T"), "{path}: {said}");
        assert!(text.contains("acme") || text.contains("gpt-4o-mini"), "{path}: {text}");
        let more = if path.contains('?') { "&" } else { "?" };
        let asked = server.get(&format!("{path}{more}from=2026-01-01T00:00:00Z")).await;
        let said = asked.headers().get("weir-from").and_then(|at| at.to_str().ok());
        assert_eq!(said, Some("2026-01-01T00:00:00.000Z"), "{path}");
        assert_eq!(asked.text().await.expect("text"), text, "{path}: there is nothing before");
    }
}

#[tokio::test]
async fn a_page_that_is_not_there_says_so() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    for path in ["/nothing", "/tenants/nobody", "/tenants/%2e%2e%2fetc", "/assets/passwd"] {
        let shown = browser.get(path).await;
        assert_eq!(shown.status, StatusCode::NOT_FOUND, "{path}");
        assert!(shown.text.contains("There is nothing here"), "{}", shown.text);
    }
    assert_eq!(browser.get("/requests?event=x").await.status, StatusCode::BAD_REQUEST);
    for asset in ["/assets/weir.css", "/assets/weir.js", "/assets/weir.svg"] {
        assert_eq!(Browser::fresh(&server).get(asset).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_key_made_on_the_page_reaches_gateways_and_a_revoked_one_leaves() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, &token(&server, "keys-of-ada", "Ada", json!("operator")).await).await;
    let made = browser.act("/tenants/acme/keys", &[("id", "main"), ("expires", "")]).await;
    let key = made.secret().to_owned();
    assert!(key.starts_with("sk_weir_"), "{}", made.text);
    let hashes = |page: Page| -> Vec<KeyHash> {
        let acme = page.tenants.into_iter().find(|tenant| tenant.id.as_str() == "acme").expect("acme");
        acme.keys.into_iter().map(|key| key.sha256).collect()
    };
    assert_eq!(hashes(directory(&server).await), [KeyHash::of(key.as_bytes())]);
    let page = browser.page("/tenants/acme").await;
    assert!(page.contains("main") && !page.contains(&key), "it is shown once");
    let rotated = browser.act("/tenants/acme/keys/main/rotate", &[]).await;
    assert!(hashes(directory(&server).await).contains(&KeyHash::of(rotated.secret().as_bytes())));
    let done = browser.act("/tenants/acme/keys/main/revoke", &[]).await;
    assert_eq!(done.location(), "/ui/tenants/acme?done=revoked");
    assert!(!hashes(directory(&server).await).contains(&KeyHash::of(key.as_bytes())));
    let history = server.json("/v1/tenants/acme/history").await.to_string();
    assert!(history.contains("Ada, with keys-of-ada"), "{history}");
}

#[tokio::test]
async fn a_tenant_is_suspended_and_let_in_on_its_page() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let state = async || {
        let page = directory(&server).await;
        page.tenants.into_iter().find(|tenant| tenant.id.as_str() == "acme").map(|tenant| tenant.state)
    };
    let suspend = [("state", "suspended"), ("version", "1")];
    assert_eq!(browser.act("/tenants/acme/state", &suspend).await.status, StatusCode::SEE_OTHER);
    assert_eq!(state().await, Some(TenantState::Suspended));
    let again = browser.act("/tenants/acme/state", &[("state", "active"), ("version", "1")]).await;
    assert_eq!(again.status, StatusCode::PRECONDITION_FAILED, "somebody changed it since");
    assert!(browser.page("/tenants/acme").await.contains("Let in"));
    browser.act("/tenants/acme/state", &[("state", "active"), ("version", "2")]).await;
    assert_eq!(state().await, Some(TenantState::Active));
}

#[tokio::test]
async fn a_held_row_that_is_settled_leaves_the_list_and_the_audit_names_the_person() {
    let world = World::with_late_rows(2).await;
    let token = token(&world.server, "finance", "Grace", json!("admin")).await;
    let browser = Browser::sign_in(&world.server, &token).await;
    assert!(browser.page("/billing").await.contains("href=\"/ui/billing/row?row=1\">Settle row 1</a>"));
    let row = browser.page("/billing/row?row=1").await;
    assert!(row.contains("<button>Settle row 1</button>") && row.contains("held"), "{row}");
    assert_eq!(browser.get("/billing/row?row=99").await.status, StatusCode::NOT_FOUND);
    let without = browser.act("/billing/settle", &[("row", "1"), ("as", "void"), ("why", " ")]).await;
    assert!(without.status.is_client_error() && without.text.contains("why"), "{}", without.text);
    assert_eq!(world.server.json("/v1/stripe").await["held"], 2, "nothing happens without a reason");
    let fields = [("row", "1"), ("as", "invoiced"), ("ref", "ii_7"), ("why", "billed in March")];
    let settled = browser.act("/billing/settle", &fields).await;
    assert_eq!(settled.location(), "/ui/billing?tenant=acme&done=settled", "{}", settled.text);
    let page = browser.page("/billing?done=settled").await;
    assert!(!page.contains("Settle row 1") && page.contains("Settle row 2") && page.contains("The row is settled"));
    assert!(page.contains("href=\"/ui/billing/settled\""), "the tile leads to them: {page}");
    for page in ["/billing/row?row=1", "/billing/settled", "/billing/settled?tenant=acme"] {
        let text = browser.page(page).await;
        for part in ["invoiced: billed by other means", "ii_7", "Grace, with finance", "billed in March"] {
            assert!(text.contains(part), "{page}: {part} in {text}");
        }
    }
    assert!(!browser.page("/billing/row?row=2").await.contains("How it was settled"));
    for page in ["/billing/settled?tenant=globex", "/billing/settled?before=1"] {
        assert!(browser.page(page).await.contains("was settled by hand."), "{page}");
    }
    for (page, is_there) in
        [("/billing?tenant=acme", true), ("/billing?tenant=globex", false), ("/billing?after=2", false)]
    {
        assert_eq!(browser.page(page).await.contains("Settle row 2"), is_there, "{page}");
    }
    let audit = world.server.json("/v1/audit").await.to_string();
    assert!(audit.contains("Grace, with finance") && audit.contains("billed in March"), "{audit}");
}

#[tokio::test]
async fn a_budget_is_raised_and_resumed_on_the_page_with_a_reason() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let raise = [
        ("budget", "daily"),
        ("tenant", "acme"),
        ("amount", "100"),
        ("until", "2026-11-22T00:00"),
        ("why", "a launch"),
    ];
    let one = "/budgets/one?tenant=acme&budget=daily";
    let raised = browser.act("/budgets/raise", &raise).await;
    assert_eq!(raised.location(), format!("/ui{one}&done=raised"));
    let page = browser.page(one).await;
    assert!(
        page.contains("a launch")
            && page.contains("9.0 %")
            && page.contains("Use the usual amount of daily of acme again"),
        "{page}"
    );
    let wrong =
        [("budget", "daily"), ("tenant", "acme"), ("amount", "many"), ("until", "2026-11-22T00:00"), ("why", "x")];
    assert_eq!(browser.act("/budgets/raise", &wrong).await.status, StatusCode::BAD_REQUEST);
    browser.act("/budgets/resume", &[("budget", "daily"), ("tenant", "acme")]).await;
    assert!(browser.page("/budgets?tenant=acme").await.contains("90.0 %"));
    assert!(server.json("/v1/audit").await.to_string().contains("budgets.raise"));
}

#[tokio::test]
async fn a_tenant_gets_an_amount_of_its_own_of_a_budget_and_gives_it_back_on_its_page() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, &token(&server, "ops", "Ada", json!("operator")).await).await;
    let amount = async || server.json("/v1/budgets?tenant=acme").await["budgets"][0]["amount"].clone();
    let waited = async |wanted: &str| {
        while amount().await != wanted {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let set = [("budget", "daily"), ("amount", "30"), ("version", "1")];
    assert_eq!(browser.act("/tenants/acme/budget", &set).await.location(), "/ui/tenants/acme?done=changed");
    tokio::time::timeout(Duration::from_secs(20), waited("30")).await.expect("it counts");
    assert!(browser.page("/tenants/acme").await.contains("daily: 30"));
    let own = token(&server, "acme-own", "Al", json!({"tenant": "acme"})).await;
    let asked = reqwest::Client::new().get(format!("{}/v1/tenants/acme", server.url)).bearer_auth(&own).send().await;
    let entry = asked.expect("an answer").text().await.expect("text");
    assert!(entry.contains("acme") && !entry.contains("daily"), "what it costs is the operator's: {entry}");
    assert_eq!(browser.act("/tenants/acme/budget", &set).await.status, StatusCode::PRECONDITION_FAILED, "seen before");
    for (budget, amount) in [("weekly", "30"), ("daily", "many"), ("daily", "-1"), ("daily", "0"), ("daily", "0.5")] {
        let wrong = [("budget", budget), ("amount", amount), ("version", "2")];
        assert_eq!(browser.act("/tenants/acme/budget", &wrong).await.status, StatusCode::BAD_REQUEST, "{wrong:?}");
    }
    let back = [("budget", "daily"), ("amount", ""), ("version", "2")];
    assert_eq!(browser.act("/tenants/acme/budget", &back).await.status, StatusCode::SEE_OTHER);
    tokio::time::timeout(Duration::from_secs(20), waited("10")).await.expect("the usual amount counts again");
    assert!(server.json("/v1/tenants/acme/history").await.to_string().contains("Ada, with ops"));
    assert!(!browser.page("/tenants/acme").await.contains("has no effect"));
    let other = with_budgets("- {name: elsewhere, of: requests, amount: 10, period: day, plans: [enterprise]}\n").await;
    let browser = Browser::sign_in(&other, TOKEN).await;
    let set = [("budget", "elsewhere"), ("amount", "30"), ("version", "1")];
    assert_eq!(browser.act("/tenants/acme/budget", &set).await.status, StatusCode::SEE_OTHER);
    let page = browser.page("/tenants/acme").await;
    assert!(page.contains("its own amount of &quot;elsewhere&quot; has no effect"), "{page}");
}

#[tokio::test]
async fn alerts_are_silenced_and_tokens_made_on_their_pages() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let fields = [("rule", "margin-*"), ("subject", ""), ("until", "2026-11-22T00:00"), ("why", "maintenance")];
    assert_eq!(browser.act("/alerts/silence", &fields).await.location(), "/ui/alerts?done=silenced");
    assert!(browser.page("/alerts").await.contains("maintenance"));
    browser.act("/alerts/unsilence", &[("id", "1")]).await;
    assert!(browser.page("/alerts").await.contains("Nothing is silenced"));
    let missing = browser.act("/alerts/ack", &[("rule", "none"), ("why", "seen")]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND, "no such alert fires");
    let made = browser.act("/tokens", &[("name", "grafana"), ("scopes", "metrics, viewer"), ("person", "")]).await;
    let secret = made.secret().to_owned();
    assert!(secret.starts_with("sk_weir_api_"));
    let last = async || {
        let tokens = server.json("/v1/tokens").await;
        let of = tokens.as_array().and_then(|tokens| tokens.iter().find(|token| token["name"] == "grafana").cloned());
        of.expect("the token")["last_used"].clone()
    };
    assert_eq!(last().await, json!(null), "nobody has used it");
    let asked = server.http.get(format!("{}/v1/usage", server.url)).bearer_auth(&secret).send().await;
    assert_eq!(asked.expect("an answer").status(), StatusCode::OK);
    assert_eq!(last().await, json!("2026-11-21T12:30:00.000Z"));
    assert!(browser.page("/tokens").await.contains("Last used"));
    assert_eq!(Browser::fresh(&server).try_token(&secret).await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.act("/tokens/revoke", &[("name", "grafana")]).await.location(), "/ui/tokens?done=revoked");
    assert_eq!(Browser::fresh(&server).try_token(&secret).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn long_lists_of_tokens_and_silences_are_shown_part_by_part() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    for number in 0..60 {
        token(&server, &format!("made-{number:02}"), "Ada", json!("viewer")).await;
        let of = format!("subject-{number:02}");
        let fields = [("rule", "margin-*"), ("subject", &of), ("until", "2026-11-22T00:00"), ("why", "maintenance")];
        assert_eq!(browser.act("/alerts/silence", &fields).await.status, StatusCode::SEE_OTHER);
    }
    for (page, name) in [("/tokens", "made-"), ("/alerts", "subject-")] {
        let (mut path, mut seen) = (page.to_owned(), Vec::new());
        loop {
            let shown = browser.page(&path).await;
            seen.extend((0..60).filter(|number| shown.contains(&format!("{name}{number:02}"))));
            let Some((before, _)) = shown.split_once("\" rel=\"next\"") else { break };
            let (_, next) = before.rsplit_once("href=\"/ui").expect("a link");
            path = next.replace("&amp;", "&");
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..60).collect::<Vec<_>>(), "{page}: each in one part");
    }
}

#[tokio::test]
async fn a_tenant_sees_its_own_usage_budgets_bill_and_keys() {
    let server = busy("").await;
    let own = token(&server, "acme-own", "Alan", json!({"tenant": "acme"})).await;
    let browser = Browser::sign_in(&server, &own).await;
    let page = browser.page("/own").await;
    assert!(page.contains("Usage of acme") && page.contains("90.0 %") && page.contains("search"), "{page}");
    assert!(page.contains("base fee"), "its bill: {page}");
    let csv = browser.get("/own/usage.csv").await;
    assert_eq!(
        csv.text,
        "\"day\",\"requests\",\"input_tokens\",\"output_tokens\"\r\n\"2026-11-21\",\"9\",\"90\",\"45\"\r\n"
    );
    assert_eq!(csv.headers["content-disposition"], "attachment; filename=\"usage-acme-2026-11-01.csv\"");
    let made = browser.act("/own/keys", &[("id", "mine")]).await;
    assert!(made.secret().starts_with("sk_weir_"));
    assert_eq!(browser.act("/own/keys/mine/revoke", &[]).await.location(), "/ui/own?done=revoked");
    assert!(server.json("/v1/tenants/acme/history").await.to_string().contains("Alan, with acme-own"));
}

#[tokio::test]
async fn own_keys_at_providers_are_stored_and_removed_on_the_tenants_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let kek = dir.path().join("kek");
    std::fs::write(&kek, "07".repeat(32)).expect("written");
    std::fs::set_permissions(&kek, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let server = busy_in(dir, ManualClock::at(noon()), "vault: {key: {file: kek}}\n").await;
    let operator = Browser::sign_in(&server, &token(&server, "ops", "Ada", json!("operator")).await).await;
    let secret = "sk-own-0123456789abcdefghij";
    assert!(operator.page("/tenants/acme").await.contains("no key of its own"));
    let stored = [("provider", "openai"), ("secret", secret)];
    assert_eq!(operator.act("/tenants/acme/provider-keys", &stored).await.location(), "/ui/tenants/acme?done=stored");
    let page = operator.page("/tenants/acme?done=stored").await;
    assert!(page.contains("…ghij") && page.contains("Ada, with ops") && !page.contains(secret), "{page}");
    let wrong = operator.act("/tenants/acme/provider-keys", &[("provider", "openai"), ("secret", "short")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let viewer = Browser::sign_in(&server, &token(&server, "fin", "Bob", json!("viewer")).await).await;
    assert!(viewer.page("/tenants/acme").await.contains("…ghij"));
    assert_eq!(viewer.act("/tenants/acme/provider-keys/openai/remove", &[]).await.status, StatusCode::FORBIDDEN);
    let removed = operator.act("/tenants/acme/provider-keys/openai/remove", &[]).await;
    assert_eq!(removed.location(), "/ui/tenants/acme?done=removed");
    assert!(!operator.page("/tenants/acme").await.contains("…ghij"));
    let history = server.json("/v1/tenants/acme/history").await.to_string();
    assert!(
        history.contains("provider key") && history.contains("Ada, with ops") && !history.contains(secret),
        "{history}"
    );
}

#[tokio::test]
async fn own_gpus_are_compared_with_the_api() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    assert!(browser.page("/money/crossover").await.contains("Price of a GPU per hour"));
    let asked = "hour=2.50&tokens_per_second=1000";
    let page = browser.page(&format!("/money/crossover?{asked}")).await;
    assert!(page.contains("Points of both curves") && page.contains("/ui/money/crossover.svg?hour=2.50"), "{page}");
    let api = server.json(&format!("/v1/crossover?{asked}")).await;
    let own = api["months"][0]["own_cost"].as_str().expect("a cost");
    assert!(page.contains(own), "the exact cost {own} is on the page");
    let drawing = browser.get(&format!("/money/crossover.svg?{asked}")).await;
    assert_eq!(drawing.headers["content-type"], "image/svg+xml");
    assert!(drawing.text.starts_with("<svg"), "{}", drawing.text);
    assert_eq!(browser.get("/money/crossover?hour=1&tokens_per_second=many").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn live_figures_come_while_the_session_lasts() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let mut response = browser.open("/live").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let first = tokio::time::timeout(Duration::from_secs(20), response.chunk()).await.expect("in time");
    let text = String::from_utf8_lossy(&first.expect("an answer").expect("figures")).into_owned();
    assert!(text.starts_with("data: {") && text.contains("\"accepted\":\"9\""), "{text}");
    assert_eq!(browser.act("/sign-out", &[]).await.location(), "/ui/sign-in");
    let rest = async { while response.chunk().await.is_ok_and(|piece| piece.is_some()) {} };
    tokio::time::timeout(Duration::from_secs(20), rest).await.expect("the stream ends with the session");
}

#[tokio::test]
async fn the_dashboard_can_be_left_out() {
    let server = busy("ui: {enabled: false}\n").await;
    let shown = Browser::fresh(&server).get("/sign-in").await;
    assert_eq!(
        (shown.status, shown.headers["content-type"].to_str().ok()),
        (StatusCode::NOT_FOUND, Some("application/json"))
    );
}
