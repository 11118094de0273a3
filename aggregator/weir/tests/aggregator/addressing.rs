//! Tenants set their own addresses for alerts: nothing goes to one before its code was entered, and its link ends the messages.
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::browser::Browser;
use super::events::{Worker, batch, noon};
use super::server::Running;
use super::viewing::{busy, token};
use super::watching::Script;

/// A server whose tenants may set addresses, and the mail server that takes their messages.
async fn start() -> (Running, Script) {
    let mut mail = Script::start("mail");
    let port = mail.next();
    let settings = format!(
        "alerts: {{without: [unpriced-usage], tenant_mail: {{server: 'smtp+plain://127.0.0.1:{port}', from: 'Acme AI <alerts@example.com>', \
         url: 'https://weir.example.com'}}}}\n"
    );
    (busy(&settings).await, mail)
}

/// The code in a message.
fn code(message: &Value) -> String {
    let text = message["text"].as_str().expect("text");
    let (_, rest) = text.split_once("Code: ").expect("a code");
    rest.split_whitespace().next().unwrap_or_default().to_owned()
}

async fn member(server: &Running, tenant: &str) -> Browser {
    let own = token(server, &format!("{tenant}-own"), "Alan", json!({"tenant": tenant})).await;
    Browser::sign_in(server, &own).await
}

async fn addresses(server: &Running, tenant: &str) -> Value {
    server.json(&format!("/v1/tenants/{tenant}/alert-addresses")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_adds_an_address_on_its_page_and_proves_it_by_the_code_that_is_mailed() {
    let (server, mut mail) = start().await;
    let browser = member(&server, "acme").await;
    assert!(browser.page("/own").await.contains("Nobody is told of your budgets"));
    let added = browser.act("/own/alert-addresses", &[("email", "ann@example.com")]).await;
    assert_eq!(added.location(), "/ui/own?done=code_sent", "{}", added.text);
    let message = mail.next();
    assert_eq!((&message["to"], &message["from"]), (&json!(["ann@example.com"]), &json!("alerts@example.com")));
    let page = browser.page("/own").await;
    assert!(page.contains("waits for its code") && !page.contains(&code(&message)), "{page}");
    let id = addresses(&server, "acme").await[0]["id"].to_string();
    let wrong = browser.act(&format!("/own/alert-addresses/{id}/prove"), &[("code", "00000-00000")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{}", wrong.text);
    let proven = browser.act(&format!("/own/alert-addresses/{id}/prove"), &[("code", &code(&message))]).await;
    assert_eq!(proven.location(), "/ui/own?done=proven", "{}", proven.text);
    assert!(browser.page("/own").await.contains("is told"));
    let history = server.json("/v1/tenants/acme/history").await.to_string();
    assert!(history.contains("alert address prove") && history.contains("Alan, with acme-own"), "{history}");
    assert!(!history.contains("ann@example.com"), "what stays for ever names nobody: {history}");
    let removed = browser.act(&format!("/own/alert-addresses/{id}/remove"), &[]).await;
    assert_eq!(removed.location(), "/ui/own?done=address_removed");
    assert_eq!(addresses(&server, "acme").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_sees_or_changes_addresses_of_another() {
    let (server, mut mail) = start().await;
    let (acme, globex) = (member(&server, "acme").await, member(&server, "globex").await);
    acme.act("/own/alert-addresses", &[("email", "ann@example.com")]).await;
    let sent = code(&mail.next());
    let id = addresses(&server, "acme").await[0]["id"].to_string();
    for (act, fields) in [("prove", vec![("code", sent.as_str())]), ("remove", Vec::new())] {
        let refused = globex.act(&format!("/own/alert-addresses/{id}/{act}"), &fields).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{act}");
    }
    assert!(!globex.page("/own").await.contains("ann@example.com"));
    let own = token(&server, "globex-api", "Eve", json!({"tenant": "globex"})).await;
    let url = format!("{}/v1/tenants/acme/alert-addresses", server.url);
    let body = json!({"email": "eve@example.com"});
    let posted = server.http.post(&url).bearer_auth(&own).json(&body).send().await.expect("an answer");
    let listed = server.http.get(&url).bearer_auth(&own).send().await.expect("an answer");
    assert_eq!((posted.status(), listed.status()), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
    let removed = server.http.delete(format!("{url}/{id}")).bearer_auth(&own).send().await.expect("an answer");
    assert_eq!(removed.status(), StatusCode::FORBIDDEN);
    assert_eq!(addresses(&server, "acme").await[0]["proven"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_cannot_be_sent_is_told_and_can_be_had_again() {
    let (server, mut mail) = start().await;
    let browser = member(&server, "acme").await;
    let refused = browser.act("/own/alert-addresses", &[("email", "refuse@example.com")]).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY, "{}", refused.text);
    assert!(refused.text.contains("could not be sent") && !refused.text.contains("127.0.0.1"), "{}", refused.text);
    for text in ["ann", "Ann <ann@example.com>", "ann@example.com, bob@example.com"] {
        let refused = browser.act("/own/alert-addresses", &[("email", text)]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{text}: {}", refused.text);
    }
    for _ in 0..2 {
        let sent = browser.act("/own/alert-addresses", &[("email", "ann@example.com")]).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text);
    }
    let (first, second) = (code(&mail.next()), code(&mail.next()));
    let id = addresses(&server, "acme").await[1]["id"].to_string();
    let old = browser.act(&format!("/own/alert-addresses/{id}/prove"), &[("code", &first)]).await;
    assert_eq!(old.status, StatusCode::BAD_REQUEST, "only the last code is good");
    let new = browser.act(&format!("/own/alert-addresses/{id}/prove"), &[("code", &second)]).await;
    assert_eq!(new.status, StatusCode::SEE_OTHER, "{}", new.text);
}

#[tokio::test]
async fn without_a_mail_server_no_tenant_is_offered_an_address() {
    let server = busy("").await;
    let browser = member(&server, "acme").await;
    assert!(!browser.page("/own").await.contains("Addresses for alerts"));
    let refused = browser.act("/own/alert-addresses", &[("email", "ann@example.com")]).await;
    assert!(refused.status.is_client_error() && refused.text.contains("tenant_mail"), "{}", refused.text);
}

#[tokio::test]
async fn a_link_that_ends_messages_asks_first_and_takes_no_session() {
    let server = busy("").await;
    let fresh = Browser::fresh(&server);
    let asked = fresh.page("/alert-address/stop?token=none").await;
    assert!(asked.contains("End messages about budgets?") && asked.contains("method=\"post\""), "{asked}");
    let done = fresh.send_from("https://mail.example.com", "/alert-address/stop?token=none", &[]).await;
    assert_eq!(done.status, StatusCode::OK, "a mail program posts from nowhere: {}", done.text);
    assert!(done.text.contains("Nothing was removed") && done.text.contains("the link is not whole"), "{}", done.text);
}

/// Proves ann@example.com for acme, takes the tenant to the end of its daily budget, and returns what is said of that. What happened shortly
/// before may be told first.
async fn told(server: &Running, mail: &mut Script) -> Value {
    let browser = member(server, "acme").await;
    browser.act("/own/alert-addresses", &[("email", "ann@example.com")]).await;
    let sent = code(&mail.next());
    let id = addresses(server, "acme").await[0]["id"].to_string();
    let proven = browser.act(&format!("/own/alert-addresses/{id}/prove"), &[("code", &sent)]).await;
    assert_eq!(proven.status, StatusCode::SEE_OTHER, "{}", proven.text);
    let tenth = Worker::new(1, noon()).usage(10);
    assert_eq!(server.post(batch(&[tenth])).await.status(), StatusCode::ACCEPTED);
    loop {
        let message = mail.next();
        if message["text"].as_str().is_some_and(|text| text.contains("exceeded")) {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_address_hears_of_its_tenants_budgets_and_a_link_in_the_message_ends_that() {
    let (server, mut mail) = start().await;
    let message = told(&server, &mut mail).await;
    assert_eq!(message["to"], json!(["ann@example.com"]), "{message}");
    let text = message["text"].as_str().expect("text");
    assert!(text.contains("daily") && text.contains("exceeded"), "{text}");
    for internal in ["weir budgets", "Owner", "What to do", "globex"] {
        assert!(!text.contains(internal), "{internal}: {text}");
    }
    let (_, link) = text.split_once("https://weir.example.com/ui").expect("a link");
    let link = link.trim();
    assert_eq!(message["stop"], json!(format!("<https://weir.example.com/ui{link}>")), "{message}");
    let fresh = Browser::fresh(&server);
    assert!(fresh.page(link).await.contains("End messages about budgets?"));
    assert_eq!(addresses(&server, "acme").await.as_array().map(Vec::len), Some(1), "looking ends nothing");
    let done = fresh.send_from("https://mail.example.com", link, &[("List-Unsubscribe", "One-Click")]).await;
    assert!(done.text.contains("The address is removed"), "{}", done.text);
    assert_eq!(addresses(&server, "acme").await, json!([]));
    let history = server.json("/v1/tenants/acme/history").await.to_string();
    assert!(history.contains("alert address stop"), "{history}");
}
