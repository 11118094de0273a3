//! Scenarios: a gateway with a filter, requests through it, and what came out.
//!
//! ```no_run
//! use serde_json::json;
//! use weir_host_tests::scenario::{Gateway, ok, post};
//!
//! let gateway = Gateway::envoy().config(json!({"version": 1})).at("2026-11-21T03:14:15Z").start();
//! let reply = gateway
//!     .send(post("/v1/chat/completions").json(&json!({"model": "gpt-4o"})))
//!     .upstream(ok().sse(&["data: {}\n\n", "data: [DONE]\n\n"]));
//! reply.assert_status(200);
//! assert_eq!(reply.upstream_request().header("x-tenant-id"), Some("acme"));
//! ```
//!
//! Nothing happens by itself: the clock stands still until [`Gateway::advance`], ticks fire with [`Gateway::tick`] or
//! [`Gateway::run_for`], and the test answers calls. A trap fails the test at once, a deadlock as soon as the test asks
//! for something that can no longer happen.

mod gateway;
mod message;
mod protobuf;
mod yaml;

pub use gateway::{Call, Config, Gateway, GatewayBuilder, Reply, Sent, WorkerHandle};
pub use message::{Message, Request, Response, delete, get, head, ok, post, put, request, status};

use std::time::Duration;

/// A duration of `seconds` seconds.
pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A duration of `milliseconds` milliseconds.
pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Defines scenarios that run under both profiles, as two tests each: `name::envoy` and `name::kong`.
///
/// ```text
/// on_both_gateways! {
///     fn a_request_without_a_credential_is_refused(gateway) {
///         let gateway = gateway.config(CONFIG).start();
///         gateway.send(get("/v1/models")).reply().assert_status(401);
///     }
/// }
/// ```
#[macro_export]
macro_rules! on_both_gateways {
    ($($(#[$meta:meta])* fn $name:ident($gateway:ident) $body:block)+) => {
        $(
            mod $name {
                #[allow(unused_imports, reason = "a scenario takes what it needs from its file")]
                use super::*;

                fn scenario($gateway: $crate::scenario::GatewayBuilder) $body

                $(#[$meta])*
                #[test]
                fn envoy() {
                    scenario($crate::scenario::Gateway::envoy());
                }

                $(#[$meta])*
                #[test]
                fn kong() {
                    scenario($crate::scenario::Gateway::kong());
                }
            }
        )+
    };
}
