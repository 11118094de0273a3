//! What a follower answers itself: health, readiness and its own metrics. Everything else goes to the owner.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;

use super::forward::Forwarder;
use super::readers::{Opens, Readers};
use crate::config::tokens::Scope;
use crate::fleet::Fleet;
use crate::metrics::node::NodeMetrics;
use crate::metrics::{TextFormat, encode};
use crate::server::auth::bearer;
use crate::server::connections::Slot;
use crate::server::error::{ApiError, not_found};
use crate::server::health::get_healthz;
use crate::server::passed_on::{OPENS_METRICS, unavailable};

/// How often the owner is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A node while it does not own.
#[derive(Debug)]
pub(super) struct Follower {
    fleet: Fleet,
    forwarder: Forwarder,
    registry: Mutex<Registry>,
    /// Who may read metrics; None where nobody but this machine can ask for them.
    readers: Option<Readers>,
    owns: AtomicBool,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Why the owner cannot be reached.
    unreached: Option<String>,
    /// What stands against this node as the owner.
    cannot: Option<String>,
    stops: bool,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    node: String,
    /// Whom it follows, and where that is.
    role: String,
    /// Why requests are not answered; None if they are.
    owner: Option<String>,
    /// Why PostgreSQL cannot be asked who owns; None if it can.
    nodes: Option<String>,
    /// What stands against a take-over by this node; None if nothing does.
    takes_over: Option<String>,
}

impl Follower {
    /// Without `readers` metrics need no token.
    pub(super) fn new(fleet: Fleet, forwarder: Forwarder, metrics: NodeMetrics, readers: Option<Readers>) -> Self {
        let mut registry = Registry::with_prefix("weir");
        metrics.register(&mut registry);
        metrics.register_connections(&mut registry);
        Follower {
            fleet,
            forwarder,
            registry: Mutex::new(registry),
            readers,
            owns: AtomicBool::new(false),
            standing: Mutex::default(),
        }
    }

    pub(super) fn router(this: &Arc<Self>) -> Router {
        Router::new()
            .route("/healthz", get(get_healthz))
            .route("/readyz", get(get_readyz))
            .route("/metrics", get(get_metrics))
            // What nodes ask each other is nothing that a client has passed on.
            .route(OPENS_METRICS, any(not_found))
            .fallback(pass)
            .with_state(Arc::clone(this))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Standing) -> T) -> T {
        act(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what stands against this node as the owner, if anything does; returns whether that is new.
    pub(super) fn cannot(&self, problem: &str) -> bool {
        let problem = Some(problem.to_owned()).filter(|problem| !problem.is_empty());
        self.with(|standing| std::mem::replace(&mut standing.cannot, problem.clone()) != problem)
    }

    /// Notes whether this node owns itself.
    pub(super) fn owns(&self, owns: bool) {
        self.owns.store(owns, Ordering::Release);
        self.with(|standing| standing.cannot = None);
    }

    /// The node stops: what comes meanwhile is answered 503.
    pub(super) fn stop(&self) {
        self.with(|standing| standing.stops = true);
    }

    /// Asks the owner again and again whether it is there.
    pub(super) async fn watch_owner(self: Arc<Self>) {
        let mut was_member = false;
        loop {
            if !self.owns.load(Ordering::Acquire) {
                let known = self.fleet.known();
                // The owner takes nothing from a node that it has not read of in the table yet, and it reads more often than this node asks.
                let is_known = std::mem::replace(&mut was_member, known.is_member) && known.is_member;
                let view = known.view;
                let unreached = match view.owner() {
                    None => Some("no node owns the event log and the ledger".to_owned()),
                    Some(owner) if owner.life == self.fleet.me.life => Some("this node is taking over".to_owned()),
                    Some(_) if !is_known => Some("the other nodes do not know this one yet".to_owned()),
                    Some(owner) => {
                        let problem = self.forwarder.reaches(owner).await.err();
                        problem.map(|problem| format!("{} at {} {problem}", owner.name, owner.address))
                    }
                };
                self.with(|standing| standing.unreached = unreached);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn readiness(&self) -> Readiness {
        let known = self.fleet.known();
        let role = match known.view.owner() {
            Some(owner) => format!("follower of {} at {}", owner.name, owner.address),
            None => "follower".to_owned(),
        };
        let nobody = || "no node owns the event log and the ledger".to_owned();
        let has_owner = known.view.owner().is_some();
        let (owner, cannot, stops) =
            self.with(|standing| (standing.unreached.clone(), standing.cannot.clone(), standing.stops));
        let owner = if stops { Some("this node stops".to_owned()) } else { owner.or((!has_owner).then(nobody)) };
        let node = self.fleet.me.name.clone();
        Readiness { ready: owner.is_none(), node, role, owner, nodes: known.problem, takes_over: cannot }
    }
}

async fn get_readyz(State(follower): State<Arc<Follower>>) -> Response {
    let readiness = follower.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// What a token opens: the configuration says so, or the owner, which is asked once in a few seconds.
async fn opened(follower: &Follower, readers: &Readers, slot: &Slot, token: &[u8]) -> Result<Opens, String> {
    if let Some(known) = readers.find(token) {
        return Ok(known);
    }
    match follower.forwarder.opens_metrics(slot.peer(), token).await {
        Ok(opens) => {
            readers.learn(token, opens);
            Ok(opens)
        }
        Err(why) => readers.find_alone(token).ok_or(why),
    }
}

async fn get_metrics(
    State(follower): State<Arc<Follower>>,
    Extension(slot): Extension<Slot>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(readers) = &follower.readers {
        let token = bearer(&headers).ok_or(ApiError::Unauthorized)?;
        match opened(&follower, readers, &slot, token).await {
            Ok(Opens::Metrics) => {}
            Ok(Opens::Others) => return Err(ApiError::Forbidden(Scope::Metrics)),
            Ok(Opens::Nothing) => return Err(ApiError::Unauthorized),
            Err(why) => return Ok(unavailable(&format!("whether this token opens metrics is not known: {why}"))),
        }
    }
    let format = TextFormat::accepted(headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()));
    let registry = follower.registry.lock().unwrap_or_else(PoisonError::into_inner);
    let text = encode(&registry, format).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

async fn pass(State(follower): State<Arc<Follower>>, Extension(slot): Extension<Slot>, request: Request) -> Response {
    follower.forwarder.pass(&slot, request).await
}
