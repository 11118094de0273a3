//! Who comes in, where that leads, and what is kept for those who have to sign in first.
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use weir_clock::ManualClock;

use super::browser::Browser;
use super::events::noon;
use super::server::{Running, TOKEN};
use super::viewing::{busy, busy_by, token};

async fn change(server: &Running, tenant: &str, state: &str) {
    let request = server.http.patch(format!("{}/v1/tenants/{tenant}", server.url)).bearer_auth(TOKEN);
    let changed = request.json(&json!({ "state": state })).send().await.expect("an answer");
    assert_eq!(changed.status(), StatusCode::OK, "{state}");
}

#[tokio::test]
async fn what_an_archived_tenant_has_opens_nothing_until_it_is_let_in_again() {
    let server = busy("").await;
    let own = token(&server, "acme-own", "Al", json!({"tenant": "acme"})).await;
    let browser = Browser::sign_in(&server, &own).await;
    let call = async |method: Method, path: &str| {
        let request = server.http.request(method, format!("{}{path}", server.url)).bearer_auth(&own);
        request.send().await.expect("an answer")
    };
    assert_eq!(call(Method::GET, "/v1/tenants/acme").await.status(), StatusCode::OK);
    change(&server, "acme", "archived").await;
    for path in ["/own", "/own/usage.csv", "/own/bill.csv"] {
        assert!(browser.get(path).await.asks_to_sign_in(), "{path}");
    }
    assert!(browser.act("/own/keys", &[("id", "mine")]).await.asks_to_sign_in());
    let again = Browser::fresh(&server).try_token(&own).await;
    assert!(again.status == StatusCode::UNAUTHORIZED && again.text.contains("archived"), "{}", again.text);
    for (method, path) in [
        (Method::GET, "/v1/tenants/acme"),
        (Method::GET, "/v1/tenants/acme/keys"),
        (Method::POST, "/v1/tenants/acme/keys"),
        (Method::GET, "/v1/usage?tenant=acme"),
    ] {
        let refused = call(method, path).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
        assert!(refused.text().await.expect("text").contains("acme is archived"), "{path}");
    }
    assert_eq!(server.json("/v1/tenants/acme/keys").await, json!([]), "no key was made");
    change(&server, "acme", "active").await;
    assert!(Browser::sign_in(&server, &own).await.page("/own").await.contains("Usage of acme"));
}

#[tokio::test]
async fn a_suspended_tenant_reads_that_it_is_suspended() {
    let server = busy("").await;
    let own = token(&server, "acme-own", "Al", json!({"tenant": "acme"})).await;
    let browser = Browser::sign_in(&server, &own).await;
    assert!(!browser.page("/own").await.contains("You are suspended"));
    change(&server, "acme", "suspended").await;
    assert!(browser.page("/own").await.contains("You are suspended"));
    let tenants = Browser::sign_in(&server, TOKEN).await.page("/tenants").await;
    assert_eq!(tenants.matches("<span class=\"status warn\">suspended</span>").count(), 1, "{tenants}");
    let made = browser.act("/own/keys", &[("id", "mine")]).await;
    assert!(made.text.contains("as long as the tenant is suspended"), "{}", made.text);
}

#[tokio::test]
async fn signing_in_leads_to_the_page_that_was_wanted_and_to_no_other_site() {
    let server = busy("").await;
    let stranger = Browser::fresh(&server);
    let asked = stranger.get("/tenants/acme?by=feature").await;
    assert_eq!(asked.location(), "/ui/sign-in?to=%2Fui%2Ftenants%2Facme%3Fby%3Dfeature");
    let page = stranger.get(asked.location().trim_start_matches("/ui")).await;
    assert!(page.text.contains("name=\"to\" value=\"/ui/tenants/acme?by=feature\""), "{}", page.text);
    let lead = async |token: &str, to: &str| {
        let sent = stranger.send_from(&stranger.url, "/sign-in", &[("token", token), ("to", to)]).await;
        sent.location().to_owned()
    };
    assert_eq!(lead(TOKEN, "/ui/tenants/acme?by=feature").await, "/ui/tenants/acme?by=feature");
    for evil in
        ["https://evil.example", "//evil.example", "/ui//evil.example", "/ui/../evil", "/ui/\\evil", "/v1/status"]
    {
        assert_eq!(lead(TOKEN, evil).await, "/ui", "{evil}");
        let page = stranger.get(&format!("/sign-in?to={evil}")).await.text;
        assert!(!page.contains("evil") && !page.contains("/v1/status"), "{page}");
    }
    for acts in [
        "/ui/link?token=x",
        "/ui/sign-out",
        "/ui/live",
        "/ui/limits/live",
        "/ui/alert-address/stop?token=x",
        "/ui/money/margin.csv",
    ] {
        assert_eq!(lead(TOKEN, acts).await, "/ui", "{acts}");
    }
    let own = token(&server, "acme-own", "Al", json!({"tenant": "acme"})).await;
    assert_eq!(lead(&own, "/ui/tenants/acme").await, "/ui", "a page that is not theirs");
    assert_eq!(lead(&own, "/ui/own?at=2026-10").await, "/ui/own?at=2026-10");
    let refused = stranger.send_from(&stranger.url, "/sign-in", &[("token", "wrong"), ("to", "/ui/money")]).await;
    assert!(refused.text.contains("value=\"/ui/money\""), "a second try leads there as well: {}", refused.text);
    assert_eq!(stranger.get("/live").await.location(), "/ui/sign-in", "no page");
}

#[tokio::test]
async fn a_form_whose_session_has_ended_says_so_and_leads_back_to_its_page() {
    let clock = ManualClock::at(noon());
    let server = busy_by(clock.clone(), "").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    clock.advance(Duration::from_secs(2 * 3_600));
    let late = browser.act("/tenants/acme/state", &[("state", "suspended"), ("version", "1")]).await;
    assert_eq!(late.location(), "/ui/sign-in?to=%2Fui%2Ftenants%2Facme&ended=1");
    let told = browser.get(late.location().trim_start_matches("/ui")).await.text;
    assert!(told.contains("nothing was done") && told.contains("value=\"/ui/tenants/acme\""), "{told}");
    assert_eq!(server.json("/v1/tenants/acme").await["state"], "active");
}

#[tokio::test]
async fn the_address_of_the_server_leads_a_browser_to_the_pages() {
    let server = busy("").await;
    let browser = Browser::fresh(&server);
    assert_eq!(browser.get("/").await.location(), "/ui");
    let root = |accept: &'static str| {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        http.get(format!("{}/", server.url)).header("accept", accept).send()
    };
    let led = root("text/html,*/*").await.expect("an answer");
    assert_eq!((led.status(), led.headers()["location"].to_str().expect("text")), (StatusCode::SEE_OTHER, "/ui"));
    assert_eq!(root("*/*").await.expect("an answer").status(), StatusCode::NOT_FOUND, "programs mean the API");
}

#[tokio::test]
async fn one_token_leaves_live_places_to_others() {
    let server = busy("").await;
    let finance = token(&server, "finance", "Ada", json!("viewer")).await;
    let mut taken = Vec::new();
    let mut refused = 0;
    for _ in 0..5 {
        let browser = Browser::sign_in(&server, &finance).await;
        for _ in 0..4 {
            let stream = browser.open("/live").await;
            match stream.status() {
                StatusCode::OK => taken.push(stream),
                other => {
                    assert_eq!(other, StatusCode::SERVICE_UNAVAILABLE);
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((taken.len(), refused), (16, 4));
    let admin = Browser::sign_in(&server, TOKEN).await;
    assert_eq!(admin.open("/live").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn names_that_weir_has_itself_or_that_deceive_readers_are_refused() {
    let server = busy("").await;
    let make = async |name: &str, person: &str| {
        let body = json!({"name": name, "person": person, "scopes": ["admin"]});
        let request = server.http.post(format!("{}/v1/tokens", server.url)).bearer_auth(TOKEN).json(&body);
        request.send().await.expect("an answer").status()
    };
    for name in
        ["weir", " Weir", "w\u{435}ir", "weir\u{200b}", "zero\u{200b}x", "ad\u{202e}a", "a\u{7}", "  ", "a\u{2066}b"]
    {
        assert_eq!(make(name, "Ada").await, StatusCode::BAD_REQUEST, "{name:?}");
        assert_eq!(make("good", name).await, StatusCode::BAD_REQUEST, "{name:?}");
    }
    assert_eq!(make("weirdo", "Ada").await, StatusCode::CREATED);
}
