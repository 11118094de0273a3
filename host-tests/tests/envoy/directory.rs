//! A directory of tenants: serves one page, refuses a wrong token, goes away when told to.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use weir_rig::server::{Handler, Reset, Server};

/// The token that it knows.
pub(crate) const TOKEN: &str = "directory-token-of-these-tests";

#[derive(Debug)]
struct State {
    version: u64,
    tenants: Vec<Value>,
    down: bool,
}

/// A running directory.
#[derive(Debug)]
pub(crate) struct Directory {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Directory {
    pub(crate) fn start(tenants: &[Value]) -> Self {
        let state = Arc::new(Mutex::new(State { version: 1, tenants: tenants.to_vec(), down: false }));
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request: Request<Body>| {
            let response = answer(&shared.lock().expect("lock"), &request);
            Box::pin(async move { Ok::<_, Reset>(response) })
        });
        Directory { server: Server::start("directory", handler).expect("a port"), state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on it answers 503, or its state again.
    pub(crate) fn down(&self, down: bool) {
        self.state.lock().expect("lock").down = down;
    }

    /// From now on it has these tenants.
    pub(crate) fn publish(&self, tenants: &[Value]) {
        let mut state = self.state.lock().expect("lock");
        state.version += 1;
        state.tenants = tenants.to_vec();
    }
}

fn answer(state: &State, request: &Request<Body>) -> Response<Body> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let version = format!("v{}", state.version);
    let (status, body) = if state.down {
        (StatusCode::SERVICE_UNAVAILABLE, String::new())
    } else if header("authorization") != format!("Bearer {TOKEN}") {
        (StatusCode::UNAUTHORIZED, String::new())
    } else if header("if-none-match") == format!("\"{version}\"") {
        (StatusCode::NOT_MODIFIED, String::new())
    } else {
        (StatusCode::OK, json!({"version": version, "next": null, "tenants": state.tenants}).to_string())
    };
    Response::builder().status(status).body(body.into()).expect("a response")
}
