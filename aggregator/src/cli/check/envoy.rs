//! What an Envoy file must say around the filter, for identity to hold.
//!
//! Envoy picks a route before any filter runs, and it believes `X-Forwarded-For` unless it is told not to: both would let a
//! client speak for itself where only weir or another gateway may.
use serde_json::Value;
use weir_filter::head::INJECTED;

/// The last part of the connection manager's type.
const MANAGER: &str = "v3.HttpConnectionManager";

/// Every problem, with its path in the document.
pub(super) fn problems(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(document, "", &mut |path, value| {
        let kind = value.get("@type").and_then(Value::as_str).unwrap_or_default();
        if kind.ends_with(MANAGER) && holds_weir(value) {
            found.extend(routes(value).into_iter().map(|problem| format!("{path}.{problem}")));
            found.extend(addresses(value).map(|problem| format!("{path}.{problem}")));
        }
    });
    found
}

/// Routing by what weir injects is routing by what the client sent, unless that was taken out before.
fn routes(manager: &Value) -> Vec<String> {
    let mut removed = Vec::new();
    walk(&manager["early_header_mutation_extensions"], "", &mut |_, value| {
        removed.extend(value.get("remove").and_then(Value::as_str).map(str::to_ascii_lowercase));
    });
    let mut problems = Vec::new();
    for place in ["route_config", "scoped_routes"] {
        walk(&manager[place], place, &mut |path, value| {
            let in_match = path.contains(".headers[") || path.contains("cluster_specifier");
            let by_name = value.get("name").filter(|_| in_match).and_then(Value::as_str);
            let by_cluster = value.get("cluster_header").and_then(Value::as_str);
            for name in by_name.into_iter().chain(by_cluster) {
                let name = name.to_ascii_lowercase();
                if INJECTED.contains(&name.as_str()) && !removed.contains(&name) {
                    problems.push(format!(
                        "{path}: routes by {name}, which a client can send; add {{remove: {name}}} to \
                         early_header_mutation_extensions, since Envoy picks the route before weir runs"
                    ));
                }
            }
        });
    }
    problems
}

/// A header that is believed by its sender's address needs an address that the sender cannot write himself.
fn addresses(manager: &Value) -> Option<String> {
    let mut by_address = false;
    walk(&manager["http_filters"], "", &mut |path, value| {
        by_address |= path.ends_with(".header") && value.get("networks").is_some_and(|list| !list.is_null());
    });
    let trusts = manager["use_remote_address"] == Value::Bool(true);
    (by_address && !trusts).then(|| {
        "use_remote_address: set it to true: a source of identity believes a header by the client's address, which \
         otherwise is what X-Forwarded-For says"
            .to_owned()
    })
}

/// Whether one of its HTTP filters is a Wasm filter with weir's configuration.
fn holds_weir(manager: &Value) -> bool {
    let mut holds = false;
    walk(&manager["http_filters"], "", &mut |_, value| holds |= super::of_envoy(value).is_some());
    holds
}

pub(super) fn walk(value: &Value, path: &str, see: &mut dyn FnMut(&str, &Value)) {
    see(path, value);
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| walk(item, &format!("{path}[{at}]"), see));
        }
        Value::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(name, field)| walk(field, &format!("{path}{dot}{name}"), see));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A connection manager with weir in it, one route, and one source of identity.
    fn manager(route: &Value, source: &Value) -> Value {
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "route_config": {"virtual_hosts": [{"routes": [route]}]},
            "http_filters": [{"name": "weir", "typed_config": {"config": {"vm_config": {}, "configuration": {
                "@type": "type.googleapis.com/google.protobuf.Struct",
                "value": {"version": 1, "identity": {"sources": [source]}, "plans": {}}}}}}],
        })
    }

    #[test]
    fn a_route_by_an_injected_header_needs_its_removal_before() {
        for route in [
            json!({"match": {"prefix": "/", "headers": [{"name": "X-Tenant-Plan", "exact_match": "gold"}]}}),
            json!({"match": {"prefix": "/"}, "route": {"cluster_header": "x-tenant-plan"}}),
        ] {
            let mut manager = manager(&route, &json!({"api_key": {}}));
            let found = problems(&manager);
            assert!(found.len() == 1 && found[0].contains("x-tenant-plan"), "{found:?}");
            manager["early_header_mutation_extensions"] =
                json!([{"typed_config": {"mutations": [{"remove": "x-tenant-plan"}]}}]);
            assert_eq!(problems(&manager), Vec::<String>::new());
        }
        let other = json!({"match": {"prefix": "/", "headers": [{"name": "x-version"}]}});
        assert!(problems(&manager(&other, &json!({"api_key": {}}))).is_empty());
    }

    #[test]
    fn a_header_believed_by_address_needs_the_connections_own_address() {
        let mut manager =
            manager(&json!({}), &json!({"header": {"header": "x-edge-tenant", "networks": ["10.0.0.0/8"]}}));
        let found = problems(&manager);
        assert!(found.len() == 1 && found[0].contains("use_remote_address"), "{found:?}");
        manager["use_remote_address"] = json!(true);
        assert_eq!(problems(&manager), Vec::<String>::new());
    }
}
