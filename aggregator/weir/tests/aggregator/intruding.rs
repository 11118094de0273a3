//! Attacks on the dashboard, each by its name, and each refused.
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use weir_clock::ManualClock;

use super::browser::Browser;
use super::events::{Worker, batch, noon};
use super::server::TOKEN;
use super::viewing::{PAGES, busy, busy_by, token};

/// Text that a browser would run if a page did not escape it.
const SCRIPT: &str = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>";
/// What changes something, with a body that would be good.
const ACTS: [(&str, &[(&str, &str)]); 17] = [
    ("/tenants/acme/keys", &[("id", "stolen")]),
    ("/tenants/acme/keys/main/rotate", &[]),
    ("/tenants/acme/keys/main/revoke", &[]),
    ("/tenants/acme/state", &[("state", "suspended"), ("version", "1")]),
    ("/tenants/acme/budget", &[("budget", "daily"), ("amount", "1000"), ("version", "1")]),
    (
        "/budgets/raise",
        &[("budget", "daily"), ("tenant", "acme"), ("amount", "99"), ("until", "2026-11-22T00:00"), ("why", "x")],
    ),
    ("/budgets/pause", &[("budget", "daily"), ("tenant", "acme"), ("until", "2026-11-22T00:00"), ("why", "x")]),
    ("/budgets/resume", &[("budget", "daily"), ("tenant", "acme")]),
    ("/billing/settle", &[("row", "1"), ("as", "void"), ("why", "x")]),
    ("/tenants/acme/provider-keys", &[("provider", "openai"), ("secret", "sk-0123456789abcdef")]),
    ("/tenants/acme/provider-keys/openai/remove", &[]),
    ("/alerts/ack", &[("rule", "x"), ("subject", ""), ("why", "x")]),
    ("/alerts/unsilence", &[("id", "1")]),
    ("/alerts/test", &[("receiver", "x")]),
    ("/alerts/silence", &[("rule", "*"), ("until", "2026-11-22T00:00"), ("why", "x")]),
    ("/tokens", &[("name", "mine"), ("scopes", "admin")]),
    ("/tokens/revoke", &[("name", "finance")]),
];

#[tokio::test]
async fn nobody_sees_a_page_without_a_session() {
    let server = busy("").await;
    let mut stranger = Browser::fresh(&server);
    for cookie in ["", "weir_session=", "weir_session=0000", "other=1"] {
        cookie.clone_into(&mut stranger.cookie);
        for path in PAGES.into_iter().chain([
            "",
            "/own",
            "/live",
            "/limits/live",
            "/tokens",
            "/requests",
            "/own/usage.csv",
            "/own/bill.csv",
            "/money/margin.csv",
        ]) {
            let shown = stranger.get(path).await;
            assert!(shown.asks_to_sign_in(), "{path}: {}", shown.location());
            assert!(shown.text.is_empty());
        }
    }
    // A token of the API is no session, and a session no token.
    let browser = Browser::sign_in(&server, TOKEN).await;
    let name = browser.cookie.trim_start_matches("weir_session=");
    let api = server.http.get(format!("{}/v1/usage", server.url)).bearer_auth(name).send().await.expect("an answer");
    assert_eq!(api.status(), StatusCode::UNAUTHORIZED);
    let page =
        server.http.get(format!("{}/ui/overview", server.url)).bearer_auth(TOKEN).send().await.expect("an answer");
    assert!(page.url().path().ends_with("/sign-in"));
}

#[tokio::test]
async fn another_tenants_pages_are_refused_to_a_tenant_whatever_the_address() {
    let server = busy("").await;
    let own = token(&server, "globex-own", "Eve", json!({"tenant": "globex"})).await;
    let browser = Browser::sign_in(&server, &own).await;
    let more = [
        "/tokens",
        "/requests?tenant=acme",
        "/live",
        "/limits/live?tenant=globex",
        "/money/margin.csv",
        "/tenants/globex",
    ];
    for path in PAGES.into_iter().chain(more) {
        let shown = browser.get(path).await;
        assert_eq!(shown.status, StatusCode::FORBIDDEN, "{path}");
        assert!(!shown.text.contains("acme") && !shown.text.contains("gpt-4o-mini"), "{}", shown.text);
    }
    for (path, fields) in ACTS {
        assert_eq!(browser.act(path, fields).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(browser.get("/own?tenant=acme").await.status, StatusCode::BAD_REQUEST, "it asks for what there is not");
    let own = browser.page("/own?done=acme").await;
    assert!(own.contains("Usage of globex") && !own.contains("acme") && !own.contains("search"), "{own}");
    for file in ["usage", "features", "keys"] {
        let asked = browser.get(&format!("/own/{file}.csv?tenant=acme")).await;
        assert_eq!(asked.status, StatusCode::BAD_REQUEST, "{file}");
        let text = browser.get(&format!("/own/{file}.csv")).await.text;
        assert_eq!(text.lines().count(), 1, "{file}: headings alone");
    }
    // Ids of another tenant's keys lead nowhere.
    let staff = Browser::sign_in(&server, TOKEN).await;
    staff.act("/tenants/acme/keys", &[("id", "main")]).await;
    for path in ["/own/keys/main/revoke", "/own/keys/main/rotate", "/own/keys/..%2F..%2Facme%2Fkeys%2Fmain/revoke"] {
        assert_eq!(browser.act(path, &[("id", "main"), ("tenant", "acme")]).await.status, StatusCode::NOT_FOUND);
    }
    assert!(server.json("/v1/tenants/acme/keys").await[0]["revoked_at"].is_null());
}

#[tokio::test]
async fn a_role_does_not_do_what_a_higher_one_may() {
    let server = busy("").await;
    let finance = token(&server, "finance", "Ada", json!("viewer")).await;
    let viewer = Browser::sign_in(&server, &finance).await;
    for path in PAGES {
        let page = viewer.page(path).await;
        assert!(!page.contains("<form class=\"act\""), "{path} offers what would be refused");
    }
    assert_eq!(viewer.get("/tokens").await.status, StatusCode::FORBIDDEN);
    for (path, fields) in ACTS {
        assert_eq!(viewer.act(path, fields).await.status, StatusCode::FORBIDDEN, "{path}");
        let empty = viewer.act(path, &[]).await;
        assert_eq!(empty.status, StatusCode::FORBIDDEN, "{path}: what is in a form matters to those alone who may act");
        assert!(!empty.text.contains("<form class=\"act\""), "{path} offers again what was refused");
    }
    let operator = Browser::sign_in(&server, &token(&server, "ops", "Bob", json!("operator")).await).await;
    let is_daily = |path: &str| path != "/alerts/test" && (path.starts_with("/tenants") || path.starts_with("/alerts"));
    for (path, fields) in ACTS.into_iter().filter(|(path, _)| !is_daily(path)) {
        assert_eq!(operator.act(path, fields).await.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(operator.act(path, &[]).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    for scope in ["ingest", "directory", "metrics", "readings"] {
        let made = token(&server, scope, "Machine", json!(scope)).await;
        assert_eq!(Browser::fresh(&server).try_token(&made).await.status, StatusCode::UNAUTHORIZED, "{scope}");
    }
}

#[tokio::test]
async fn a_stolen_cookie_does_not_work_beside_another_and_dies_with_its_session() {
    let server = busy("").await;
    let admin = Browser::sign_in(&server, TOKEN).await;
    let viewer = Browser::sign_in(&server, &token(&server, "finance", "Ada", json!("viewer")).await).await;
    let both = viewer.with_cookie(&format!("{}; {}", viewer.cookie, admin.cookie));
    assert!(both.get("/overview").await.asks_to_sign_in(), "two cookies of one name count as none");
    // The cookie of an admin with the form of a viewer does nothing.
    let mixed = viewer.with_cookie(&admin.cookie);
    assert_eq!(mixed.act("/tenants/acme/keys", &[("id", "x")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.act("/sign-out", &[]).await.location(), "/ui/sign-in");
    assert!(admin.get("/overview").await.asks_to_sign_in());
    assert_eq!(viewer.get("/overview").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_form_of_another_site_or_without_the_sessions_token_does_nothing() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let host = browser.url.trim_start_matches("http://").to_owned();
    for (path, fields) in ACTS.into_iter().chain([("/sign-out", &[][..])]) {
        let with: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", browser.csrf.as_str())]).collect();
        for origin in
            ["https://evil.example", "null", "", &format!("http://{host}.evil.example"), &format!("http://evil@{host}")]
        {
            let shown = browser.send_from(origin, path, &with).await;
            assert_eq!(shown.status, StatusCode::FORBIDDEN, "{path} from {origin:?}");
        }
        for csrf in ["", "0", &browser.csrf[1..], &format!("{}0", browser.csrf)] {
            let with: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", csrf)]).collect();
            assert_eq!(browser.send_from(&browser.url, path, &with).await.status, StatusCode::FORBIDDEN, "{path}");
        }
        // What changes something is no page: an image or a link cannot do it.
        if path != "/tokens" {
            assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
    let evil = Browser::fresh(&server).send_from("https://evil.example", "/sign-in", &[("token", TOKEN)]).await;
    assert_eq!((evil.status, evil.set_cookie()), (StatusCode::FORBIDDEN, ""), "nor does it sign anybody in");
    assert_eq!(server.json("/v1/tenants/acme").await["version"], 1, "nothing has changed");
    assert_eq!(browser.get("/overview").await.status, StatusCode::OK, "the session lasts");
}

#[tokio::test]
async fn an_address_from_elsewhere_does_not_say_that_something_was_done() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let opened = async |path: &str, from: &str| {
        let request = server.http.get(format!("{}/ui{path}", server.url)).header("cookie", &browser.cookie);
        request.header("sec-fetch-site", from).send().await.expect("an answer")
    };
    let own = opened("/billing?done=settled", "same-origin").await.text().await.expect("text");
    assert!(own.contains("The row is settled."), "{own}");
    for from in ["cross-site", "same-site", "none"] {
        let led = opened("/billing?tenant=acme&done=settled", from).await;
        assert_eq!(led.url().query(), Some("tenant=acme"), "{from}");
        assert!(!led.text().await.expect("text").contains("The row is settled."), "{from}");
    }
}

#[tokio::test]
async fn a_session_never_has_a_name_that_somebody_planted() {
    let server = busy("").await;
    let planted = "weir_session=1111111111111111111111111111111111111111111111111111111111111111";
    let victim = Browser::fresh(&server).with_cookie(planted);
    let shown = victim.try_token(TOKEN).await;
    assert!(!shown.set_cookie().starts_with(planted) && shown.set_cookie().starts_with("weir_session="));
    assert!(victim.get("/overview").await.asks_to_sign_in(), "the planted name leads nowhere");
    // Signing in again rotates the name, and ends the session that the browser had.
    let before = Browser::sign_in(&server, TOKEN).await;
    let again = before.try_token(TOKEN).await;
    assert!(!again.set_cookie().starts_with(&before.cookie));
    assert!(before.get("/overview").await.asks_to_sign_in());
    let attributes = again.set_cookie().split_once(';').map(|(_, rest)| rest.trim().to_owned());
    assert_eq!(attributes.as_deref(), Some("Path=/ui; HttpOnly; SameSite=Lax"));
}

#[tokio::test]
async fn where_browsers_come_by_https_no_page_without_it_and_no_other_host_has_a_say() {
    let server = busy("ui: {https: true}\n").await;
    let stranger = Browser::fresh(&server);
    let plain = stranger.try_token(TOKEN).await;
    assert_eq!((plain.status, plain.set_cookie()), (StatusCode::FORBIDDEN, ""), "the form's page came without TLS");
    let origin = server.url.replace("http://", "https://");
    let shown = stranger.send_from(&origin, "/sign-in", &[("token", TOKEN)]).await;
    assert!(shown.set_cookie().starts_with("__Host-weir_session="), "{}", shown.set_cookie());
    assert!(shown.set_cookie().ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{}", shown.set_cookie());
    let cookie = shown.set_cookie().split(';').next().unwrap_or_default();
    assert_eq!(stranger.with_cookie(cookie).get("/overview").await.status, StatusCode::OK);
    // Another host of the domain can plant a cookie without the prefix: it names no session.
    let planted = cookie.trim_start_matches("__Host-");
    assert!(stranger.with_cookie(planted).get("/overview").await.asks_to_sign_in());
}

#[tokio::test]
async fn guessing_tokens_ends_after_ten_attempts_in_a_minute() {
    let clock = ManualClock::at(noon());
    let server = busy_by(clock.clone(), "").await;
    let guesser = Browser::fresh(&server);
    for attempt in 0..10 {
        assert_eq!(guesser.try_token(&format!("guess-{attempt}")).await.status, StatusCode::UNAUTHORIZED);
    }
    let limited = guesser.try_token(TOKEN).await;
    assert_eq!((limited.status, limited.set_cookie()), (StatusCode::TOO_MANY_REQUESTS, ""), "not even a good one");
    clock.advance(Duration::from_secs(60));
    assert_eq!(guesser.try_token(TOKEN).await.status, StatusCode::SEE_OTHER);
    let metrics = server.get("/metrics").await.text().await.expect("text");
    for line in [
        "weir_ui_sign_ins_total{outcome=\"refused\"} 10",
        "weir_ui_sign_ins_total{outcome=\"limited\"} 1",
        "weir_ui_sessions 1",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn a_revoked_token_and_an_idle_browser_lose_their_sessions() {
    let clock = ManualClock::at(noon());
    let server = busy_by(clock.clone(), "").await;
    let ada = Browser::sign_in(&server, &token(&server, "finance", "Ada", json!("viewer")).await).await;
    let admin = Browser::sign_in(&server, TOKEN).await;
    assert_eq!(admin.act("/tokens/revoke", &[("name", "finance")]).await.status, StatusCode::SEE_OTHER);
    assert!(ada.get("/overview").await.asks_to_sign_in(), "revoked");
    clock.advance(Duration::from_secs(2 * 3_600));
    assert!(admin.get("/overview").await.asks_to_sign_in(), "idle");
}

#[tokio::test]
async fn script_in_names_models_features_and_reasons_is_text() {
    let server = busy("").await;
    let worker = Worker::new(2, noon());
    let hostile = worker.usage_with(1, |data| {
        data.request_model = Some(SCRIPT.into());
        data.response_model = Some(SCRIPT.into());
        data.feature = Some(SCRIPT.into());
        data.request_id = SCRIPT.into();
        data.provider = Some(SCRIPT.into());
    });
    assert_eq!(server.post(batch(&[hostile])).await.status(), StatusCode::ACCEPTED);
    server.json("/v1/ledger").await;
    token(&server, SCRIPT, SCRIPT, json!("admin")).await;
    let admin = Browser::sign_in(&server, TOKEN).await;
    let raise = [("budget", "daily"), ("tenant", "acme"), ("until", "2026-11-22T00:00"), ("why", SCRIPT)];
    assert_eq!(admin.act("/budgets/pause", &raise).await.status, StatusCode::SEE_OTHER);
    let silence = [("rule", "*"), ("subject", SCRIPT), ("until", "2026-11-22T00:00"), ("why", SCRIPT)];
    assert_eq!(admin.act("/alerts/silence", &silence).await.status, StatusCode::SEE_OTHER);
    let encoded = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%3E";
    let event = format!("/requests?event={}", worker.id(1));
    let asked = [
        event,
        format!("/requests?model={encoded}&feature={encoded}"),
        format!("/tenants?q={encoded}"),
        format!("/tenants/{encoded}"),
        format!("/budgets?tenant={encoded}&done={encoded}"),
        format!("/money/review?week={encoded}"),
        format!("/limits?pool={encoded}"),
        "/money?by=model".to_owned(),
        "/tenants/acme?by=feature".to_owned(),
        "/tokens".to_owned(),
        "/requests".to_owned(),
    ];
    let mut shown = Vec::new();
    for path in PAGES.iter().map(|path| (*path).to_owned()).chain(asked.clone()) {
        let page = admin.whole(&path).await.text;
        assert!(!page.contains("<script>") && !page.contains("<img"), "{path}: {page}");
        if page.contains("&lt;script&gt;") {
            shown.push(path);
        }
    }
    // Pages that have no such text prove nothing: these have it.
    let must = [
        "/budgets",
        "/alerts",
        "/models",
        "/money?by=feature",
        "/money?by=model",
        "/tenants/acme?by=feature",
        "/tokens",
    ];
    for path in must.into_iter().chain(asked[..3].iter().map(String::as_str)) {
        assert!(shown.iter().any(|page| page == path), "{path} does not show the hostile text; these do: {shown:?}");
    }
}

#[tokio::test]
async fn a_form_that_is_sent_twice_is_acted_on_once() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let page = browser.page("/tenants/acme").await;
    let (_, rest) = page.split_once("name=\"once\" value=\"").expect("a form has a name of its own");
    let once = rest.split('"').next().expect("a value");
    assert_eq!(once.len(), 64);
    assert!(
        browser.page("/tenants/acme").await.contains("name=\"once\"")
            && !browser.page("/tenants/acme").await.contains(once)
    );
    let sent =
        tokio::join!(browser.send("/tenants/acme/keys", &[], once), browser.send("/tenants/acme/keys", &[], once));
    let mut statuses = [sent.0.status, sent.1.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::CONFLICT], "a click too many makes no second key");
    assert_eq!(server.json("/v1/tenants/acme/keys").await.as_array().map(Vec::len), Some(1));
    let other = browser.send("/tenants/acme/keys", &[("id", "other")], once).await;
    assert_eq!(other.status, StatusCode::OK, "another form of the page");
}

#[tokio::test]
async fn formulas_in_names_reach_a_spreadsheet_as_text() {
    let server = busy("").await;
    let formula = "=HYPERLINK(\"http://evil.example\",\"open\")";
    let worker = Worker::new(2, noon());
    let hostile = worker.usage_with(1, |data| data.feature = Some(formula.into()));
    server.post(batch(&[hostile])).await;
    server.json("/v1/ledger").await;
    let admin = Browser::sign_in(&server, TOKEN).await;
    let csv = admin.get("/money/margin.csv?by=feature").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let line = csv.text.lines().find(|line| line.contains("HYPERLINK")).expect("the feature");
    assert!(line.starts_with("\"'=HYPERLINK(\"\"http"), "{line}");
    assert!(
        csv.text.lines().all(|line| !line.starts_with('=') && !line.contains(",=") && !line.contains("\"=")),
        "{}",
        csv.text
    );
}

#[tokio::test]
async fn no_page_stands_in_a_frame_or_loads_or_runs_anything_of_others() {
    let server = busy("").await;
    let admin = Browser::sign_in(&server, TOKEN).await;
    let stranger = Browser::fresh(&server);
    let answers = [
        admin.get("/overview").await,
        admin.get("/nothing").await,
        admin.get("/money/margin.csv").await,
        admin.act("/billing/settle", &[]).await,
        stranger.get("/sign-in").await,
        stranger.get("/overview").await,
        stranger.try_token("wrong").await,
    ];
    for shown in answers {
        let header = |name: &str| shown.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "script-src 'self'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'));
        assert_eq!((header("x-frame-options"), header("x-content-type-options")), ("DENY", "nosniff"));
        assert_eq!((header("cache-control"), header("referrer-policy")), ("no-store", "same-origin"));
    }
}

#[tokio::test]
async fn a_form_that_is_too_large_is_not_read() {
    let server = busy("").await;
    let admin = Browser::sign_in(&server, TOKEN).await;
    let long = "x".repeat(70_000);
    let shown = admin.act("/alerts/silence", &[("rule", "*"), ("why", &long)]).await;
    assert!(shown.status.is_client_error() && !shown.text.contains("xxxx"), "{}", shown.status);
}
