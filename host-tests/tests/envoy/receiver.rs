//! A receiver of events that remembers what it acknowledged, and fails on demand.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use serde_json::Value;
use weir_rig::server::{Handler, Reset, Server};

/// The acknowledged events, and the answers to the next batches.
#[derive(Debug, Default)]
struct State {
    events: BTreeMap<String, Value>,
    calls: usize,
    tokens: BTreeSet<String>,
    failing: bool,
}

/// A running receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { Ok::<_, Reset>(answer(&state, request).await) })
        });
        Receiver { server: Server::start("receiver", handler).expect("a port"), state }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// From now on batches are answered 503, or taken again.
    pub(crate) fn fail(&self, failing: bool) {
        self.state.lock().expect("lock").failing = failing;
    }

    /// The `authorization` of all batches that came.
    pub(crate) fn tokens(&self) -> BTreeSet<String> {
        self.state.lock().expect("lock").tokens.clone()
    }

    /// How many batches came, taken or not.
    pub(crate) fn calls(&self) -> usize {
        self.state.lock().expect("lock").calls
    }

    /// The usage events acknowledged so far, once each, after waiting until there are at least `count`.
    pub(crate) async fn usage(&self, count: usize) -> Vec<Value> {
        for _ in 0..300 {
            let found = self.taken();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} of {count} usage events came within 30 s", self.taken().len());
    }

    /// All events acknowledged so far, once each, announcements and refusals included.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.state.lock().expect("lock").events.values().cloned().collect()
    }

    fn taken(&self) -> Vec<Value> {
        let state = self.state.lock().expect("lock");
        state.events.values().filter(|event| event["type"] == "weir.usage.v1").cloned().collect()
    }
}

async fn answer(state: &Mutex<State>, request: Request<Body>) -> Response<Body> {
    let token =
        request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = to_bytes(request.into_body(), 16 << 20).await.unwrap_or_default();
    let events: Vec<Value> = serde_json::from_slice(&body).expect("a batch is a JSON array");
    let mut state = state.lock().expect("lock");
    state.calls += 1;
    state.tokens.insert(token);
    let (status, body) = if state.failing {
        (StatusCode::SERVICE_UNAVAILABLE, String::new())
    } else {
        let count = events.len();
        for event in events {
            let id = event["id"].as_str().expect("an id").to_owned();
            let before = state.events.insert(id, event.clone());
            assert!(before.is_none_or(|before| before == event), "the same id with other content");
        }
        (StatusCode::ACCEPTED, format!(r#"{{"accepted":{count},"rejected":[]}}"#))
    };
    Response::builder().status(status).header("content-type", "application/json").body(body.into()).expect("a response")
}
