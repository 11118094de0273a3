//! The fields of the configuration. Unknown fields are errors; optional fields have defaults that run.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_contract::directory::{Revoked, Tenant};
use weir_contract::flags::Flags;

pub mod identity;

pub use identity::{
    ApiKey, AtStart, ClaimPath, Directory, Identity, Jwks, Jwt, JwtKey, Source, Subdomain, TrustedHeader, UnknownTenant,
};

use super::duration::Span;
pub use super::plans::pools::{Pool, PoolBucket};
pub use super::plans::{
    AskForUsage, Bucket, ClassMatch, ClassRule, Count, HeaderMatch, Limit, LimitHeaders, Match, Models, OnAnswers,
    Otherwise, Per, Plan, Route, RouteUsage, Scope, Unreachable,
};
pub use super::routing::{Model, Provider, Routing};
use super::secret::Secret;

/// The whole configuration of the filter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of this format: 1.
    pub version: u32,
    /// `enforce` refuses; `observe` records what it would refuse.
    #[serde(default)]
    pub mode: Mode,
    /// This gateway's name in the events' source: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    #[serde(default = "default_gateway")]
    pub gateway: String,
    /// How tenants identify themselves.
    pub identity: Identity,
    /// The tenants, without `directory`; with it and `directory.at_start: inline`, those until it answers.
    #[serde(default)]
    pub tenants: Vec<Tenant>,
    /// Tokens and keys to refuse although their signature is valid; beside `tenants` only.
    #[serde(default)]
    pub revoked: Revoked,
    /// The directory to poll the tenants from.
    #[serde(default)]
    pub directory: Option<Directory>,
    /// Where limits with `scope: fleet` and `pools` get their leases. Absent: from the server of `directory`, with its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leases: Option<Leases>,
    /// The plans, by name.
    pub plans: BTreeMap<String, Plan>,
    /// The quotas of provider accounts, by name: routes say which of them their requests draw from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, Pool>,
    /// The feature flags that routing and plans refer to, by name. The rules that `weir serve` has for a flag of the same name and
    /// type stand in the place of those here; without `directory` these decide.
    #[serde(default, skip_serializing_if = "Flags::is_empty")]
    pub flags: Flags,
    /// Tells the upstream the flags of each request, in `x-weir-flags`: these, and those of `weir serve`. A route's own `flags` goes
    /// before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flags_header: bool,
    /// Rules for matching requests; the first matching route applies.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Rules that choose the class of a request, ahead of weir's defaults.
    #[serde(default)]
    pub classification: Vec<ClassRule>,
    /// Who serves the models of the catalogue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<Provider>,
    /// The catalogue: models that requests can be sent to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// How a model of the catalogue is chosen for a request. Absent: none is, and requests go where the gateway's routes say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// Holds requests until weir has read their body. `false` for hosts that cannot hold a request (Istio `WasmPlugin`,
    /// Envoy Gateway extension policies); weir then ignores bodies.
    #[serde(default = "default_hold")]
    pub hold: bool,
    /// The largest body that weir reads, in bytes. The gateway must hold more (Envoy: `request_body_buffer_limit` of
    /// the virtual host, one `per_connection_buffer_limit_bytes` above; Kong: `client_body_buffer_size`).
    #[serde(default = "default_body_max_bytes")]
    pub body_max_bytes: u64,
    /// Asks OpenAI streams for their usage where the client has not, and removes the resulting event from the client's stream.
    /// `true` refuses a request whose body weir cannot read strictly enough to add the question; `when_readable` passes it and
    /// estimates its usage; `false` asks for none.
    #[serde(default)]
    pub ask_for_usage: AskForUsage,
    /// What is taken out of answers. Absent: nothing.
    #[serde(default)]
    pub redact: Option<Redact>,
    /// The keys that seal the ids of providers, for routes that say `permit: {files: sealed}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_ids: Option<SealedIds>,
    /// The headers that tell clients what is left of their limits.
    #[serde(default)]
    pub limit_headers: LimitHeaders,
    /// Where usage events go. Without it weir enforces limits and plans, and reports nothing.
    #[serde(default)]
    pub events: Option<Events>,
}

/// The server that divides the limits of the fleet among its gateways.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Leases {
    /// The gateway's name for the aggregator: an Envoy cluster; `host:port` on Kong.
    pub cluster: String,
    /// The path of the endpoint.
    #[serde(default = "default_leases_path")]
    pub path: String,
    /// The `:authority` of the calls.
    #[serde(default = "default_authority")]
    pub authority: String,
    /// The bearer token with the scope `directory`.
    pub token: Secret,
    /// How long one call may take. A lease that is not renewed within a few of these runs out.
    #[serde(default = "default_leases_timeout")]
    pub timeout: Span,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases").field("cluster", &self.cluster).field("path", &self.path).finish_non_exhaustive()
    }
}

/// The keys that seal ids. All gateways in front of one provider account need the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SealedIds {
    /// One key, or two: the first seals, and both open. To rotate, put a new key first; once the old one is gone, ids that it
    /// has sealed are unknown.
    pub keys: Vec<SealingKey>,
}

/// A key that seals ids.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SealingKey {
    /// Its version, 0 to 31: sealed ids name it.
    pub version: u8,
    /// The secret, at least 32 bytes.
    pub secret: Secret,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingKey").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What is taken out of answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Redact {
    /// Identifiers of other tenants: their ids, and the `identifiers` of each. `[redacted]` stands in their place. A route's
    /// own `redact` goes before it.
    #[serde(default)]
    pub identifiers: bool,
    /// The least length of an identifier that is looked for, in bytes: 3 to 64. Shorter ones are words of any text.
    #[serde(default = "default_identifier_min_bytes")]
    pub min_bytes: usize,
}

fn default_identifier_min_bytes() -> usize {
    5
}

/// Whether weir enforces the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Refuses the requests that the plan refuses.
    #[default]
    Enforce,
    /// Passes them and records the refusal. Identity is always enforced.
    Observe,
}

/// The receiver of events, and the queue in front of it.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// The gateway's name for the aggregator: an Envoy cluster; `host:port` on Kong.
    pub cluster: String,
    /// The path of the endpoint.
    #[serde(default = "default_events_path")]
    pub path: String,
    /// The `:authority` of the calls.
    #[serde(default = "default_authority")]
    pub authority: String,
    /// The bearer token with the scope `ingest`.
    pub token: Secret,
    /// How long an event waits for others in its batch.
    #[serde(default = "default_flush")]
    pub flush: Span,
    /// How long one call may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// The most events that a worker queues. A further one leaves as a signed log line.
    #[serde(default = "default_queue_events")]
    pub queue_max_events: usize,
    /// The most bytes of events that a worker queues.
    #[serde(default = "default_queue_bytes")]
    pub queue_max_bytes: usize,
    /// The longest time that an event waits for the aggregator; then it leaves as a signed log line. Without a signing
    /// key it keeps waiting.
    #[serde(default = "default_queue_age")]
    pub queue_max_age: Span,
    /// The key that signs events in logs, at least 32 bytes. Without it an event that finds the queue full is lost, and
    /// counted.
    #[serde(default)]
    pub signing_key: Option<Secret>,
    /// Also offers each usage event, signed, to Envoy's access log: `%FILTER_STATE(wasm.weir_event:PLAIN)%`; on Kong to
    /// its error log. Needs a signing key.
    #[serde(default)]
    pub access_log: bool,
    /// The request header that names a product feature, where neither key nor route does. For analysis only.
    #[serde(default)]
    pub feature_header: Option<String>,
    /// The request header that names the prompt's version. For analysis only.
    #[serde(default)]
    pub prompt_version_header: Option<String>,
    /// The key, at least 32 bytes, of the HMAC that names end users in events. Without it events name no user.
    #[serde(default)]
    pub user_key: Option<Secret>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("cluster", &self.cluster).field("path", &self.path).finish_non_exhaustive()
    }
}

fn default_hold() -> bool {
    true
}

/// A conversation with a few photographs of 5 MB, in base64. The gateway's buffer must hold it.
fn default_body_max_bytes() -> u64 {
    10_000_000
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

fn default_leases_path() -> String {
    "/v1/leases".to_owned()
}

fn default_leases_timeout() -> Span {
    Span::from_secs(2)
}

fn default_timeout() -> Span {
    Span::from_secs(5)
}

/// Ten seconds of traffic at 1,000 requests a second through one worker.
fn default_queue_events() -> usize {
    10_000
}

/// 10,000 events of a kilobyte, and some room. A worker never gives memory back, so the bound is tight.
fn default_queue_bytes() -> usize {
    12 * 1024 * 1024
}

/// Covers an outage of an hour. An event that waits longer is safer in a file than in memory.
fn default_queue_age() -> Span {
    Span::from_secs(3_600)
}
