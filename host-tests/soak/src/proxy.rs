//! Between gateway and aggregator: it remembers every event that leaves the gateway, and misbehaves.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir_rig::server::{Handler, Reset, Server};
use weir_seeded::SplitMix64;

/// The largest batch that is passed on, in bytes.
const BATCH_MAX_BYTES: usize = 8 << 20;

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    /// Passed on after a while.
    Late,
    /// 500, and never passed on.
    Fail,
    /// 503 with `Retry-After`.
    Busy,
    /// The connection breaks before anything is passed on.
    Break,
    /// It is passed on, and the connection breaks before the gateway learns that it was taken.
    TakeAndBreak,
    /// Passed on twice.
    Twice,
    /// Passed on, and answered with something that is no answer.
    TakeAndBabble,
}

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    http: reqwest::Client,
    dice: Mutex<SplitMix64>,
    faults: Mutex<bool>,
    seen: Mutex<Seen>,
}

/// What went by.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Usage events by id, each once.
    pub usage: BTreeMap<String, Value>,
    /// Sums of attempts by id, each once.
    pub attempts: BTreeMap<String, Value>,
    /// Ids of reports of refusals and of findings, each once. A source's announcements have no number.
    pub reports: BTreeSet<String>,
    /// Batches that came.
    pub batches: u64,
    /// Batches that were not simply passed on.
    pub faults: u64,
    /// Events whose id came with other content: there must be none.
    pub contradictions: u64,
}

impl Proxy {
    /// Starts on a free port, in front of `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        let state = Arc::new(State {
            target,
            http: http.map_err(io::Error::other)?,
            dice: Mutex::new(SplitMix64::new(seed)),
            faults: Mutex::new(true),
            seen: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { serve(&state, request).await })
        });
        Ok(Self { server: Server::start("proxy", handler)?, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on everything is passed on as it comes.
    pub fn behave(&self) {
        *lock(&self.state.faults) = false;
    }

    /// What went by so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.state.seen).clone()
    }
}

/// A poisoned lock means that the run is failing already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fate {
    fn draw(state: &State) -> Self {
        if !*lock(&state.faults) {
            return Self::Pass;
        }
        match lock(&state.dice).below(20) {
            0 | 1 => Self::Late,
            2 => Self::Fail,
            3 => Self::Busy,
            4 => Self::Break,
            5 => Self::TakeAndBreak,
            6 => Self::Twice,
            7 => Self::TakeAndBabble,
            _ => Self::Pass,
        }
    }
}

impl Seen {
    fn add(&mut self, event: Value) {
        let id = event["id"].as_str().unwrap_or_default().to_owned();
        if event["type"] == "weir.refused.v1" || event["type"] == "weir.security.v1" {
            self.reports.insert(id.clone());
        }
        let kept = match event["type"].as_str() {
            Some("weir.usage.v1") => &mut self.usage,
            Some("weir.attempts.v1") => &mut self.attempts,
            _ => return,
        };
        if kept.get(&id).is_some_and(|before| *before != event) {
            self.contradictions += 1;
        }
        kept.insert(id, event);
    }
}

async fn serve(state: &State, request: Request<Body>) -> Result<Response<Body>, Reset> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BATCH_MAX_BYTES).await.map_err(|_| Reset)?;
    let fate = Fate::draw(state);
    {
        let mut seen = lock(&state.seen);
        seen.batches += 1;
        seen.faults += u64::from(fate != Fate::Pass);
        serde_json::from_slice::<Vec<Value>>(&body).unwrap_or_default().into_iter().for_each(|event| seen.add(event));
    }
    match fate {
        Fate::Pass => {}
        Fate::Late => tokio::time::sleep(Duration::from_millis(300)).await,
        Fate::Fail => return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "oops")),
        Fate::Busy => {
            let busy = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", "1");
            return busy.body(Body::empty()).map_err(|_| Reset);
        }
        Fate::Break => return Err(Reset),
        Fate::TakeAndBreak | Fate::Twice | Fate::TakeAndBabble => {
            let answer = pass(state, &head, body.clone()).await;
            match fate {
                Fate::TakeAndBreak => return Err(Reset),
                // Only where it was taken: a lie about a refused batch would be the loss that this run looks for.
                Fate::TakeAndBabble if answer.status().is_success() => {
                    return Ok(plain(StatusCode::ACCEPTED, "<html>"));
                }
                Fate::TakeAndBabble => return Ok(answer),
                _ => {}
            }
        }
    }
    Ok(pass(state, &head, body).await)
}

async fn pass(state: &State, head: &http::request::Parts, body: Bytes) -> Response<Body> {
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut call = state.http.request(head.method.clone(), format!("http://{}{path}", state.target)).body(body);
    for name in ["authorization", "content-type"] {
        if let Some(value) = head.headers.get(name) {
            call = call.header(name, value);
        }
    }
    let Ok(answer) = call.send().await else { return plain(StatusCode::BAD_GATEWAY, "the aggregator is away") };
    let status = answer.status();
    let body = answer.bytes().await.unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
