//! Tenants that the real weir serve keeps in its database, at the real Envoy: a change is in force within a second.
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::load::{Call, Client};

use crate::edge::{Edge, Setup};

const TOKEN: &str = "a-token-of-these-tests-0123456789";
/// The longest time until a change is in force on every worker.
const IN_FORCE_MAX: Duration = Duration::from_secs(1);

struct Stack {
    aggregator: Aggregator,
    edge: Edge,
}

impl Stack {
    fn start() -> Self {
        let scopes = json!(["ingest", "directory", "operator"]);
        let config = json!({
            "tenants_database": true,
            "tokens": [{"name": "all", "scopes": scopes, "env": "WEIR_TEST_TOKEN"}],
        });
        let aggregator = Aggregator::start(&config, &[], &[("WEIR_TEST_TOKEN", TOKEN)]).expect("weir serve");
        let filter = json!({
            "version": 1,
            "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
            "directory": {"cluster": "tenants", "token": TOKEN},
            "plans": {"starter": {}},
        });
        let edge = Setup { clusters: vec![("tenants", aggregator.address())], ..Setup::workers(2) }.start(&filter);
        Stack { aggregator, edge }
    }

    async fn change(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.aggregator.url()));
        let answer = request.bearer_auth(TOKEN).json(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("JSON")
    }

    async fn key(&self) -> String {
        let key = self.change(Method::POST, "/v1/tenants/acme/keys", &json!({})).await;
        key["key"].as_str().expect("told once").to_owned()
    }

    /// Sends requests over new connections until many in a row, and so both workers, answer `status`; returns how long it took.
    async fn until(&self, key: &str, status: u16, max: Duration) -> Duration {
        let (begun, client, mut in_a_row, mut since) = (clock::instant(), Client::new(), 0, Duration::ZERO);
        while in_a_row < 20 {
            let call = Call::get(format!("{}/v1/models", self.edge.envoy.url()));
            let found = client.send(call.header("authorization", &format!("Bearer {key}"))).await.status;
            if found == status {
                since = if in_a_row == 0 { begun.elapsed() } else { since };
                in_a_row += 1;
            } else {
                in_a_row = 0;
            }
            assert!(
                begun.elapsed() < max + Duration::from_secs(5),
                "{found} instead of {status}: {}",
                self.edge.envoy.log()
            );
        }
        assert!(since < max, "{status} after {since:?}");
        since
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_a_suspension_and_a_revocation_are_in_force_within_a_second() {
    let mut stack = Stack::start();
    stack.change(Method::POST, "/v1/tenants", &json!({"id": "acme", "plan": "starter"})).await;
    let first = stack.key().await;
    // Envoy's workers fetch the first state when they have started.
    stack.until(&first, 200, Duration::from_secs(10)).await;
    let second = stack.key().await;
    stack.until(&second, 200, IN_FORCE_MAX).await;
    stack.change(Method::PATCH, "/v1/tenants/acme", &json!({"state": "suspended"})).await;
    let took = stack.until(&first, 403, IN_FORCE_MAX).await;
    println!("a suspension is in force after {took:?}");
    stack.change(Method::PATCH, "/v1/tenants/acme", &json!({"state": "active"})).await;
    stack.until(&first, 200, IN_FORCE_MAX).await;
    stack.change(Method::DELETE, "/v1/tenants/acme/keys/key-1", &json!({})).await;
    stack.until(&first, 401, IN_FORCE_MAX).await;
    assert_eq!(stack.edge.metric("weir_directory.result.failed"), 0);

    // Without the server everything stays in force; it comes back with what it knew.
    stack.aggregator.kill().expect("killed");
    stack.until(&second, 200, Duration::from_secs(1)).await;
    stack.aggregator.restart().expect("started again");
    tokio::time::sleep(Duration::from_secs(12)).await;
    stack.change(Method::PATCH, "/v1/tenants/acme", &json!({"state": "suspended"})).await;
    stack.until(&second, 403, IN_FORCE_MAX).await;
}

/// Somebody who is signed in to the dashboard.
struct Person {
    http: reqwest::Client,
    ui: String,
    cookie: String,
}

impl Person {
    async fn sign_in(stack: &Stack) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let mut person = Person { http, ui: format!("{}/ui", stack.aggregator.url()), cookie: String::new() };
        let answer = person.send("/sign-in", &[("token", TOKEN)]).await;
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        cookie.split(';').next().unwrap_or_default().clone_into(&mut person.cookie);
        person
    }

    async fn send(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.ui)).form(fields).header("cookie", &self.cookie);
        request.header("origin", self.ui.trim_end_matches("/ui")).send().await.expect("an answer")
    }

    /// Sends a form of the tenant's page, with what the page gave it.
    async fn act(&self, path: &str) -> String {
        let request = self.http.get(format!("{}/tenants/acme", self.ui)).header("cookie", &self.cookie);
        let page = request.send().await.expect("an answer").text().await.expect("a page");
        let given = |name: &str| -> String {
            let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).expect("a form");
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let (csrf, once) = (given("csrf"), given("once"));
        let answer = self.send(path, &[("csrf", &csrf), ("once", &once)]).await;
        assert!(answer.status().is_success() || answer.status().is_redirection(), "{path}: {}", answer.status());
        answer.text().await.expect("a page")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_person_makes_on_the_dashboard_works_at_the_gateway_until_it_is_revoked_there() {
    let stack = Stack::start();
    stack.change(Method::POST, "/v1/tenants", &json!({"id": "acme", "plan": "starter"})).await;
    let person = Person::sign_in(&stack).await;
    let made = person.act("/tenants/acme/keys").await;
    let (_, rest) = made.split_once("id=\"secret\" data-copy>").expect("the key, this once");
    let key = rest.split('<').next().unwrap_or_default();
    stack.until(key, 200, Duration::from_secs(10)).await;
    person.act("/tenants/acme/keys/key-1/revoke").await;
    stack.until(key, 401, IN_FORCE_MAX).await;
}
