//! Envoy's configuration for a catalogue, made from the shipped `envoy/sidecar.yaml`: so its listener, limits and filter are those
//! that every other page describes.
use serde_json::{Value, json};
use weir_filter::config::Config as FilterConfig;
use weir_filter::config::routing::{Model, Provider};
use weir_filter::routing::CHAIN_HEADER;

use super::{Address, Gateway, Key};

/// The shipped file.
const SHIPPED: &str = include_str!("../../../../../envoy/sidecar.yaml");

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// One read of a connection, and more, in bytes.
const READ_BYTES: u64 = 1 << 20;

/// The most requests, connections and retries at once for each provider. Envoy's own 3 retries would leave most clients of a
/// provider that fails without an answer; weir's breaker bounds them.
const AT_ONCE_MAX: u32 = 10_000;

/// On what another provider is tried: never once a byte has gone to the client.
const RETRY_ON: &str = "5xx,gateway-error,reset,connect-failure,refused-stream,retriable-status-codes";

pub(super) fn of(gateway: &Gateway, chains: &[String], config: &FilterConfig) -> Value {
    let FilterConfig { providers, models, body_max_bytes, .. } = config;
    let mut envoy: Value = serde_saphyr::from_str(SHIPPED).unwrap_or_default();
    envoy["admin"]["address"] = socket(&gateway.admin.ip().to_string(), gateway.admin.port());
    let listener = &mut envoy["static_resources"]["listeners"][0];
    listener["address"] = socket(&gateway.listen.ip().to_string(), gateway.listen.port());
    // What an upstream filter may hold of a request goes by the connection; what a filter in front of the routes may, by the host.
    let connection = body_max_bytes.saturating_add(READ_BYTES);
    listener["per_connection_buffer_limit_bytes"] = json!(connection);
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let wasm = wasm_filter(gateway, &mut manager["http_filters"][0]["typed_config"], &gateway.filter);
    manager["http_filters"][0]["typed_config"] = wasm.clone();
    let host = &mut manager["route_config"]["virtual_hosts"][0];
    host["request_body_buffer_limit"] = json!(body_max_bytes.saturating_add(connection).saturating_add(READ_BYTES));
    let mut routes: Vec<Value> = chains.iter().map(|chain| route(chain, gateway.silence_max_seconds)).collect();
    // A chain that has no route must not go where requests without a choice do.
    routes.push(json!({"match": {"prefix": "/", "headers": [{"name": CHAIN_HEADER, "present_match": true}]},
        "direct_response": {"status": 503}}));
    routes.push(match &gateway.upstream {
        Some(_) => json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}),
        None => json!({"match": {"prefix": "/"}, "direct_response": {"status": 404}}),
    });
    host["routes"] = json!(routes);
    let mut clusters: Vec<Value> =
        providers.iter().filter_map(|provider| provider_cluster(gateway, provider, models, &wasm)).collect();
    clusters.extend(gateway.upstream.as_ref().map(|address| cluster("upstream", address)));
    clusters.push(cluster("weir", &gateway.weir));
    envoy["static_resources"]["clusters"] = json!(clusters);
    let secrets: Vec<Value> =
        gateway.providers.iter().filter_map(|(name, reached)| secret(name, reached.key.as_ref()?)).collect();
    envoy["static_resources"]["secrets"] = json!(secrets);
    envoy
}

/// The shipped filter with the module and a configuration put in.
fn wasm_filter(gateway: &Gateway, shipped: &mut Value, configuration: &Value) -> Value {
    let mut filter = shipped.take();
    filter["config"]["vm_config"]["code"] = json!({"local": {"filename": gateway.wasm}});
    filter["config"]["configuration"]["value"] = configuration.clone();
    filter
}

/// The route of a chain: its providers in their order, each tried once.
fn route(chain: &str, silence_max_seconds: u64) -> Value {
    let names: Vec<&str> = chain.split('.').collect();
    let group = |name: &&str| json!({"name": name, "clusters": [{"cluster_name": name, "weight": 1}]});
    json!({
        "name": chain,
        "match": {"prefix": "/", "headers": [{"name": CHAIN_HEADER, "string_match": {"exact": chain}}]},
        "request_headers_to_remove": [CHAIN_HEADER],
        "route": {
            "timeout": "0s",
            "inline_cluster_specifier_plugin": {"extension": {
                "name": "envoy.router.cluster_specifier_plugin.priority_group",
                "typed_config": {
                    "@type": format!("{TYPES}.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"),
                    "priority_groups": names.iter().map(group).collect::<Vec<_>>()}}},
            "retry_policy": {
                "refresh_cluster_on_retry": true, "retry_on": RETRY_ON, "retriable_status_codes": [429],
                "num_retries": names.len() - 1, "per_try_idle_timeout": format!("{silence_max_seconds}s"),
                "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.005s"}}},
    })
}

/// A provider's cluster: the filter in the role `upstream`, then the key, then the wire.
fn provider_cluster(gateway: &Gateway, provider: &Provider, models: &[Model], wasm: &Value) -> Option<Value> {
    let reached = gateway.providers.get(&provider.name)?;
    let mut filter = wasm.clone();
    let own: Vec<&Model> = models.iter().filter(|model| model.provider == provider.name).collect();
    filter["config"]["name"] = json!(format!("weir-{}", provider.name));
    filter["config"]["configuration"]["value"] = json!({"version": 1, "role": "upstream", "provider": provider, "models": own,
               "silence_max_seconds": gateway.silence_max_seconds});
    let mut filters = vec![json!({"name": "weir", "typed_config": filter})];
    // The filter takes every key off before it puts the tenant's own in, so that one that is there is the tenant's.
    let overwrites = provider.tenant_key.is_none();
    filters.extend(reached.key.as_ref().map(|key| injector(&provider.name, key, overwrites)));
    filters.push(json!({"name": "envoy.filters.http.upstream_codec",
        "typed_config": {"@type": format!("{TYPES}.filters.http.upstream_codec.v3.UpstreamCodec")}}));
    let mut cluster = cluster(&provider.name, &reached.address);
    cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {"http_protocol_options": {}}, "http_filters": filters}});
    cluster["circuit_breakers"] = json!({"thresholds": [{"max_connections": AT_ONCE_MAX, "max_pending_requests": AT_ONCE_MAX,
        "max_requests": AT_ONCE_MAX, "max_retries": AT_ONCE_MAX}]});
    if reached.tls {
        cluster["transport_socket"] = tls(&reached.address);
    }
    Some(cluster)
}

fn tls(address: &Address) -> Value {
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": format!("{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext"),
        "sni": address.host, "auto_sni_san_validation": true,
        "common_tls_context": {"validation_context": {"trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"}}}}})
}

fn injector(name: &str, key: &Key, overwrites: bool) -> Value {
    let mut generic = json!({
        "@type": format!("{TYPES}.http.injected_credentials.generic.v3.Generic"),
        "credential": {"name": name}, "header": key.header});
    if let Some(prefix) = &key.prefix {
        generic["header_value_prefix"] = json!(prefix);
    }
    json!({"name": "envoy.filters.http.credential_injector", "typed_config": {
        "@type": format!("{TYPES}.filters.http.credential_injector.v3.CredentialInjector"),
        "overwrite": overwrites,
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic}}})
}

fn secret(name: &str, key: &Key) -> Option<Value> {
    let source = match (&key.file, &key.env) {
        (Some(file), _) => json!({"filename": file}),
        (None, Some(variable)) => json!({"environment_variable": variable}),
        (None, None) => return None,
    };
    Some(json!({"name": name, "generic_secret": {"secret": source}}))
}

fn cluster(name: &str, address: &Address) -> Value {
    json!({
        "name": name, "connect_timeout": "2s", "type": "STRICT_DNS",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": socket(&address.host, address.port)}}]}]},
    })
}

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}
