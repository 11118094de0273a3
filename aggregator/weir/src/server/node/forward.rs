//! Passes requests on to the owner, and its answers back, piece by piece.
//!
//! # Constraints
//!
//! - A request is passed on once: one that another node has passed on already is refused.
//! - Calls that wait until something changes have room of their own; all others share [`BUSY_MAX`] places, of which one address has half.
//!   A request takes its place once its body is there, or has begun: see [`arriving`](super::arriving).
//! - An answer that has not begun when another node becomes the owner is given up: the client asks again.
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use reqwest::{Certificate, Identity};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::arriving::{Arriving, begin};
use super::readers::Opens;
use crate::config::Config;
use crate::config::node::NodeSettings;
use crate::fleet::{Fleet, Known, NodeRow};
use crate::metrics::UnsignedGauge;
use crate::metrics::node::{NodeMetrics, Passed};
use crate::server::connections::{Peers, Place, Slot};
use crate::server::error::ApiError;
use crate::server::ingest::WIRE_MAX_BYTES;
use crate::server::passed_on::{CLIENT, LIFE, NODE, OPENS_METRICS, PROOF, is_passed_on, strip, unavailable};
use crate::server::run::ServeError;

/// The most requests under way to the owner, beside calls that wait. The owner has as many connections for one address, and some more.
const BUSY_MAX: usize = 200;
/// The most of one client's address.
const BUSY_OF_ONE_PEER_MAX: usize = 100;
/// The most calls under way that wait until something changes.
const WAITING_MAX: usize = 8_192;
/// The longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The longest silence of the owner: a report may take minutes, and a call that waits for a change a minute.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// How long a connection without a request is kept: less than the owner keeps it.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// So much of what an owner that is not ready says is told further.
const READINESS_MAX_CHARS: usize = 500;

/// Headers of one connection (RFC 9110, section 7.6.1), which are not passed on.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Passes requests on.
#[derive(Debug)]
pub(super) struct Forwarder {
    client: reqwest::Client,
    pub(super) fleet: Fleet,
    metrics: NodeMetrics,
    /// The life of the owner that has last answered at its address.
    met: Mutex<String>,
    busy: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    peers: Peers,
    arriving: Arriving,
}

/// The places that a request takes until its answer has ended.
#[derive(Debug)]
struct Under {
    gauge: UnsignedGauge,
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

impl Drop for Under {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Forwarder {
    pub(super) fn new(
        config: &Config,
        node: &NodeSettings,
        fleet: Fleet,
        metrics: NodeMetrics,
    ) -> Result<Self, ServeError> {
        Ok(Forwarder {
            client: client(config, node)?,
            fleet,
            metrics,
            met: Mutex::default(),
            busy: Arc::new(Semaphore::new(BUSY_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            peers: Peers::default(),
            arriving: Arriving::default(),
        })
    }

    /// Whether the owner answers at its address, and is ready.
    pub(super) async fn reaches(&self, owner: &NodeRow) -> Result<(), String> {
        let answer = self.meets(owner).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        let why = answer.text().await.unwrap_or_default();
        Err(format!("is not ready: {}", why.chars().take(READINESS_MAX_CHARS).collect::<String>()))
    }

    /// Asks for the owner's readiness, and makes sure that it is the owner who answers: whoever else has its address would take tokens and
    /// events.
    async fn meets(&self, owner: &NodeRow) -> Result<reqwest::Response, String> {
        let asked = self.client.get(format!("{}/readyz", owner.address)).timeout(CONNECT_MAX).send().await;
        let answer = asked.map_err(|error| format!("does not answer: {}", told(&error)))?;
        if answer.headers().get(LIFE).is_none_or(|life| life.as_bytes() != owner.life.as_bytes()) {
            return Err("is not who answers at that address: look at its `node.address`".to_owned());
        }
        owner.life.clone_into(&mut self.met.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(answer)
    }

    /// Whether the owner has been met, now if not before.
    async fn knows(&self, owner: &NodeRow) -> Result<(), String> {
        if *self.met.lock().unwrap_or_else(PoisonError::into_inner) == owner.life {
            return Ok(());
        }
        self.meets(owner).await.map(drop)
    }

    /// Passes a request on.
    pub(super) async fn pass(&self, slot: &Slot, request: Request) -> Response {
        if is_passed_on(request.headers()) {
            self.metrics.passed(Passed::Looped);
            return unavailable("this node is not the owner any more, or not yet; come again");
        }
        if request.body().size_hint().lower() > WIRE_MAX_BYTES as u64 {
            return ApiError::TooLarge(WIRE_MAX_BYTES).into_response();
        }
        let request = match self.arrived(request, slot.peer()).await {
            Ok(request) => request,
            Err(response) => return response,
        };
        let view = self.fleet.known().view;
        let Some(owner) = view.owner().filter(|owner| owner.life != self.fleet.me.life).cloned() else {
            self.metrics.passed(Passed::Ownerless);
            return unavailable("no node owns the event log and the ledger at the moment; come again");
        };
        if let Err(problem) = self.knows(&owner).await {
            self.metrics.passed(Passed::Failed);
            return unavailable(&format!("the node that owns the event log and the ledger {problem}; come again"));
        }
        let waits = may_wait(&request);
        let Some(under) = self.room(waits, slot.peer()) else {
            return self.crowded();
        };
        if waits {
            slot.leave();
        }
        let mut response = self.exchange(&owner, slot.peer(), request, under).await;
        if waits && !slot.retake() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The request once its body is there, or has begun to be.
    async fn arrived(&self, request: Request, client: IpAddr) -> Result<Request, Response> {
        if request.body().is_end_stream() {
            return Ok(request);
        }
        let (head, body) = request.into_parts();
        let body = begin(body).await.map_err(IntoResponse::into_response)?;
        let body = self.arriving.pass(body, client).ok_or_else(|| self.crowded())?;
        Ok(Request::from_parts(head, body))
    }

    fn crowded(&self) -> Response {
        self.metrics.passed(Passed::Crowded);
        unavailable("busy; come again")
    }

    /// Asks the owner whether a token opens metrics.
    pub(super) async fn opens_metrics(&self, client: IpAddr, token: &[u8]) -> Result<Opens, String> {
        let view = self.fleet.known().view;
        let owner = view.owner().ok_or_else(|| "no node owns the event log and the ledger".to_owned())?;
        let to_owner = |problem: String| format!("the node that owns the event log and the ledger {problem}");
        self.knows(owner).await.map_err(to_owner)?;
        let _under = self.room(false, client).ok_or_else(|| "busy".to_owned())?;
        let mut request = self.client.get(format!("{}{OPENS_METRICS}", owner.address)).timeout(CONNECT_MAX);
        for (name, value) in self.says(client) {
            request = request.header(name, value);
        }
        let token = std::str::from_utf8(token).map_err(|error| error.to_string())?;
        let answer = request.bearer_auth(token).send().await.map_err(|error| to_owner(told(&error)))?;
        match answer.status() {
            StatusCode::NO_CONTENT => Ok(Opens::Metrics),
            StatusCode::FORBIDDEN => Ok(Opens::Others),
            StatusCode::UNAUTHORIZED => Ok(Opens::Nothing),
            status => Err(to_owner(format!("answers {status}"))),
        }
    }

    /// What this node says of itself and of the client.
    fn says(&self, client: IpAddr) -> [(HeaderName, String); 3] {
        let me = &self.fleet.me;
        [(NODE, me.name.clone()), (PROOF, me.proof.clone()), (CLIENT, client.to_string())]
    }

    async fn exchange(&self, owner: &NodeRow, client: IpAddr, request: Request, under: Under) -> Response {
        let asked = self.client.execute(match self.passed_on(&owner.address, client, request) {
            Ok(request) => request,
            Err(error) => return self.failed(&error),
        });
        let answered = tokio::select! {
            answered = asked => answered,
            () = self.another_owner_than(&owner.life) => {
                self.metrics.passed(Passed::Ownerless);
                return unavailable("another node has become the owner meanwhile; come again");
            }
        };
        match answered {
            Ok(answer) => {
                self.metrics.passed(Passed::Answered);
                let mut response =
                    axum::http::Response::from(answer).map(|body| Body::new(Held { body, _under: under }));
                strip_hop_by_hop(response.headers_mut());
                response
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Response {
        self.metrics.passed(Passed::Failed);
        tracing::debug!(error = told(error), "a request was not passed on");
        unavailable("the node that owns the event log and the ledger does not answer; come again")
    }

    /// The request as the owner gets it.
    fn passed_on(&self, address: &str, client: IpAddr, request: Request) -> reqwest::Result<reqwest::Request> {
        let (mut head, body) = request.into_parts();
        strip_hop_by_hop(&mut head.headers);
        strip(&mut head.headers);
        for (name, value) in self.says(client) {
            if let Ok(value) = HeaderValue::try_from(value) {
                head.headers.insert(name, value);
            }
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = self.client.request(head.method, format!("{address}{path}")).headers(head.headers);
        match body.is_end_stream() {
            true => request.build(),
            false => request.body(reqwest::Body::wrap(Shared(Mutex::new(body)))).build(),
        }
    }

    /// Returns once another life of a node owns.
    async fn another_owner_than(&self, life: &str) {
        let owns = |known: &Known| known.view.partition().is_some_and(|partition| partition.life == life);
        // Where nobody tells any more, the process ends.
        let _ = self.fleet.subscribe().wait_for(|known| !owns(known)).await;
    }

    /// A request's place; None if there is none.
    fn room(&self, waits: bool, peer: IpAddr) -> Option<Under> {
        let (room, gauge) = match waits {
            true => (&self.waiting, &self.metrics.waiting),
            false => (&self.busy, &self.metrics.passing),
        };
        let permit = Arc::clone(room).try_acquire_owned().ok()?;
        let place = if waits { None } else { Some(self.peers.enter(peer, BUSY_OF_ONE_PEER_MAX)?) };
        gauge.inc();
        Some(Under { gauge: gauge.clone(), _permit: permit, _place: place })
    }
}

/// Whether a request may be answered only once something changes: those leave their place to others.
fn may_wait(request: &Request) -> bool {
    request.method() == Method::GET && matches!(request.uri().path(), "/v1/directory" | "/ui/live" | "/ui/limits/live")
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP).chain([KEEP_ALIVE]) {
        headers.remove(name);
    }
}

/// An error with its cause, without the address that people know already.
fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A client of other nodes.
pub(crate) fn client(config: &Config, node: &NodeSettings) -> Result<reqwest::Client, ServeError> {
    let wrong = |problem: String| ServeError::Peers(problem);
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_MAX)
        .read_timeout(SILENCE_MAX)
        .pool_idle_timeout(IDLE_MAX);
    let read =
        |path: &std::path::Path| std::fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())));
    if let Some(path) = &node.ca {
        let roots = Certificate::from_pem_bundle(&read(path)?);
        let roots = roots.map_err(|error| wrong(format!("{}: {}", path.display(), told(&error))))?;
        builder = builder.tls_built_in_root_certs(false);
        builder = roots.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    // Who asks clients for certificates asks the other nodes as well.
    if let Some(tls) = config.tls.as_ref().filter(|tls| tls.client_ca.is_some()) {
        let pair = [read(&tls.key)?, read(&tls.certificate)?].concat();
        let identity = Identity::from_pem(&pair).map_err(|error| wrong(format!("tls: {}", told(&error))))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| wrong(told(&error)))
}

/// A request's body, which threads may share, as the client asks for though it never does.
struct Shared(Mutex<Body>);

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(self.0.get_mut().unwrap_or_else(PoisonError::into_inner)).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// An answer's body, with the places of its request.
struct Held {
    body: reqwest::Body,
    _under: Under,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_stay_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-own"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("x-own", "1"),
            ("authorization", "Bearer x"),
            ("host", "weir.example.com"),
            ("content-length", "3"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "content-length", "host"]);
    }

    #[test]
    fn only_calls_that_wait_for_a_change_have_room_of_their_own() {
        let request = |method: Method, uri: &str| {
            Request::builder().method(method).uri(uri).body(Body::empty()).expect("a request")
        };
        assert!(may_wait(&request(Method::GET, "/v1/directory?since=x&wait=25s")));
        assert!(may_wait(&request(Method::GET, "/ui/live")));
        assert!(!may_wait(&request(Method::POST, "/v1/directory")));
        assert!(!may_wait(&request(Method::GET, "/v1/events")));
    }
}
