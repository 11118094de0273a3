//! People sign in to the dashboard without a token: by OpenID Connect at a real identity provider, and by links that a backend signs.
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use weir_clock::{Clock, ManualClock};

use super::browser::{Browser, Shown};
use super::events::noon;
use super::server::{Running, TOKEN};
use super::viewing::{busy_by, token};

const LINK_KEY: &str = "a-key-for-links-of-thirty-two-bytes-or-more";
const SITE: &str = "https://app.example.com";

#[tokio::test]
async fn people_sign_in_at_an_identity_provider_and_are_what_its_claims_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/openid");
    assert!(folder.is_dir(), "the identity provider is missing: run `make setup`");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aggregator/openid.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(folder.canonicalize().expect("a folder")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = node.kill_on_drop(true).spawn().expect("node runs");
    let mut lines = BufReader::new(node.stdout.take().expect("piped")).lines();
    let issuer = lines.next_line().await.expect("read").expect("the issuer");
    let url = lines.next_line().await.expect("read").expect("the address that browsers use");
    let settings = format!(
        "tenants_database: true\nui:\n  openid:\n    issuer: {issuer}\n    client_id: weir\n    client_secret: {{file: client}}\n    url: {url}\n    \
         ask: [email, groups]\n    roles:\n    - {{claim: groups, value: platform, scope: admin}}\n    \
         - {{claim: email, value: '*@example.com', scope: viewer}}\n    - {{claim: groups, value: acme, scope: {{tenant: acme}}}}\n"
    );
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("client"), "a-secret-of-the-client-that-is-long").expect("written");
    let server = Running::start_by(dir, ManualClock::at(noon()), &settings).await;
    make_acme(&server).await;
    let page = Browser::fresh(&server).page("/sign-in").await;
    assert!(page.contains("href=\"/ui/openid\""), "{page}");
    let mut stdin = node.stdin.take().expect("piped");
    let port = server.url.rsplit(':').next().expect("a port");
    stdin.write_all(format!("{port}\n").as_bytes()).await.expect("written");
    let seen = lines.next_line().await.expect("read").expect("what people saw");
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    let is = |who: &str, name: &str, role: &str| {
        let found = (&seen[who]["who"], &seen[who]["role"], &seen[who]["moves"]);
        let who = format!("{name}, with OpenID Connect");
        assert_eq!(found, (&json!(who), &json!(role), &json!(true)), "{seen}");
    };
    is("ada", "ada@example.com", "admin");
    is("bob", "bob@example.com", "viewer");
    is("alan", "alan@acme.example", "tenant");
    let refused = |who: &str, why: &str| {
        assert_eq!(seen[who]["status"], 403, "{who}: {seen}");
        assert!(seen[who]["told"].as_str().is_some_and(|told| told.contains(why)), "{who}: {seen}");
    };
    refused("eve", "no rule");
    refused("mallory", "email");
    refused("nobody", "not today");
    refused("planted", "did not begin in this browser");
    refused("withoutCookie", "did not begin in this browser");
    refused("nonce", "not valid");
    refused("otherIssuer", "another issuer");
    refused("again", "invalid_grant");
    refused("verifier", "invalid_grant");
    let audit = server.json("/v1/audit").await.to_string();
    assert!(audit.contains("ada@example.com, with OpenID Connect") && !audit.contains("eve@"), "{audit}");
    assert!(node.wait().await.expect("ended").success());
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_told_and_tokens_still_sign_in() {
    // Nothing listens there any more.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let settings = format!(
        "ui: {{openid: {{issuer: 'http://{closed}', client_id: weir, url: 'http://127.0.0.1:8090', \
         roles: [{{claim: groups, value: x, scope: viewer}}]}}}}\n"
    );
    let server = busy_by(ManualClock::at(noon()), &settings).await;
    let shown = Browser::fresh(&server).get("/openid").await;
    assert_eq!(shown.status, StatusCode::BAD_GATEWAY);
    assert!(shown.text.contains("sign in with a token"), "{}", shown.text);
    Browser::sign_in(&server, TOKEN).await;
}

/// The link that a backend signs, as any library for JSON Web Tokens does.
fn link(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(LINK_KEY.as_bytes()).expect("any length");
    mac.update(signed.as_bytes());
    format!("/link?token={signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

async fn with_links(clock: std::sync::Arc<ManualClock>, more: &str) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("links"), LINK_KEY).expect("written");
    std::fs::write(dir.path().join("logo.svg"), "<svg xmlns=\"http://www.w3.org/2000/svg\"/>").expect("written");
    let settings = format!(
        "tenants_database: true\nui:\n  links: {{key: {{file: links}}{more}\n  theme: {{name: Acme AI, logo: logo.svg, color: '#7a1f5c'}}\n"
    );
    let server = Running::start_by(dir, clock, &settings).await;
    make_acme(&server).await;
    server
}

async fn make_acme(server: &Running) {
    let body = json!({"id": "acme", "plan": "starter"});
    let request = server.http.post(format!("{}/v1/tenants", server.url)).bearer_auth(TOKEN).json(&body);
    assert_eq!(request.send().await.expect("an answer").status(), StatusCode::CREATED);
}

/// The first cookie that an answer sets, as a browser keeps it.
fn kept(shown: &Shown) -> String {
    shown.set_cookie().split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_signed_link_opens_the_page_of_its_tenant_once() {
    let clock = ManualClock::at(noon());
    let server = with_links(clock.clone(), "}").await;
    let browser = Browser::fresh(&server);
    let now = clock.now().as_millis() / 1_000;
    let good = link(&json!({"sub": "acme", "exp": now + 300, "jti": "1", "name": "Alan", "iat": now}));
    let shown = browser.get(&good).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    let signed_in = browser.with_cookie(&kept(&shown));
    let own = signed_in.page("/own").await;
    assert!(own.contains("Usage of acme") && own.contains("Alan, with a signed link"), "{own}");
    assert!(own.contains("/ui/assets/logo") && own.contains("alt=\"Acme AI\"") && own.contains("/ui/assets/theme.css"));
    assert_eq!(signed_in.get("/overview").await.status, StatusCode::FORBIDDEN);
    assert!(browser.get("/assets/theme.css").await.text.contains("--accent: #7a1f5c;"));
    assert_eq!(browser.get("/assets/logo").await.headers["content-type"], "image/svg+xml");
    // It opens once, and what it began ends after an hour.
    assert!(browser.get(&good).await.text.contains("has been used"));
    clock.advance(std::time::Duration::from_secs(3_600));
    assert!(signed_in.get("/own").await.asks_to_sign_in());
    let staff = Browser::sign_in(&server, &token(&server, "ops", "Ada", json!("viewer")).await).await;
    assert!(!staff.page("/overview").await.contains("/ui/assets/logo"), "operators see weir");
    assert!(server.json("/v1/audit").await.to_string().contains("Alan, with a signed link"));
}

#[tokio::test]
async fn a_link_neither_ends_nor_takes_over_the_session_of_somebody_else() {
    let clock = ManualClock::at(noon());
    let server = with_links(clock.clone(), "}").await;
    let exp = clock.now().as_millis() / 1_000 + 300;
    let good = link(&json!({"sub": "acme", "exp": exp, "jti": "1"}));
    let ops = Browser::sign_in(&server, &token(&server, "ops", "Ada", json!("viewer")).await).await;
    let shown = ops.get(&good).await;
    assert_eq!((shown.status, shown.set_cookie()), (StatusCode::FORBIDDEN, ""), "{}", shown.text);
    assert!(shown.text.contains("is signed in here: sign out first"), "{}", shown.text);
    ops.page("/overview").await;
    let own = Browser::sign_in(&server, &token(&server, "own", "Al", json!({"tenant": "acme"})).await).await;
    assert_eq!(own.get(&good).await.status, StatusCode::OK, "the same tenant's, and not used up before");
}

#[tokio::test]
async fn a_link_that_is_forged_over_or_lasts_too_long_opens_nothing() {
    let clock = ManualClock::at(noon());
    let server = with_links(clock.clone(), "}").await;
    let browser = Browser::fresh(&server);
    let now = clock.now().as_millis() / 1_000;
    let good = json!({"sub": "acme", "exp": now + 300, "jti": "1"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        link(&claims)
    };
    for (path, why) in [
        (format!("{}x", link(&good)), "not valid"),
        (link(&good).replace("token=", "token=x"), "not valid"),
        (with("exp", json!(now)), "expired"),
        (with("exp", json!(now + 3_600)), "five minutes"),
        (with("exp", json!("soon")), "claims"),
        (with("jti", json!("")), "claims"),
        (with("sub", json!("no tenant!")), "claims"),
        (with("name", json!("a\nb")), "claims"),
    ] {
        let shown = browser.get(&path).await;
        assert_eq!((shown.status, shown.set_cookie()), (StatusCode::FORBIDDEN, ""), "{path}");
        assert!(shown.text.contains(why), "{path}: {}", shown.text);
    }
    let nobody = link(&json!({"sub": "nobody", "exp": now + 300, "jti": "2"}));
    assert_eq!(browser.get(&nobody).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get(&link(&good)).await.status, StatusCode::OK, "what was refused used nothing up");
}

#[tokio::test]
async fn tenants_pages_stand_in_frames_of_named_sites_and_no_other_page_does() {
    let clock = ManualClock::at(noon());
    let server = with_links(clock.clone(), &format!(", frames: ['{SITE}']}}\n  https: true")).await;
    let browser = Browser::fresh(&server);
    let exp = clock.now().as_millis() / 1_000 + 60;
    let shown = browser.get(&link(&json!({"sub": "acme", "exp": exp, "jti": "1"}))).await;
    assert!(shown.set_cookie().starts_with("__Host-weir_frame="), "{}", shown.set_cookie());
    assert!(shown.set_cookie().ends_with("; Path=/; HttpOnly; SameSite=None; Secure; Partitioned"));
    let framed = browser.with_cookie(&kept(&shown));
    for (path, may) in [("/own", true), ("/own/usage.csv", true), ("/overview", false), ("/sign-in", false)] {
        let shown = framed.get(path).await;
        let policy = shown.headers["content-security-policy"].to_str().expect("text");
        assert_eq!(policy.contains(&format!("frame-ancestors {SITE}")), may, "{path}: {policy}");
        assert_eq!(policy.contains("frame-ancestors 'none'"), !may, "{path}: {policy}");
        assert_eq!(shown.headers.contains_key("x-frame-options"), !may, "{path}");
    }
    let own = framed.page("/own").await;
    assert!(own.contains("Usage of acme"));

    // No page to sign in stands in a frame: one whose session is over says so.
    let framed = framed.in_frame().at(&own);
    let is_over = |shown: &Shown| {
        let policy = shown.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains(&format!("frame-ancestors {SITE}")), "{policy}");
        assert_eq!((shown.status, shown.location()), (StatusCode::UNAUTHORIZED, ""));
        assert!(shown.text.contains("Load the page around this one again"), "{}", shown.text);
    };
    let fields = [("csrf", framed.csrf.as_str()), ("once", "1")];
    let out = framed.send_from(&framed.url.replace("http:", "https:"), "/sign-out", &fields).await;
    is_over(&out);
    assert!(out.set_cookie().contains("Max-Age=0"), "{}", out.set_cookie());
    is_over(&framed.get("/own").await);
    assert!(framed.with_cookie("").get("/overview").await.asks_to_sign_in(), "no operator's page stands in a frame");
}
