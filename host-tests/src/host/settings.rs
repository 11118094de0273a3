//! The administrator's settings of a gateway.

use std::collections::BTreeSet;

use super::abi::LogLevel;
use super::headers::Headers;
use super::quirks::{Profile, Quirk, Quirks};

/// Envoy's default buffer per stream and direction, in bytes (`per_connection_buffer_limit_bytes`).
pub(crate) const ENVOY_BUFFER_BYTES: usize = 1024 * 1024;

/// nginx's default for a request body in memory, in bytes (`client_body_buffer_size`).
pub(crate) const NGINX_BODY_BUFFER_BYTES: usize = 8 * 1024;

/// The most fields of a header map that ngx_wasm_module hands over.
pub(crate) const NGINX_MAP_FIELDS_MAX: usize = 100;

/// From this many fields on, pseudo fields included, reading a map overwrites the guest's memory.
pub(crate) const NGINX_MAP_FIELDS_FATAL: usize = 103;

/// Envoy's reaction to a VM that trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// 503 until the gateway restarts. Envoy's default.
    FailClosed,
    /// 503 until a new VM starts, about a second later.
    FailReload,
    /// Requests pass unfiltered.
    FailOpen,
}

/// The settings that all VMs of a gateway share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host to imitate.
    pub profile: Profile,
    /// Its quirks: the profile's, unless a test changed them.
    pub quirks: Quirks,
    /// Name of the shared-data namespace.
    pub vm_id: String,
    /// The gateway's own name: `xds.node.id`, `node.id` of the bootstrap.
    pub node_id: String,
    /// Envoy: `allow_on_headers_stop_iteration` of the filter's configuration.
    pub allow_on_headers_stop_iteration: bool,
    /// Envoy: the reaction to a failed VM.
    pub failure_policy: FailurePolicy,
    /// Envoy: the most bytes held per stream and direction; beyond them it answers 413 or 500.
    pub buffer_max_bytes: usize,
    /// Kong: the most bytes of a request body in memory; beyond them it goes to a file.
    pub body_buffer_bytes: usize,
    /// Kong: nginx buffers responses (`proxy_buffering`).
    pub buffers_responses: bool,
    /// Kong: `error_page` catches what nginx answers itself, as in Kong's own template.
    pub has_error_page: bool,
    /// Kong: there is a zone for shared data (`nginx_wasm_shm_kv`).
    pub has_shared_zone: bool,
    /// How many metrics can be defined; one more is an internal failure.
    pub metrics_max: usize,
    /// The answer of `get_log_level`.
    pub log_level: LogLevel,
    /// The seed of every VM's randomness.
    pub seed: u64,
    /// Environment variables that the module sees.
    pub environment: Vec<(String, String)>,
    /// Upstreams that calls cannot reach.
    pub unknown_clusters: BTreeSet<String>,
}

impl Settings {
    /// The defaults of a profile. `allow_on_headers_stop_iteration` is on, because every configuration with a filter
    /// that reads bodies sets it; Envoy's own default is off.
    pub fn of(profile: Profile) -> Self {
        Self {
            profile,
            quirks: Quirks::of(profile),
            vm_id: "weir".into(),
            node_id: "gw-1".into(),
            allow_on_headers_stop_iteration: true,
            failure_policy: FailurePolicy::FailClosed,
            buffer_max_bytes: ENVOY_BUFFER_BYTES,
            body_buffer_bytes: NGINX_BODY_BUFFER_BYTES,
            buffers_responses: true,
            has_error_page: true,
            has_shared_zone: true,
            metrics_max: usize::MAX,
            log_level: LogLevel::Info,
            seed: 0,
            environment: Vec::new(),
            unknown_clusters: BTreeSet::new(),
        }
    }

    /// A peer's fields as this host names them: Envoy in lower case, Kong as an HTTP/1.1 peer writes them.
    pub(crate) fn named_by_peer(&self, headers: Headers) -> Headers {
        if self.quirks.has(Quirk::NamesKeepTheirCase) { headers.in_title_case() } else { headers.in_lower_case() }
    }

    /// A guest's fields as this host names them.
    pub(crate) fn named_by_guest(&self, headers: Headers) -> Headers {
        if self.quirks.has(Quirk::NamesKeepTheirCase) { headers } else { headers.in_lower_case() }
    }
}
