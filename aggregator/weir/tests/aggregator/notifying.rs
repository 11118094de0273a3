//! People learn of budgets' stages: each change is told once, again and again until the receiver takes it.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use weir_clock::ManualClock;
use weir_contract::Timestamp;
use weir_settings::secret::Secret;
use weir_steer::message::signature;

use super::answering::run;
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::server::Running;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Long enough for a server on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A call that the receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) at: u64,
    pub(crate) signature: String,
    pub(crate) body: String,
}

/// A receiver of webhooks, which refuses the first calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    refuses: Arc<Mutex<usize>>,
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let got = Got {
        id: header("webhook-id"),
        at: header("webhook-timestamp").parse().unwrap_or_default(),
        signature: header("webhook-signature"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    receiver.got.lock().expect("a list").push(got);
    let mut refuses = receiver.refuses.lock().expect("a number");
    let refused = *refuses > 0;
    *refuses = refuses.saturating_sub(1);
    if refused { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

impl Receiver {
    /// Listens; returns the address.
    pub(crate) async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = axum::Router::new().route("/hook", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/hook")
    }

    /// Refuses the next calls.
    pub(crate) fn refuse(&self, calls: usize) {
        *self.refuses.lock().expect("a number") = calls;
    }

    /// Waits until there are `count` calls; `each` runs between two looks.
    pub(crate) async fn calls(&self, count: usize, each: impl Fn()) -> Vec<Got> {
        let waiting = async {
            loop {
                let got = self.got.lock().expect("a list").clone();
                if got.len() >= count {
                    return got;
                }
                each();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("calls")
    }
}

async fn start(clock: Arc<ManualClock>, receivers: &str) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), "tenants: [{id: acme, plan: free}]").expect("written");
    std::fs::write(dir.path().join("secret"), SECRET).expect("written");
    let more = format!(
        "tenants: tenants.yaml\nbudgets: [{{name: daily, of: requests, amount: 10, period: day}}]\nalerts: {{without: [unpriced-usage], receivers: [{receivers}]}}\n\
         ui: {{url: 'https://weir.example.com/'}}\n"
    );
    Running::start_by(dir, clock, &more).await
}

async fn send(server: &Running, first: u64, count: u64) {
    let worker = Worker::new(1, noon());
    let events: Vec<Vec<u8>> = (first..first + count).map(|number| worker.usage(number)).collect();
    assert_eq!(server.post(batch(&events)).await.status(), reqwest::StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_change_is_told_under_one_id_until_the_receiver_takes_it() {
    let (receiver, clock) = (Receiver::default(), ManualClock::at(noon()));
    receiver.refuse(2);
    let url = receiver.listen().await;
    let server =
        start(clock.clone(), &format!("{{name: hook, webhook: {{url: {url}, secret: {{file: secret}}}}}}")).await;
    send(&server, 1, 9).await;
    let got = receiver.calls(3, || clock.advance(Duration::from_secs(10))).await;
    assert!(got.iter().all(|call| call.id == got[0].id && call.body == got[0].body), "{got:?}");
    let at = Timestamp::from_secs(got[2].at);
    let signed = signature(&Secret::new(SECRET.to_owned()), &got[2].id, at, got[2].body.as_bytes());
    assert_eq!(signed.as_deref(), Ok(got[2].signature.as_str()));
    let body: Value = serde_json::from_str(&got[2].body).expect("JSON");
    assert_eq!((&body["type"], &body["data"]["stage"]), (&json!("budget.stage"), &json!("degrade")));
    assert_eq!(body["data"]["command"], "weir budgets show acme");
    assert_eq!(body["data"]["page"], "https://weir.example.com/ui/budgets/one?tenant=acme&budget=daily");
    let delivered = async {
        while server.json("/v1/alerts").await["notices"][0]["state"] != "delivered" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, delivered).await.expect("delivered");
    send(&server, 10, 1).await;
    let got = receiver.calls(4, || ()).await;
    assert_ne!(got[3].id, got[0].id);
    assert!(got[3].body.contains("exceeded"));
}

#[tokio::test]
async fn a_change_is_told_after_a_restart_and_only_once() {
    let (receiver, clock) = (Receiver::default(), ManualClock::at(noon()));
    let url = receiver.listen().await;
    let hook = format!("{{name: hook, webhook: {{url: {url}, secret: {{file: secret}}}}}}");
    // Nobody is told of what happened before there were receivers.
    let server = start(clock.clone(), "").await;
    send(&server, 1, 8).await;
    let told = async {
        while server.json("/v1/budgets/history").await.as_array().is_none_or(Vec::is_empty) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    };
    tokio::time::timeout(PATIENCE, told).await.expect("a change");
    let dir = server.stop().await;
    let more = format!(
        "tenants: tenants.yaml\nbudgets: [{{name: daily, of: requests, amount: 10, period: day}}]\nalerts: {{without: [unpriced-usage], receivers: [{hook}]}}\n"
    );
    let server = Running::start_by(dir, clock.clone(), &more).await;
    send(&server, 9, 1).await;
    let got = receiver.calls(1, || ()).await;
    assert!(got[0].body.contains("degrade"), "{got:?}");
    let server = Running::start_by(server.stop().await, clock, &more).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(receiver.calls(1, || ()).await.len(), 1);
    drop(server.stop().await);
}

#[tokio::test]
async fn a_test_says_what_came_of_it() {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    let both = format!(
        "{{name: hook, webhook: {{url: {url}, secret: {{file: secret}}}}}}, {{name: chat, slack: {{file: address}}}}"
    );
    let server = start(ManualClock::at(noon()), &both).await;
    std::fs::write(server.dir.path().join("address"), &url).expect("written");
    let dir = server.dir.path().to_owned();
    let sent = run(&dir, &["alerts", "test", "hook", "--json"]).await;
    assert_eq!((sent.status.code(), printed(&sent)["state"].as_str()), (Some(0), Some("delivered")));
    let sent = run(&dir, &["alerts", "test", "chat"]).await;
    assert_eq!(sent.status.code(), Some(0));
    let got = receiver.calls(2, || ()).await;
    let body: Value = serde_json::from_str(&got[1].body).expect("JSON");
    assert!(body["text"].as_str().is_some_and(|text| text.contains("test")) && got[1].signature.is_empty(), "{got:?}");
    receiver.refuse(1);
    let sent = run(&dir, &["alerts", "test", "hook"]).await;
    let text = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(sent.status.code() == Some(3) && text.contains("503"), "{text}");
    let unknown = run(&dir, &["alerts", "test", "nobody"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let listed = run(&dir, &["alerts", "list"]).await;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("webhook") && text.contains("slack") && !text.contains(&url), "{text}");
}
