//! Checks that the gateway knows the clusters that weir calls: one that is misspelt loses usage in silence until somebody looks.
use serde_json::Value;

use super::Finding;
use super::embedded::{Embedded, Found, Host, join, walk};

/// A cluster that weir's configuration names: the field, the name, and what does not work without it.
struct Named {
    field: String,
    cluster: String,
    loss: &'static str,
}

/// All clusters that the filters `found` name and the gateway does not have.
pub(super) fn findings(document: &Value, found: &[Found<'_>]) -> Vec<Finding> {
    let known = all_of_envoy(document);
    let added = added_by_istio(document);
    let mut findings = Vec::new();
    for filter in found {
        let Ok(config) = &filter.config else { continue };
        for named in named(&config.value()) {
            let path = match config {
                Embedded::Structure(_) => join(&filter.path, &named.field),
                Embedded::Text(_) => filter.path.clone(),
            };
            findings.extend(match filter.host {
                Host::Envoy => known.as_ref().and_then(|known| missing(&named, known, path)),
                Host::Istio => not_istios(&named, &added, path),
                Host::Kong => without_port(&named, path),
                Host::EnvoyGateway => None,
            });
        }
    }
    findings
}

fn named(config: &Value) -> Vec<Named> {
    let mut named = Vec::new();
    let mut add = |field: String, value: &Value, loss| {
        if let Some(cluster) = value.as_str() {
            named.push(Named { field, cluster: cluster.to_owned(), loss });
        }
    };
    add("events.cluster".to_owned(), &config["events"]["cluster"], "no usage would arrive, so nothing would be billed");
    add(
        "directory.cluster".to_owned(),
        &config["directory"]["cluster"],
        "no tenants would come, so every request would be answered 503",
    );
    add(
        "leases.cluster".to_owned(),
        &config["leases"]["cluster"],
        "no lease would come, so each limit of the fleet and each pool would go on as its `unreachable` says",
    );
    for (at, source) in config["identity"]["sources"].as_array().into_iter().flatten().enumerate() {
        let field = format!("identity.sources[{at}].jwt.jwks.cluster");
        add(field, &source["jwt"]["jwks"]["cluster"], "no keys would come, so its tokens would be answered 503");
    }
    named
}

/// The names of all clusters of a bootstrap; None where Envoy also gets clusters from elsewhere, or the document is a part only.
fn all_of_envoy(document: &Value) -> Option<Vec<String>> {
    let resources = document.get("static_resources")?;
    let dynamic = document.get("dynamic_resources");
    if dynamic
        .is_some_and(|dynamic| dynamic.get("cds_config").is_some() || dynamic.get("cds_resources_locator").is_some())
    {
        return None;
    }
    let names = resources["clusters"].as_array().into_iter().flatten().filter_map(|cluster| cluster["name"].as_str());
    Some(names.map(str::to_owned).collect())
}

/// The names of clusters that an `EnvoyFilter` adds.
fn added_by_istio(document: &Value) -> Vec<String> {
    let mut names = Vec::new();
    walk(document, "", &mut |_, value| {
        if value.get("applyTo").is_some_and(|place| place == "CLUSTER") {
            names.extend(value["patch"]["value"]["name"].as_str().map(str::to_owned));
        }
    });
    names
}

fn missing(named: &Named, known: &[String], path: String) -> Option<Finding> {
    let Named { cluster, loss, .. } = named;
    (!known.contains(cluster)).then(|| {
        let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Finding::error(path, format!("there is no cluster {cluster:?} in this file: {loss}. Its clusters: {there}"))
    })
}

fn not_istios(named: &Named, added: &[String], path: String) -> Option<Finding> {
    let Named { cluster, loss, .. } = named;
    let is_istios = cluster.starts_with("outbound|") && cluster.split('|').count() == 4;
    (!is_istios && !added.contains(cluster)).then(|| {
        let problem =
            format!("Istio calls a service's cluster outbound|PORT||HOST; if there is none called {cluster:?}, {loss}");
        Finding::warning(path, problem)
    })
}

fn without_port(named: &Named, path: String) -> Option<Finding> {
    let Named { field, cluster, loss } = named;
    let has_port = cluster.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    // A key set has an address with a scheme, which says the port.
    (!has_port && !field.contains("jwks")).then(|| {
        Finding::error(path, format!("Kong needs host:port here, such as 127.0.0.1:8090: with {cluster:?} {loss}"))
    })
}
