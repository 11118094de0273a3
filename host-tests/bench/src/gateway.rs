//! One Envoy with a listener for each thing that is compared, so that all are measured in the same process and at the same
//! time.

use crate::cases::{self, Step};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use weir_rig::envoy::Bootstrap;

const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

/// What stands between client and upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nothing.
    None,
    /// A wasm filter that does nothing.
    Empty,
    /// Envoy's own: `jwt_authn` with its cache, a claim to a header, `local_ratelimit` by that header.
    Native,
    /// A Lua filter that copies one header.
    Lua,
    /// Weir, as far as that.
    Weir(Step),
}

impl Variant {
    /// Every one, in the order of reports.
    pub const ALL: [Variant; 9] = [
        Variant::None,
        Variant::Empty,
        Variant::Native,
        Variant::Lua,
        Variant::Weir(Step::Identity),
        Variant::Weir(Step::Limits),
        Variant::Weir(Step::Plan),
        Variant::Weir(Step::Whole),
        Variant::Weir(Step::Unheld),
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Variant::None => "no filter",
            Variant::Empty => "empty wasm filter",
            Variant::Native => "jwt_authn + local_ratelimit",
            Variant::Lua => "Lua, one header",
            Variant::Weir(Step::Identity) => "weir: identity",
            Variant::Weir(Step::Limits) => "weir: + limits",
            Variant::Weir(Step::Plan) => "weir: + class, plan edits",
            Variant::Weir(Step::Whole) => "weir: + usage events (all)",
            Variant::Weir(Step::Unheld) => "weir: all with hold: false",
        }
    }
}

/// What Envoy is set up with.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The built module.
    pub weir: &'a Path,
    /// The empty filter.
    pub empty: &'a Path,
    /// A JSON web key set.
    pub keys: &'a Value,
    /// How many tenants.
    pub tenants: usize,
}

/// What stands at one port.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its filters before the router.
    pub filters: Vec<Value>,
}

/// The listener of a variant, by [`Variant::name`].
#[must_use]
pub fn variant(variant: Variant, setup: &Setup<'_>) -> Listener {
    Listener { name: variant.name().to_owned(), filters: filters(variant, setup) }
}

/// A listener with one filter, which gets this text as its configuration.
#[must_use]
pub fn told(name: &str, code: &Path, configuration: &str) -> Listener {
    let text = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration});
    Listener { name: name.to_owned(), filters: vec![wasm(name, code, &text)] }
}

/// The whole configuration.
///
/// # Panics
/// Never: what it starts from is a literal.
#[must_use]
pub fn bootstrap(listeners: &[Listener], upstream: SocketAddr) -> Bootstrap {
    let listeners: Vec<_> = listeners.iter().map(listener).collect();
    let empty = "static_resources: {listeners: [], clusters: []}";
    let bootstrap = Bootstrap::from_yaml(empty).expect("a literal").edit(|config| {
        config["static_resources"]["listeners"] = json!(listeners);
        config["static_resources"]["clusters"] = json!([cluster("upstream", upstream), cluster("weir", upstream)]);
        config["node"] = json!({"id": "bench", "cluster": "bench"});
    });
    bootstrap.on_free_ports()
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let address = json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    json!({"name": name, "connect_timeout": "2s", "type": "STATIC",
           "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]},
           "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}})
}

fn listener(listener: &Listener) -> Value {
    let mut filters = listener.filters.clone();
    filters.push(json!({"name": "envoy.filters.http.router",
                        "typed_config": {"@type": format!("{TYPES}.http.router.v3.Router")}}));
    let route = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "request_body_buffer_limit": 16_777_216,
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}]}]});
    let manager = json!({"@type": format!("{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench", "use_remote_address": true, "normalize_path": true, "route_config": route, "http_filters": filters});
    json!({"name": listener.name, "filter_chains": [{"filters": [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]})
}

fn filters(variant: Variant, setup: &Setup<'_>) -> Vec<Value> {
    match variant {
        Variant::None => Vec::new(),
        Variant::Empty => vec![wasm("empty", setup.empty, &as_struct(&json!({})))],
        Variant::Native => native(setup.keys),
        Variant::Lua => vec![lua()],
        Variant::Weir(step) => {
            vec![wasm("weir", setup.weir, &as_struct(&cases::filter(step, setup.tenants, setup.keys)))]
        }
    }
}

fn as_struct(configuration: &Value) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration})
}

fn wasm(vm: &str, code: &Path, configuration: &Value) -> Value {
    json!({"name": vm, "typed_config": {"@type": format!("{TYPES}.http.wasm.v3.Wasm"), "config": {
        "name": vm, "failure_policy": "FAIL_RELOAD", "allow_on_headers_stop_iteration": true,
        "vm_config": {"vm_id": vm, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": code}}},
        "configuration": configuration}}})
}

fn lua() -> Value {
    let code = "function envoy_on_request(handle)\n  local value = handle:headers():get(\"user-agent\")\n  \
                handle:headers():replace(\"x-copied\", value or \"\")\nend\n";
    json!({"name": "lua", "typed_config": {"@type": format!("{TYPES}.http.lua.v3.Lua"), "default_source_code": {"inline_string": code}}})
}

fn native(keys: &Value) -> Vec<Value> {
    let provider = json!({"issuer": "https://vectors.example.com", "audiences": ["api"],
        "local_jwks": {"inline_string": json!({"keys": keys}).to_string()}, "jwt_cache_config": {"jwt_cache_size": 4096},
        "claim_to_headers": [{"header_name": "x-tenant-id", "claim_name": "org.id"}]});
    let authn = json!({"@type": format!("{TYPES}.http.jwt_authn.v3.JwtAuthentication"), "providers": {"issuer": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}]});
    let bucket = json!({"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "1s"});
    let actions = json!([{"request_headers": {"header_name": "x-tenant-id", "descriptor_key": "tenant"}}]);
    let whole = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    let limit = json!({"@type": format!("{TYPES}.http.local_ratelimit.v3.LocalRateLimit"), "stat_prefix": "tenants",
        "token_bucket": bucket, "filter_enabled": whole, "filter_enforced": whole, "rate_limits": [{"actions": actions}],
        "descriptors": [{"entries": [{"key": "tenant", "value": "acme"}], "token_bucket": bucket}]});
    vec![
        json!({"name": "envoy.filters.http.jwt_authn", "typed_config": authn}),
        json!({"name": "envoy.filters.http.local_ratelimit", "typed_config": limit}),
    ]
}
