//! Vets requests that other nodes pass on to the owner.
use std::net::IpAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::fleet::Fleet;
use crate::metrics::node::{NodeMetrics, Passed};
use crate::server::App;
use crate::server::passed_on::{CLIENT, NODE, PROOF, PassedOn, is_passed_on, strip, unavailable};

/// The routes of an owner.
pub(super) fn router(app: &App, fleet: &Fleet, metrics: &NodeMetrics) -> Router {
    app.router().layer(from_fn_with_state((fleet.clone(), metrics.clone()), vet))
}

async fn vet(State((fleet, metrics)): State<(Fleet, NodeMetrics)>, mut request: Request, next: Next) -> Response {
    let headers = request.headers_mut();
    if !is_passed_on(headers) {
        strip(headers);
        return next.run(request).await;
    }
    let Some(client) = proven(&fleet, headers) else {
        metrics.passed(Passed::Looped);
        return unavailable("the node that passes this request on is not known here yet; come again");
    };
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
