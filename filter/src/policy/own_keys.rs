//! Compiles what routes say about tenants' own keys.
use std::rc::Rc;

use weir_config::ConfigError;
use weir_config::plans::Route;
use weir_config::shape::Config;
use weir_config::tenant_key::TenantKey;
use weir_llm_usage::Provider;

pub use crate::vault::rule::{header_of, names, provider, usual_header};

use crate::vault::rule::{self, OwnKeyRule};

/// Checks what concerns several routes, or more than the routes.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let Config { routes, directory, routing, .. } = config;
    let rules = || routes.iter().enumerate().filter_map(|(at, route)| Some((at, route.tenant_key.as_ref()?)));
    let of_provider = config.providers.iter().position(|provider| provider.tenant_key.is_some());
    if rules().next().is_none()
        && of_provider.is_none()
        && directory.as_ref().is_some_and(|directory| directory.receive_keys_seed.is_some())
    {
        let problem = "no route and no provider has a `tenant_key`, so nothing would use it";
        return Err(ConfigError::new("directory.receive_keys_seed", problem));
    }
    if let Some(at) = of_provider.filter(|_| directory.is_none()) {
        let problem = "tenants' own keys come from weir serve: it needs `directory`";
        return Err(ConfigError::new(format!("providers[{at}].tenant_key"), problem));
    }
    for (at, rule) in rules() {
        if directory.is_none() {
            let problem = "tenants' own keys come from weir serve: it needs `directory`";
            return Err(ConfigError::new(format!("routes[{at}].tenant_key"), problem));
        }
        if routing.is_some() {
            let problem = "with `routing` keys go with providers: give `tenant_key` to those of the catalogue instead";
            return Err(ConfigError::new(format!("routes[{at}].tenant_key"), problem));
        }
        let elsewhere =
            |other: &TenantKey, cluster| other.provider != rule.provider && other.clusters.contains(cluster);
        for cluster in &rule.clusters {
            if let Some((other, _)) = rules().find(|(_, other)| elsewhere(other, cluster)) {
                let problem = format_args!(
                    "routes[{other}] names the cluster {cluster:?} for another provider: whose key is it?"
                );
                return Err(ConfigError::new(format!("routes[{at}].tenant_key.clusters"), problem));
            }
        }
    }
    Ok(())
}

/// What the route does; None where it says nothing of tenants' own keys. The error is the field and its problem.
pub(super) fn compile(
    route: &Route,
    provider: Option<Provider>,
) -> Result<Option<Rc<OwnKeyRule>>, (&'static str, String)> {
    let Some(key) = &route.tenant_key else { return Ok(None) };
    let error = |field, problem: &str| Err((field, problem.to_owned()));
    let of = rule::provider(&key.provider).map_err(|problem| ("tenant_key.provider", problem))?;
    if provider.is_some_and(|provider| provider != of) {
        return error("tenant_key.provider", "the route's `provider` is another one");
    }
    if key.clusters.is_empty() || key.clusters.iter().any(String::is_empty) {
        return error("tenant_key.clusters", "name the clusters that lead to the provider");
    }
    if route.bypass || route.readiness || route.guard.is_some() {
        return error("tenant_key", "not beside bypass, readiness or guard: it is a route to a model provider");
    }
    let header = key.header.unwrap_or(usual_header(of));
    let clusters = key.clusters.iter().map(|cluster| cluster.as_str().into()).collect();
    Ok(Some(Rc::new(OwnKeyRule { provider: of, clusters, header, required: key.required })))
}
