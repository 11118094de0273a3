//! What people write. Unknown fields are errors; what may be left out has a default that runs.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_contract::directory::{Revoked, Tenant};

pub mod identity;

pub use identity::{
    ApiKey, ClaimPath, Directory, Identity, Jwks, Jwt, JwtKey, Source, Subdomain, TrustedHeader, UnknownTenant,
};

use super::duration::Span;
pub use super::plans::{
    Bucket, ClassMatch, ClassRule, Count, HeaderMatch, Limit, LimitHeaders, Match, Models, OnAnswers, Otherwise, Per,
    Plan, Route,
};

/// The whole configuration of the filter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of this format: 1.
    pub version: u32,
    /// Whether limits and plan rules refuse, or only record what they would refuse.
    #[serde(default)]
    pub mode: Mode,
    /// This gateway's name in the events' source: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    #[serde(default = "default_gateway")]
    pub gateway: String,
    /// How tenants prove who they are.
    pub identity: Identity,
    /// The tenants, where no directory is polled.
    #[serde(default)]
    pub tenants: Vec<Tenant>,
    /// Tokens and keys that are refused although their signature is good, where no directory is polled.
    #[serde(default)]
    pub revoked: Revoked,
    /// Where the tenants are polled from, instead of `tenants`.
    #[serde(default)]
    pub directory: Option<Directory>,
    /// The plans by name.
    pub plans: BTreeMap<String, Plan>,
    /// Rules for some requests; the first that matches counts.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Classes for some requests, beside those that weir knows.
    #[serde(default)]
    pub classification: Vec<ClassRule>,
    /// Whether requests wait at the gateway until their body has been read. Off for hosts that cannot hold a request
    /// (Istio `WasmPlugin`, Envoy Gateway extension policies): nothing is known of bodies then.
    #[serde(default = "default_hold")]
    pub hold: bool,
    /// The largest body that is read, in bytes. Keep it below the gateway's own buffer (Envoy:
    /// `per_connection_buffer_limit_bytes`; Kong: `client_body_buffer_size`).
    #[serde(default = "default_body_max_bytes")]
    pub body_max_bytes: u64,
    /// Whether OpenAI streams are asked to end with their usage where the client has not asked. What comes of it is taken
    /// out of the stream again.
    #[serde(default = "default_ask_for_usage")]
    pub ask_for_usage: bool,
    /// Which headers tell clients how their limits stand.
    #[serde(default)]
    pub limit_headers: LimitHeaders,
    /// Where usage events go. Without it usage is read and limits are kept, and nothing is reported.
    #[serde(default)]
    pub events: Option<Events>,
}

/// Whether the plan is enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Refuse what the plan refuses.
    #[default]
    Enforce,
    /// Let it pass and record it. Identity is never waived.
    Observe,
}

/// Where events go, and how.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// The gateway's name for the aggregator: an Envoy cluster; `host:port` on Kong.
    pub cluster: String,
    /// The path there.
    #[serde(default = "default_events_path")]
    pub path: String,
    /// The `:authority` of the calls.
    #[serde(default = "default_authority")]
    pub authority: String,
    /// The bearer token with the scope `ingest`.
    pub token: String,
    /// How long an event waits for company.
    #[serde(default = "default_flush")]
    pub flush: Span,
    /// How long a call may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// How many events a worker holds at most. One more leaves as a signed log line.
    #[serde(default = "default_queue_events")]
    pub queue_max_events: usize,
    /// How many bytes of events a worker holds at most.
    #[serde(default = "default_queue_bytes")]
    pub queue_max_bytes: usize,
    /// How long an event waits for the aggregator at most; then it leaves as a signed log line. Without a signing key it
    /// waits on.
    #[serde(default = "default_queue_age")]
    pub queue_max_age: Span,
    /// The key that signs events in logs, at least 32 bytes. Without it an event that finds no room is lost, and counted.
    #[serde(default)]
    pub signing_key: Option<String>,
    /// Whether each usage event is also left, signed, for Envoy's access log: `%FILTER_STATE(wasm.weir_event:PLAIN)%`; on
    /// Kong in its error log. Needs a signing key.
    #[serde(default)]
    pub access_log: bool,
    /// The request header that names a product feature, where neither key nor route does. For analysis only.
    #[serde(default)]
    pub feature_header: Option<String>,
    /// The request header that names the prompt's version. For analysis only.
    #[serde(default)]
    pub prompt_version_header: Option<String>,
    /// The key, at least 32 bytes, under which end users are told in events. Without it they are not told at all.
    #[serde(default)]
    pub user_key: Option<String>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("cluster", &self.cluster).field("path", &self.path).finish_non_exhaustive()
    }
}

fn default_hold() -> bool {
    true
}

/// Below Envoy's buffer of 1 MiB, which would answer 413.
fn default_body_max_bytes() -> u64 {
    1_000_000
}

/// Without it a stream's usage is only estimated.
fn default_ask_for_usage() -> bool {
    true
}

fn default_gateway() -> String {
    "gateway".to_owned()
}

fn default_events_path() -> String {
    "/v1/events".to_owned()
}

fn default_authority() -> String {
    "weir".to_owned()
}

fn default_flush() -> Span {
    Span::from_secs(1)
}

fn default_timeout() -> Span {
    Span::from_secs(5)
}

/// Ten seconds of 1,000 requests a second through one worker.
fn default_queue_events() -> usize {
    10_000
}

/// 10,000 events of a kilobyte, and some room; a worker's memory is never given back.
fn default_queue_bytes() -> usize {
    12 * 1024 * 1024
}

/// An outage of an hour heals by itself; what waits longer is safer in a file than in memory.
fn default_queue_age() -> Span {
    Span::from_secs(3_600)
}
