//! What one node says to another about a request that it passes on.
//!
//! A node names itself and proves it by a secret whose hash it has written into the table of nodes, where only nodes can write. Without
//! the proof nothing is believed: not the client's address, and not a token of commands on another machine.
use std::net::IpAddr;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The name of the node that passes a request on.
pub(crate) const NODE: HeaderName = HeaderName::from_static("weir-node");
/// Its proof.
pub(crate) const PROOF: HeaderName = HeaderName::from_static("weir-node-proof");
/// The address of the client that asked it.
pub(crate) const CLIENT: HeaderName = HeaderName::from_static("weir-node-client");
/// The life of the node that answers, in answers about its health: by it followers know that the address is the node's.
pub(crate) const LIFE: HeaderName = HeaderName::from_static("weir-node-life");
/// The path at which a node asks the owner whether a token opens metrics. To others there is nothing.
pub(crate) const OPENS_METRICS: &str = "/weir-node/opens-metrics";
/// How long a client waits before it comes again, in seconds.
const RETRY_SECS: u64 = 1;

/// A request that a proven node has passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct PassedOn {
    /// The client's address.
    pub(super) client: IpAddr,
}

/// Whether a request was passed on by a node: once the owner has vetted it, by one that has proven itself.
pub(super) fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(NODE)
}

/// Takes away what only nodes may say.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in [NODE, PROOF, CLIENT] {
        headers.remove(name);
    }
}

/// 503, and when to come again.
pub(super) fn unavailable(why: &str) -> Response {
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": why}))).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECS));
    response
}
