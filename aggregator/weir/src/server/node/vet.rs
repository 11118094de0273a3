//! Vets requests that other nodes pass on to the owner.
use std::net::IpAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::config::tokens::Scope;
use crate::fleet::Fleet;
use crate::metrics::node::{NodeMetrics, Passed};
use crate::server::App;
use crate::server::auth::require;
use crate::server::passed_on::{CLIENT, NODE, OPENS_METRICS, PROOF, PassedOn, is_passed_on, strip, unavailable};

/// The routes of an owner.
pub(super) fn router(app: &App, fleet: &Fleet, metrics: &NodeMetrics) -> Router {
    let vetted = Vetted { app: app.clone(), fleet: fleet.clone(), metrics: metrics.clone() };
    app.router().layer(from_fn_with_state(vetted, vet))
}

/// What vetting needs.
#[derive(Clone)]
struct Vetted {
    app: App,
    fleet: Fleet,
    metrics: NodeMetrics,
}

async fn vet(State(vetted): State<Vetted>, mut request: Request, next: Next) -> Response {
    let headers = request.headers_mut();
    if !is_passed_on(headers) {
        strip(headers);
        return next.run(request).await;
    }
    let Some(client) = proven(&vetted.fleet, headers) else {
        vetted.metrics.passed(Passed::Looped);
        return unavailable("the node that passes this request on is not known here yet; come again");
    };
    if request.uri().path() == OPENS_METRICS {
        return match require(&vetted.app, request.headers(), Scope::Metrics) {
            Ok(_) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => error.into_response(),
        };
    }
    let headers = request.headers_mut();
    // The name stays, for the token of commands.
    headers.remove(PROOF);
    headers.remove(CLIENT);
    request.extensions_mut().insert(PassedOn { client });
    next.run(request).await
}

/// The client's address, if the node that says it is proven.
fn proven(fleet: &Fleet, headers: &HeaderMap) -> Option<IpAddr> {
    let name = headers.get(NODE)?.to_str().ok()?;
    let client = headers.get(CLIENT)?.to_str().ok()?.parse().ok()?;
    fleet.is_proven(name, headers.get(PROOF)?.as_bytes()).then_some(client)
}
