//! Envoy's configuration for a catalogue as patches of another one's: Istio's `EnvoyFilter`, and Envoy Gateway's
//! `EnvoyPatchPolicy` with an `EnvoyProxy`.
//!
//! Both take what [`super::bootstrap`] makes apart: settings of the connection manager, the filter, routes, clusters, secrets. Each patch
//! puts one of them where the whole configuration has it. Routes of chains go before those that are there, and behind them
//! the one that answers a chain without a route.
use serde_json::{Map, Value, json};

use super::{EnvoyGatewayPlace, IstioPlace};

/// The types of Envoy's resources, as Envoy Gateway names them.
const CONFIG: &str = "type.googleapis.com/envoy.config";

/// Members of the connection manager that the other configuration has of its own.
const THEIRS: [&str; 4] = ["@type", "stat_prefix", "route_config", "http_filters"];

/// What the patches are made of.
struct Parts<'a> {
    /// Settings of the listener.
    listener: Value,
    /// Settings of the connection manager.
    manager: Map<String, Value>,
    manager_type: &'a Value,
    filter: &'a Value,
    /// Settings of the virtual host.
    host: Value,
    /// Routes by a header, in their order: the last one answers a chain without a route.
    routes: Vec<&'a Value>,
    clusters: &'a [Value],
    /// What stands in the bootstrap of a proxy: statistics' tags, secrets.
    bootstrap: Value,
}

impl<'a> Parts<'a> {
    fn of(envoy: &'a Value) -> Option<Self> {
        let listener = envoy.pointer("/static_resources/listeners/0")?;
        let manager = listener.pointer("/filter_chains/0/filters/0/typed_config")?;
        let host = manager.pointer("/route_config/virtual_hosts/0")?;
        let own = manager.as_object()?.iter().filter(|(name, _)| !THEIRS.contains(&name.as_str()));
        let has_header = |route: &&Value| route.pointer("/match/headers").is_some();
        Some(Parts {
            listener: json!({"per_connection_buffer_limit_bytes": listener["per_connection_buffer_limit_bytes"]}),
            manager: own.map(|(name, value)| (name.clone(), value.clone())).collect(),
            manager_type: &manager["@type"],
            filter: manager.pointer("/http_filters/0")?,
            host: json!({"request_body_buffer_limit": host["request_body_buffer_limit"]}),
            routes: host["routes"].as_array()?.iter().filter(has_header).collect(),
            clusters: envoy.pointer("/static_resources/clusters")?.as_array()?,
            bootstrap: json!({
                "stats_config": envoy["stats_config"],
                "static_resources": {"secrets": envoy["static_resources"]["secrets"]},
            }),
        })
    }
}

/// An `EnvoyFilter` of Istio.
pub(super) fn istio(envoy: &Value, place: &IstioPlace) -> Option<Value> {
    let parts = Parts::of(envoy)?;
    let manager =
        json!({"listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}});
    let mut router = manager.clone();
    router["listener"]["filterChain"]["filter"]["subFilter"] = json!({"name": "envoy.filters.http.router"});
    let mut settings = Value::Object(parts.manager);
    settings["@type"] = parts.manager_type.clone();
    let mut patches = vec![
        patch("LISTENER", json!({}), "MERGE", &parts.listener),
        patch("NETWORK_FILTER", manager, "MERGE", &json!({"typed_config": settings})),
        patch("VIRTUAL_HOST", json!({}), "MERGE", &parts.host),
        patch("HTTP_FILTER", router, "INSERT_BEFORE", parts.filter),
    ];
    // Each goes to the front, so that the last of them ends there.
    patches.extend(parts.routes.iter().rev().map(|route| patch("HTTP_ROUTE", json!({}), "INSERT_FIRST", route)));
    patches.extend(parts.clusters.iter().map(|cluster| patch("CLUSTER", json!({}), "ADD", cluster)));
    // Takes effect when the proxy starts.
    patches.push(patch("BOOTSTRAP", json!({}), "MERGE", &parts.bootstrap));
    Some(json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "spec": {"workloadSelector": {"labels": place.labels}, "configPatches": patches},
    }))
}

fn patch(to: &str, mut matches: Value, operation: &str, value: &Value) -> Value {
    if to != "BOOTSTRAP" {
        matches["context"] = json!("GATEWAY");
    }
    json!({"applyTo": to, "match": matches, "patch": {"operation": operation, "value": value}})
}

/// An `EnvoyProxy` and an `EnvoyPatchPolicy` of Envoy Gateway, as one list.
pub(super) fn envoy_gateway(envoy: &Value, place: &EnvoyGatewayPlace) -> Option<Value> {
    let parts = Parts::of(envoy)?;
    let EnvoyGatewayPlace { name, namespace, gateway, listener } = place;
    let resource = format!("{namespace}/{gateway}/{listener}");
    let add = |kind: &str, of: &str, path: &str, value: &Value| json!({"type": format!("{CONFIG}.{kind}"), "name": of, "operation": {"op": "add", "path": path, "value": value}});
    let manager = "/default_filter_chain/filters/0/typed_config";
    let mut patches = Vec::new();
    for (field, value) in parts.listener.as_object()? {
        patches.push(add("listener.v3.Listener", &resource, &format!("/{field}"), value));
    }
    for (field, value) in &parts.manager {
        patches.push(add("listener.v3.Listener", &resource, &format!("{manager}/{field}"), value));
    }
    patches.push(add("listener.v3.Listener", &resource, &format!("{manager}/http_filters/0"), parts.filter));
    for (field, value) in parts.host.as_object()? {
        patches.push(add("route.v3.RouteConfiguration", &resource, &format!("/virtual_hosts/0/{field}"), value));
    }
    for route in parts.routes.iter().rev() {
        patches.push(add("route.v3.RouteConfiguration", &resource, "/virtual_hosts/0/routes/0", route));
    }
    for cluster in parts.clusters {
        patches.push(add("cluster.v3.Cluster", cluster["name"].as_str()?, "", cluster));
    }
    let target = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway});
    let version = "gateway.envoyproxy.io/v1alpha1";
    let metadata = json!({"name": name, "namespace": namespace});
    Some(json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": version, "kind": "EnvoyProxy", "metadata": metadata,
         "spec": {"bootstrap": {"type": "Merge", "value": serde_json::to_string_pretty(&parts.bootstrap).ok()?}}},
        {"apiVersion": version, "kind": "EnvoyPatchPolicy", "metadata": metadata,
         "spec": {"targetRef": target, "type": "JSONPatch", "jsonPatches": patches}},
    ]}))
}
