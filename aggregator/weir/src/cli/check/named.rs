//! Checks names that a gateway's file and the filter's configuration in it must share: of routes, and of variables with secrets.
use serde_json::Value;

use super::Finding;
use super::embedded::{Embedded, Found, Host, join, walk};

/// All problems of the filters `found` in a document.
pub(super) fn findings(document: &Value, found: &[Found<'_>]) -> Vec<Finding> {
    let mut findings = routes(document, found);
    findings.extend(found.iter().flat_map(|filter| withheld(filter)));
    findings
}

/// Finds routes of the gateway that name none of weir's, and guards that no route of the gateway leads to.
fn routes(document: &Value, found: &[Found<'_>]) -> Vec<Finding> {
    let configs: Vec<(&Found<'_>, Value)> =
        found.iter().filter_map(|filter| Some((filter, filter.config.as_ref().ok()?.value()))).collect();
    // What another file's filter knows, nobody can tell.
    if configs.is_empty() || configs.len() < found.len() {
        return Vec::new();
    }
    let routes = || configs.iter().flat_map(|(filter, config)| named(filter, config));
    let (mut named_by_gateway, mut findings, mut has_routes) = (Vec::new(), Vec::new(), false);
    walk(document, "", &mut |path, value| {
        has_routes |= value.get("virtual_hosts").is_some();
        let Some(name) = value["filter_metadata"]["weir"]["route"].as_str() else { return };
        named_by_gateway.push(name);
        if !routes().any(|(known, ..)| known == name) {
            let problem = format!(
                "weir has no route {name:?}: nothing of what it was to say applies, and where another route guards or seals, each \
                 request is refused"
            );
            findings.push(Finding::error(join(path, "filter_metadata.weir.route"), problem));
        }
    });
    let is_unreached =
        |(name, route, _): &(&str, &Value, String)| keeps_apart(route) && !named_by_gateway.contains(name);
    for (name, _, path) in routes().filter(|route| has_routes && is_unreached(route)) {
        let problem = format!(
            "it has no match, and no route of the gateway names it (metadata: {{filter_metadata: {{weir: {{route: {name}}}}}}}), so it \
             keeps nothing apart"
        );
        findings.push(Finding::warning(path, problem));
    }
    findings
}

/// A filter's routes that have a name: it, the route, and its path in the document. Those with a match need no gateway's route.
fn named<'c>(filter: &Found<'_>, config: &'c Value) -> Vec<(&'c str, &'c Value, String)> {
    let is_text = matches!(filter.config, Ok(Embedded::Text(_)));
    let routes = config["routes"].as_array().into_iter().flatten().enumerate();
    let place = |at: usize| if is_text { filter.path.clone() } else { join(&filter.path, &format!("routes[{at}]")) };
    routes.filter_map(|(at, route)| Some((route["name"].as_str()?, route, place(at)))).collect()
}

/// Whether a route that has no match keeps tenants apart.
fn keeps_apart(route: &Value) -> bool {
    let seals = || route["permit"].as_object().is_some_and(|permit| permit.values().any(|access| access == "sealed"));
    route.get("match").is_none() && (route.get("guard").is_some_and(Value::is_object) || seals())
}

/// Finds secrets that the filter takes from a variable that the gateway does not hand over.
fn withheld(filter: &Found<'_>) -> Vec<Finding> {
    let Ok(config) = &filter.config else { return Vec::new() };
    let Some((handed, remedy)) = handed_over(filter) else { return Vec::new() };
    let (value, mut findings) = (config.value(), Vec::new());
    walk(&value, "", &mut |path, value| {
        let Some(name) = value.get("env").and_then(Value::as_str) else { return };
        if !handed.iter().any(|known| known == name) {
            let problem =
                format!("the gateway does not hand {name} over, so weir refuses to start: name it in {remedy}");
            findings.push(match config {
                Embedded::Structure(_) => Finding::error(join(&filter.path, path), problem),
                Embedded::Text(_) => Finding::error(filter.path.clone(), format!("{path}: {problem}")),
            });
        }
    });
    findings
}

/// The variables that the gateway hands to the filter, and where they are named; None where a file does not say.
fn handed_over(filter: &Found<'_>) -> Option<(Vec<String>, &'static str)> {
    let texts = |list: &Value| {
        list.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    match filter.host {
        Host::Envoy => {
            let variables = &filter.holder["vm_config"]["environment_variables"];
            let mut names: Vec<String> = texts(&variables["host_env_keys"]);
            names.extend(variables["key_values"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
            Some((names, "vm_config.environment_variables.host_env_keys"))
        }
        Host::Istio => {
            let variables = filter.holder["vmConfig"]["env"].as_array().into_iter().flatten();
            Some((variables.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect(), "vmConfig.env"))
        }
        Host::EnvoyGateway => Some((texts(&filter.holder["env"]["hostKeys"]), "env.hostKeys")),
        Host::Kong => None,
    }
}
