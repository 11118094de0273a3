//! Checks the settings of an Envoy file that identity depends on.
//!
//! Envoy picks a route before any filter runs, and trusts `X-Forwarded-For` by default. Either would let a client claim
//! what only weir or another gateway may say.
use serde_json::Value;
use weir_filter::head::INJECTED;

use super::embedded::{self, walk};

/// The last part of the connection manager's type name.
const MANAGER: &str = "v3.HttpConnectionManager";

/// All problems: the path in the document, and the remedy.
pub(super) fn problems(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(document, "", &mut |path, value| {
        let kind = value.get("@type").and_then(Value::as_str).unwrap_or_default();
        if kind.ends_with(MANAGER) && holds_weir(value) {
            let problems = routes(value).into_iter().chain(paths(value)).chain(addresses(value));
            let dot = if path.is_empty() { "" } else { "." };
            found.extend(problems.map(|(field, problem)| (format!("{path}{dot}{field}"), problem)));
        }
    });
    found
}

/// Finds routes that match on headers that weir sets. Envoy matches before weir runs, so the client's own header would
/// decide unless it was removed before.
fn routes(manager: &Value) -> Vec<(String, String)> {
    let mut removed = Vec::new();
    walk(&manager["early_header_mutation_extensions"], "", &mut |_, value| {
        removed.extend(value.get("remove").and_then(Value::as_str).map(str::to_ascii_lowercase));
    });
    let mut problems = Vec::new();
    for place in ["route_config", "scoped_routes"] {
        walk(&manager[place], place, &mut |path, value| {
            // Hash policies and rate limits are evaluated after weir has run.
            if ["hash_policy", "rate_limits"].iter().any(|late| path.contains(late)) {
                return;
            }
            let in_match = path.contains(".headers[") || path.contains("cluster_specifier");
            let by_name = value.get("name").filter(|_| in_match).and_then(Value::as_str);
            let by_cluster = value.get("cluster_header").and_then(Value::as_str);
            // The matcher tree's form: HttpRequestHeaderMatchInput.
            let by_input = value.get("header_name").and_then(Value::as_str);
            for name in by_name.into_iter().chain(by_cluster).chain(by_input) {
                let name = name.to_ascii_lowercase();
                if INJECTED.contains(&name.as_str()) && !removed.contains(&name) {
                    let problem = format!(
                        "routes by {name}, which a client can send; add {{remove: {name}}} to \
                         early_header_mutation_extensions, since Envoy picks the route before weir runs"
                    );
                    problems.push((path.to_owned(), problem));
                }
            }
        });
    }
    problems
}

/// Requires normalized paths where a route of Envoy or weir depends on the path, so that each path has one spelling.
fn paths(manager: &Value) -> Vec<(String, String)> {
    let mut by_path = false;
    for place in ["route_config", "scoped_routes"] {
        walk(&manager[place], place, &mut |path, value| {
            let text = |name: &str| value.get(name).and_then(Value::as_str);
            let in_match = path.ends_with(".match");
            let one = |name: &str| in_match && text(name).is_some_and(|text| text != "/");
            by_path |= ["prefix", "path", "path_separated_prefix"].into_iter().any(one);
            by_path |= in_match && (value.get("safe_regex").is_some() || value.get("path_match_policy").is_some());
        });
    }
    by_path |= configs(manager).iter().any(|config| {
        let rules = ["routes", "classification"].into_iter().filter_map(|list| config[list].as_array()).flatten();
        let mut matches = rules.map(|rule| &rule["match"]);
        matches.any(|rule| rule.get("path").is_some() || rule.get("path_prefix").is_some())
    });
    if !by_path {
        return Vec::new();
    }
    let why = "routes go by the path, of which a client may choose another spelling";
    let switches = ["normalize_path", "merge_slashes"].into_iter().filter(|name| manager[*name] != Value::Bool(true));
    let mut problems: Vec<_> = switches.map(|name| (name.to_owned(), format!("set it to true: {why}"))).collect();
    let escaped = "path_with_escaped_slashes_action";
    // Left alone, such a path comes to the filter as it is, which refuses it: all but AWS's names of models, in which a slash
    // is escaped.
    if matches!(manager[escaped].as_str(), None | Some("IMPLEMENTATION_SPECIFIC_DEFAULT")) {
        let choice = "set it to KEEP_UNCHANGED (the filter refuses such paths, except AWS's names of models), REJECT_REQUEST \
                      or UNESCAPE_AND_REDIRECT";
        problems.push((escaped.to_owned(), format!("{choice}: {why}")));
    }
    problems
}

/// A header trusted by its sender's address requires an address that the client cannot forge.
fn addresses(manager: &Value) -> Option<(String, String)> {
    let by_address = configs(manager).iter().any(|config| {
        let sources = config["identity"]["sources"].as_array();
        sources.into_iter().flatten().any(|source| source["header"].get("networks").is_some_and(|list| !list.is_null()))
    });
    let trusts = manager["use_remote_address"] == Value::Bool(true);
    (by_address && !trusts).then(|| {
        let problem = "set it to true: a source of identity believes a header by the client's address, which otherwise is \
                       what X-Forwarded-For says. Behind another proxy say besides how many there are: \
                       xff_num_trusted_hops alone leaves the header to whoever reaches Envoy directly";
        ("use_remote_address".to_owned(), problem.to_owned())
    })
}

/// Returns true if one of its HTTP filters is a Wasm filter with weir's configuration.
fn holds_weir(manager: &Value) -> bool {
    !configs(manager).is_empty()
}

/// The configurations of its weir filters; null for one that is not JSON, which another check reports.
fn configs(manager: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    let filters = embedded::find(&manager["http_filters"]).into_iter();
    found.extend(filters.filter_map(|filter| filter.config.ok()).map(|config| config.value()));
    found
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
            json!({"matcher": {"matcher_tree": {"input": {"typed_config": {"header_name": "x-tenant-plan"}}}}}),
        ] {
            let mut manager = manager(&route, &json!({"api_key": {}}));
            let found = problems(&manager);
            assert!(found.len() == 1 && found[0].1.contains("x-tenant-plan"), "{found:?}");
            manager["early_header_mutation_extensions"] =
                json!([{"typed_config": {"mutations": [{"remove": "x-tenant-plan"}]}}]);
            assert_eq!(problems(&manager), Vec::new());
        }
        for other in [
            json!({"match": {"prefix": "/", "headers": [{"name": "x-version"}]}}),
            json!({"match": {"prefix": "/"}, "route": {"hash_policy": [{"header": {"header_name": "x-tenant-id"}}]}}),
        ] {
            assert!(problems(&manager(&other, &json!({"api_key": {}}))).is_empty(), "{other}");
        }
    }

    #[test]
    fn a_header_believed_by_address_needs_the_connections_own_address() {
        let source = json!({"header": {"header": "x-edge-tenant", "networks": ["10.0.0.0/8"]}});
        let mut as_text = manager(&json!({}), &source);
        let configuration = &mut as_text["http_filters"][0]["typed_config"]["config"]["configuration"];
        *configuration = json!({"@type": super::super::TEXT, "value": configuration["value"].to_string()});
        for mut manager in [manager(&json!({}), &source), as_text] {
            manager["xff_num_trusted_hops"] = json!(1);
            let found = problems(&manager);
            assert!(found.len() == 1 && found[0].0 == "use_remote_address", "{found:?}");
            manager["use_remote_address"] = json!(true);
            assert_eq!(problems(&manager), Vec::new());
        }
    }

    #[test]
    fn where_routes_go_by_the_path_it_has_one_spelling() {
        let mut by_weir = manager(&json!({"match": {"prefix": "/"}}), &json!({"api_key": {}}));
        by_weir["http_filters"][0]["typed_config"]["config"]["configuration"]["value"]["routes"] =
            json!([{"match": {"path": "/healthz"}, "bypass": true}]);
        let by_envoy = manager(&json!({"match": {"prefix": "/admin"}}), &json!({"api_key": {}}));
        for mut manager in [by_weir, by_envoy] {
            let fields: Vec<String> = problems(&manager).into_iter().map(|(field, _)| field).collect();
            assert_eq!(fields, ["normalize_path", "merge_slashes", "path_with_escaped_slashes_action"]);
            manager["normalize_path"] = json!(true);
            manager["merge_slashes"] = json!(true);
            manager["path_with_escaped_slashes_action"] = json!("IMPLEMENTATION_SPECIFIC_DEFAULT");
            assert_eq!(problems(&manager).len(), 1);
            for good in ["KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT"] {
                manager["path_with_escaped_slashes_action"] = json!(good);
                assert_eq!(problems(&manager), Vec::new(), "{good}");
            }
        }
    }
}
