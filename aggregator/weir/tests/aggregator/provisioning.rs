//! Tenants come whole or not at all, in one call, whatever fails and whenever the server is killed; and they go as they came.
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::routing::{any, post};
use reqwest::Response;
use serde_json::{Value, json};
use weir_clock::{ManualClock, SystemClock};
use weir_contract::Timestamp;
use weir_contract::directory::{KeyHash, Page};
use weir_rig::stripe::{Account, Fault, Foreign, Limits, Price, Scheme, Stripe, StripeServer};
use weir_settings::secret::Secret;
use weir_steer::message::signature;

use super::events::noon;
use super::killing::Process;
use super::notifying::SECRET;
use super::server::{Running, TOKEN, config};

const PATIENCE: Duration = Duration::from_secs(60);

/// A stand-in with a price.
pub(super) fn stripe() -> (StripeServer, String) {
    let mut stripe = Stripe::new(Account::sandbox());
    stripe.set_limits(Limits::NONE);
    let scheme = Scheme::PerUnit("1".to_owned());
    let price = stripe.add_price(Price { currency: "usd", event_name: None, lookup_key: None, scheme, active: true });
    (StripeServer::start_with_clock(stripe, Arc::new(jiff::Timestamp::now)).expect("a stand-in"), price)
}

/// A configuration with Stripe, and what `provisioning` says beside it.
pub(super) fn settings(dir: &Path, stripe: &StripeServer, price: &str, more: &str) -> String {
    std::fs::write(dir.join("key"), Account::sandbox().secret_key).expect("written");
    std::fs::write(dir.join("secret"), SECRET).expect("written");
    format!(
        "tenants_database: true\nstripe: {{secret_key: {{file: key}}, url: '{}', calls_per_second: 1000, meters: {{}}}}\n\
         budgets: [{{name: daily, of: requests, amount: 10, period: day}}]\n\
         provisioning: {{stripe: {{prices: {{starter: [{price}]}}}}{more}}}\n",
        stripe.url()
    )
}

pub(super) async fn start(stripe: &StripeServer, price: &str, more: &str) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    let more = settings(dir.path(), stripe, price, more);
    Running::start_by(dir, SystemClock::start(), &more).await
}

pub(super) async fn call(url: &str, path: &str, key: &str, body: &Value) -> reqwest::Result<Response> {
    let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
    http.post(format!("{url}{path}")).bearer_auth(TOKEN).header("idempotency-key", key).json(body).send().await
}

pub(super) async fn provision(server: &Running, key: &str, body: &Value) -> (u16, Value) {
    let response = call(&server.url, "/v1/provisionings", key, body).await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

async fn page(server: &Running) -> Page {
    server.get("/v1/directory").await.json().await.expect("a page")
}

fn acme() -> Value {
    json!({"tenant": {"id": "acme", "plan": "starter", "owner": "ann", "budgets": {"daily": "500"}}, "email": "a@example.com"})
}

/// What there is at Stripe: live customers and live subscriptions.
pub(super) fn live(stripe: &StripeServer) -> (usize, usize) {
    let stripe = stripe.stripe();
    let customers = stripe.customers().iter().filter(|customer| !customer.deleted).count();
    (customers, stripe.subscriptions().iter().filter(|subscription| subscription.status != "canceled").count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_of_a_pool_comes_in_one_call_and_its_key_is_told_once() {
    let (stripe, price) = stripe();
    let server = start(&stripe, &price, "").await;
    let begun = Instant::now();
    let (status, view) = provision(&server, "signup-1", &acme()).await;
    assert_eq!((status, &view["state"]), (201, &json!("done")), "{view}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let key = view["keys"][0]["key"].as_str().expect("told once").to_owned();
    let tenant = page(&server).await.tenants.remove(0);
    assert_eq!((tenant.keys.len(), tenant.keys[0].sha256), (1, KeyHash::of(key.as_bytes())));
    let record = server.json("/v1/tenants/acme").await;
    let customer = stripe.stripe().customers()[0].clone();
    assert_eq!((&record["stripe_customer"], &record["owner"]), (&json!(customer.id), &json!("ann")));
    assert_eq!(customer.metadata["weir_tenant"], "acme");
    let (status, again) = provision(&server, "signup-1", &acme()).await;
    assert_eq!((status, again["keys"][0].get("key"), live(&stripe)), (201, None, (1, 1)));
    assert_eq!(provision(&server, "signup-2", &acme()).await.0, 409, "the tenant is there");
    let shown = server.json("/v1/tenants/acme/provisioning").await;
    assert!(!shown.to_string().contains(&key), "{shown}");
    let amount = async {
        while server.json("/v1/budgets?tenant=acme").await["budgets"][0]["amount"] != "500" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, amount).await.expect("its own amount is in force");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_was_there_is_used_and_stays_when_the_tenant_does_not_come() {
    let (stripe, _) = stripe();
    let long_ago = jiff::Timestamp::from_second(1_700_000_000).expect("a time");
    stripe.stripe().add_customer_with(long_ago, "cus_before", &[("weir_tenant", "acme")]);
    let server = start(&stripe, "price_unknown", "").await;
    let (status, said) = provision(&server, "k", &acme()).await;
    assert!(status == 409 && said["error"].as_str().is_some_and(|why| why.contains("No such price")), "{said}");
    assert_eq!((live(&stripe), page(&server).await.tenants.len()), ((1, 0), 0));
    let shown = server.json("/v1/tenants/acme/provisioning").await;
    assert_eq!((&shown["state"], &shown["failure"]["step"]), (&json!("undone"), &json!("subscription")));
    assert_eq!(shown["steps"][0]["made"], "cus_before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_is_taken_back_in_reverse_and_each_act_is_recorded() {
    let (stripe, price) = stripe();
    let server = start(&stripe, &price, "").await;
    let body = json!({"tenant": {"id": "acme", "plan": "starter", "budgets": {"unheard-of": "5"}}});
    let (status, said) = provision(&server, "k", &body).await;
    assert!(status == 409 && said["error"].as_str().is_some_and(|why| why.contains("unheard-of")), "{said}");
    assert_eq!((live(&stripe), page(&server).await.tenants.len()), ((0, 0), 0));
    let shown = server.json("/v1/tenants/acme/provisioning").await;
    let acts = shown["journal"].as_array().expect("acts").iter();
    let undone: Vec<_> =
        acts.filter(|act| act["act"] == "drop" || act["act"] == "undo").map(|act| act["step"].clone()).collect();
    assert_eq!(undone, ["budgets", "keys", "subscription", "customer"]);
    let (status, _) = provision(&server, "k2", &acme()).await;
    assert_eq!(status, 201, "the name is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failure_of_stripe_makes_a_second_customer_or_subscription() {
    let faults = [
        Fault::ErrorBefore(500),
        Fault::ErrorAfter(500),
        Fault::ErrorBefore(409),
        Fault::RateLimit(None),
        Fault::LockTimeout,
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::ForeignAfter(502, Foreign::Page),
        Fault::ForeignBefore(200, Foreign::EmptyObject),
    ];
    for fault in faults {
        let (stripe, price) = stripe();
        let server = start(&stripe, &price, "").await;
        // The first, and the third: the customer and, after its repeat, the subscription.
        stripe.stripe().fail_provisioning(0, fault);
        stripe.stripe().fail_provisioning(1, fault);
        let (status, view) = provision(&server, "k", &acme()).await;
        assert_eq!((status, live(&stripe)), (201, (1, 1)), "{fault:?}: {view}");
        assert_eq!(stripe.stripe().customers().len(), 1, "{fault:?}");
        assert_eq!(page(&server).await.tenants.len(), 1);
    }
}

/// Kills a server at many moments of a provisioning; the caller repeats its request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_the_tenant_comes_whole_and_once() {
    let (stripe, price) = stripe();
    stripe.set_latency(Duration::from_millis(30));
    let dir = tempfile::tempdir().expect("a directory");
    let more = settings(dir.path(), &stripe, &price, "");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &more)).expect("written");
    let tenants = super::killing::kills();
    for number in 0..tenants {
        let body = json!({"tenant": {"id": format!("tenant-{number}"), "plan": "starter"}});
        let mut process = Process::start(dir.path());
        for kill in 0..3u64 {
            let url = format!("http://{}", process.note().address);
            let sent = body.clone();
            let asking =
                tokio::spawn(async move { call(&url, "/v1/provisionings", &format!("k-{number}"), &sent).await });
            tokio::time::sleep(Duration::from_millis(5 + (number * 37 + kill * 61) % 160)).await;
            drop(process);
            drop(asking.await);
            process = Process::start(dir.path());
        }
        let url = format!("http://{}", process.note().address);
        let answer = call(&url, "/v1/provisionings", &format!("k-{number}"), &body).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 201);
        let view: Value = answer.json().await.expect("JSON");
        let done = usize::try_from(number + 1).expect("few");
        assert_eq!((live(&stripe), stripe.stripe().customers().len()), ((done, done), done), "{view}");
        let http = reqwest::Client::new();
        let shown: Page = http
            .get(format!("{url}/v1/directory"))
            .bearer_auth(TOKEN)
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("a page");
        let tenant =
            shown.tenants.iter().find(|tenant| tenant.id.as_str() == format!("tenant-{number}")).expect("there");
        assert_eq!(tenant.keys.len(), 1, "{view}");
        if let Some(key) = view["keys"][0]["key"].as_str() {
            assert_eq!(tenant.keys[0].sha256, KeyHash::of(key.as_bytes()));
        }
    }
}

/// An outside system and a vector store.
#[derive(Clone, Default)]
pub(super) struct Around {
    pub(super) messages: Arc<Mutex<Vec<(String, Value)>>>,
    pub(super) collections: Arc<Mutex<Vec<String>>>,
    /// An environment is never ready when the outside system is asked.
    pub(super) is_slow: bool,
    /// The outside system fails when it is asked.
    pub(super) is_down: bool,
    /// The endpoint that it names, if another one than usual.
    pub(super) endpoint: Option<&'static str>,
}

impl Around {
    pub(super) async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (hooks, store) = (self.clone(), self.clone());
        let hook = move |headers: axum::http::HeaderMap, body: String| {
            let around = hooks.clone();
            async move { around.take(&headers, &body) }
        };
        let collection = move |method: axum::http::Method, axum::extract::Path(name): axum::extract::Path<String>| {
            let around = store.clone();
            async move {
                // Qdrant's own words.
                (around.collection(method.as_str(), &name), r#"{"result":true,"status":"ok"}"#)
            }
        };
        let router = axum::Router::new().route("/hook", post(hook)).route("/collections/{name}", any(collection));
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// An environment is ready when it is asked for the second time.
    fn take(&self, headers: &axum::http::HeaderMap, body: &str) -> (StatusCode, String) {
        let body: Value = serde_json::from_str(body).expect("JSON");
        let kind = body["type"].as_str().expect("a type").to_owned();
        assert!(headers["webhook-signature"].to_str().expect("text").starts_with("v1,"));
        let id = headers["webhook-id"].to_str().expect("text").to_owned();
        let mut messages = self.messages.lock().expect("a list");
        let asked = messages.iter().filter(|(known, _)| *known == id).count();
        messages.push((id, body));
        match (kind.as_str(), asked) {
            ("tenant.environment.requested", _) if self.is_down => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            ("tenant.environment.requested", 0) => (StatusCode::ACCEPTED, String::new()),
            ("tenant.environment.requested", _) if self.is_slow => (StatusCode::ACCEPTED, String::new()),
            ("tenant.environment.requested", _) => {
                let endpoint = self.endpoint.unwrap_or("https://acme.example");
                (StatusCode::OK, json!({"endpoint": endpoint}).to_string())
            }
            _ => (StatusCode::OK, String::new()),
        }
    }

    fn collection(&self, method: &str, name: &str) -> StatusCode {
        let mut all = self.collections.lock().expect("a list");
        let is_there = all.iter().any(|known| known == name);
        match (method, is_there) {
            ("GET", false) | ("DELETE", false) => StatusCode::NOT_FOUND,
            ("PUT", true) => StatusCode::CONFLICT,
            ("PUT", false) => {
                all.push(name.to_owned());
                StatusCode::OK
            }
            ("DELETE", true) => {
                all.retain(|known| known != name);
                StatusCode::OK
            }
            _ => StatusCode::OK,
        }
    }

    pub(super) fn kinds(&self) -> Vec<String> {
        let messages = self.messages.lock().expect("a list");
        messages.iter().map(|(_, body)| body["type"].as_str().expect("a type").to_owned()).collect()
    }
}

/// What `provisioning` says of them.
pub(super) fn around(url: &str) -> String {
    let hook = format!("{{url: '{url}/hook', secret: {{file: secret}}}}");
    format!(
        ", collection: {{store: qdrant, url: '{url}', name: docs, dimension: 4, isolation: [bridge, silo]}}, \
         environment: {{webhook: {hook}}}, webhook: {hook}, retention: 1h"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silo_waits_for_its_environment_and_its_endpoint_reaches_gateways() {
    let (stripe, price) = stripe();
    let outside = Around::default();
    let server = start(&stripe, &price, &around(&outside.listen().await)).await;
    let body = json!({"tenant": {"id": "acme", "plan": "starter", "placement": {"isolation": "silo", "region": "eu"}}});
    let (status, view) = provision(&server, "k", &body).await;
    assert_eq!(status, 201, "{view}");
    let asked = "tenant.environment.requested";
    assert_eq!(outside.kinds(), [asked, asked, "tenant.welcome"]);
    assert_eq!(*outside.collections.lock().expect("a list"), ["tenant_acme_docs"]);
    let request = server.http.get(format!("{}/v1/directory", server.url)).bearer_auth(TOKEN);
    let page: Page =
        request.header("x-weir-knows", "placement").send().await.expect("an answer").json().await.expect("a page");
    let placement = page.tenants[0].placement.clone().expect("told");
    assert_eq!(
        (placement.region.as_deref(), placement.endpoint.as_deref()),
        (Some("eu"), Some("https://acme.example"))
    );
    outside.collections.lock().expect("a list").push("tenant_globex_docs".to_owned());
    let globex = json!({"tenant": {"id": "globex", "plan": "starter", "placement": {"isolation": "bridge"}}});
    let (status, said) = provision(&server, "k2", &globex).await;
    assert!(status == 409 && said["error"].as_str().is_some_and(|why| why.contains("nobody knows whose")), "{said}");
    assert_eq!((outside.collections.lock().expect("a list").len(), live(&stripe)), (2, (1, 1)), "it stays");
}

/// Calls as the outside system does, signed with `secret` at `at`.
pub(super) async fn answer_as(server: &Running, secret: &str, at: Timestamp, body: &Value) -> (u16, String) {
    let (body, id) = (body.to_string(), "msg_answer");
    let signed = signature(&Secret::new(secret.to_owned()), id, at, body.as_bytes()).expect("signed");
    let call = server.http.post(format!("{}/v1/tenants/acme/environment", server.url)).header("webhook-id", id);
    let call = call.header("webhook-timestamp", at.as_secs()).header("webhook-signature", format!("v1a,x {signed}"));
    let response = call.body(body).send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a text"))
}

/// Waits until the outside system is asked for an environment, and returns the provisioning's name.
pub(super) async fn asked(outside: &Around) -> String {
    let waiting = async {
        loop {
            let last = outside.messages.lock().expect("a list").last().map(|(_, body)| body.clone());
            if let Some(body) = last.filter(|body| body["type"] == "tenant.environment.requested") {
                return body["data"]["provisioning"].as_str().expect("a name").to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("asked")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outside_system_may_answer_by_a_signed_call_and_its_first_answer_counts() {
    let (stripe, price) = stripe();
    let outside = Around { is_slow: true, ..Around::default() };
    let server = start(&stripe, &price, &around(&outside.listen().await)).await;
    let body = json!({"tenant": {"id": "acme", "plan": "starter", "placement": {"isolation": "silo"}}});
    let now = || Timestamp::from_secs(jiff::Timestamp::now().as_second().unsigned_abs());
    let answering = async {
        let name = asked(&outside).await;
        let ready = json!({"provisioning": name, "endpoint": "https://acme.example"});
        for (secret, at, body, status) in [
            ("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", now(), &ready, 403),
            (SECRET, Timestamp::from_millis(now().as_millis() - 301_000), &ready, 403),
            (SECRET, now(), &json!({"provisioning": "another"}), 404),
            (SECRET, now(), &json!({"provisioning": name, "endpoint": "not a place"}), 400),
            (SECRET, now(), &ready, 200),
            (SECRET, now(), &ready, 200),
            (SECRET, now(), &json!({"provisioning": name, "refused": "too late"}), 409),
        ] {
            let (found, told) = answer_as(&server, secret, at, body).await;
            assert_eq!(found, status, "{body}: {told}");
        }
        ready
    };
    let ((status, view), ready) = tokio::join!(provision(&server, "k", &body), answering);
    assert_eq!(status, 201, "{view}");
    let record = server.json("/v1/tenants/acme").await;
    assert_eq!(record["placement"]["endpoint"], "https://acme.example");
    let (status, told) = answer_as(&server, SECRET, now(), &ready).await;
    assert!(status == 200 && told.contains("true"), "a repeat after the end: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_that_the_outside_system_refuses_takes_everything_back() {
    let (stripe, price) = stripe();
    let outside = Around { is_slow: true, ..Around::default() };
    let server = start(&stripe, &price, &around(&outside.listen().await)).await;
    let body = json!({"tenant": {"id": "acme", "plan": "starter", "placement": {"isolation": "silo"}}});
    let refusing = async {
        let refused = json!({"provisioning": asked(&outside).await, "refused": "no capacity in eu"});
        let now = Timestamp::from_secs(jiff::Timestamp::now().as_second().unsigned_abs());
        assert_eq!(answer_as(&server, SECRET, now, &refused).await.0, 200);
    };
    let ((status, said), ()) = tokio::join!(provision(&server, "k", &body), refusing);
    assert!(status == 409 && said["error"].as_str().is_some_and(|why| why.contains("no capacity in eu")), "{said}");
    assert_eq!((live(&stripe), outside.collections.lock().expect("a list").len()), ((0, 0), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_goes_as_it_came_and_leaves_nothing() {
    let (stripe, price) = stripe();
    let (outside, clock) = (Around::default(), ManualClock::at(noon()));
    let dir = tempfile::tempdir().expect("a directory");
    let more = settings(dir.path(), &stripe, &price, &around(&outside.listen().await));
    let server = Running::start_by(dir, clock.clone(), &more).await;
    let body = json!({"tenant": {"id": "acme", "plan": "starter", "placement": {"isolation": "bridge"}}});
    assert_eq!(provision(&server, "k", &body).await.0, 201);
    let gone = call(&server.url, "/v1/deprovisionings", "g", &json!({"tenant": "acme"})).await.expect("an answer");
    assert_eq!(gone.status().as_u16(), 202);
    let until = async |state: &str, hours: u64| {
        let waiting = async {
            while server.json("/v1/tenants/acme").await["state"] != state {
                clock.advance(Duration::from_secs(3_600 * hours));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    };
    until("suspended", 0).await;
    until("archived", 1).await;
    let shown = server.json("/v1/tenants/acme/provisioning").await;
    assert_eq!((&shown["kind"], &shown["state"]), (&json!("deprovision"), &json!("done")), "{shown}");
    let keys = server.json("/v1/tenants/acme/keys").await;
    assert!(keys[0]["revoked_at"].is_string(), "{keys}");
    assert!(
        stripe.stripe().subscriptions()[0].ends_with_period && outside.collections.lock().expect("a list").is_empty()
    );
    assert_eq!(outside.kinds(), ["tenant.welcome", "tenant.goodbye"]);
    assert!(page(&server).await.tenants.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_let_in_again_stays() {
    let clock = ManualClock::at(noon());
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start_by(dir, clock.clone(), "tenants_database: true\n").await;
    assert_eq!(provision(&server, "k", &acme_alone()).await.0, 201);
    let gone = call(&server.url, "/v1/deprovisionings", "g", &json!({"tenant": "acme"})).await.expect("an answer");
    assert_eq!(gone.status().as_u16(), 202);
    let state = async |path: &str, wanted: &str| {
        let waiting = async {
            while server.json(path).await["state"] != wanted {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    };
    state("/v1/tenants/acme", "suspended").await;
    let url = format!("{}/v1/tenants/acme", server.url);
    let resumed = server.http.patch(url).bearer_auth(TOKEN).json(&json!({"state": "active"})).send().await;
    assert!(resumed.expect("an answer").status().is_success());
    clock.advance(Duration::from_secs(40 * 24 * 3_600));
    state("/v1/tenants/acme/provisioning", "stopped").await;
    assert_eq!(
        (page(&server).await.tenants[0].keys.len(), &server.json("/v1/tenants/acme").await["state"]),
        (1, &json!("active"))
    );
}

fn acme_alone() -> Value {
    json!({"tenant": {"id": "acme", "plan": "starter"}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_provision_and_show_each_step() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start_by(dir, SystemClock::start(), "tenants_database: true\n").await;
    let config = server.dir.path().join("weir.yaml");
    let weir = async |args: &'static [&'static str]| {
        let config = config.clone();
        let run = move || Command::new(env!("CARGO_BIN_EXE_weir")).arg("--config").arg(config).args(args).output();
        tokio::task::spawn_blocking(run).await.expect("joined").expect("run")
    };
    let came =
        weir(&["tenants", "provision", "acme", "--plan", "starter", "--isolation", "silo", "--region", "eu"]).await;
    let said = String::from_utf8_lossy(&came.stdout).into_owned();
    assert!(came.status.success() && said.contains("sk_weir_") && said.contains("publish"), "{came:?}");
    let status = weir(&["tenants", "status", "acme"]).await;
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && said.contains("publish") && !said.contains("sk_weir_"), "{said}");
    let shown = weir(&["tenants", "show", "acme"]).await;
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(said.contains("silo") && said.contains("eu"), "{said}");
    let gone = weir(&["tenants", "deprovision", "acme"]).await;
    assert_eq!(gone.status.code(), Some(3), "{gone:?}");
}
