//! Compiles what routes say about tenants' own keys.
use std::rc::Rc;

use weir_config::ConfigError;
use weir_config::plans::Route;
use weir_config::shape::Directory;
use weir_config::tenant_key::{KeyHeader, TenantKey};
use weir_llm_usage::Provider;

/// What a route does with tenants' own keys.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnKeyRule {
    /// The provider whose key it is.
    pub provider: Provider,
    /// The gateway's clusters that lead to it.
    clusters: Box<[Box<str>]>,
    /// The header that carries the key.
    pub header: KeyHeader,
    /// Whether a tenant without a key is refused.
    pub required: bool,
}

impl OwnKeyRule {
    /// Whether a cluster leads to the provider.
    pub(crate) fn leads_to(&self, cluster: &[u8]) -> bool {
        self.clusters.iter().any(|known| known.as_bytes() == cluster)
    }
}

/// The names of providers at which a tenant can have a key of its own.
pub fn names() -> impl Iterator<Item = &'static str> {
    Provider::ALL.into_iter().filter(|provider| *provider != Provider::Bedrock).map(Provider::as_str)
}

/// The provider of a name, where tenants can have keys of their own. The error says why not.
pub fn provider(name: &str) -> Result<Provider, String> {
    match Provider::from_name(name) {
        Some(Provider::Bedrock) => {
            Err("keys of AWS are not sent: they sign each request (SigV4), which weir does not do for tenants"
                .to_owned())
        }
        Some(provider) => Ok(provider),
        None => Err(format!("it is none of: {}", names().collect::<Vec<_>>().join(", "))),
    }
}

/// The header in which a provider expects a key.
pub fn usual_header(provider: Provider) -> KeyHeader {
    match provider {
        Provider::Anthropic => KeyHeader::XApiKey,
        Provider::AzureOpenAi => KeyHeader::ApiKey,
        Provider::Google => KeyHeader::XGoogApiKey,
        _ => KeyHeader::Authorization,
    }
}

/// Checks what concerns several routes, or more than the routes.
pub(super) fn check(routes: &[Route], directory: Option<&Directory>, is_routing: bool) -> Result<(), ConfigError> {
    let rules = || routes.iter().enumerate().filter_map(|(at, route)| Some((at, route.tenant_key.as_ref()?)));
    if rules().next().is_none() && directory.is_some_and(|directory| directory.receive_keys_seed.is_some()) {
        let problem = "no route has a `tenant_key`, so nothing would use it";
        return Err(ConfigError::new("directory.receive_keys_seed", problem));
    }
    for (at, rule) in rules() {
        if directory.is_none() {
            let problem = "tenants' own keys come from weir serve: it needs `directory`";
            return Err(ConfigError::new(format!("routes[{at}].tenant_key"), problem));
        }
        if is_routing {
            let problem =
                "with `routing` each provider gets the operator's key, whoever pays; leave out one of the two";
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
    let Some(rule) = &route.tenant_key else { return Ok(None) };
    let error = |field, problem: &str| Err((field, problem.to_owned()));
    let of = self::provider(&rule.provider).map_err(|problem| ("tenant_key.provider", problem))?;
    if provider.is_some_and(|provider| provider != of) {
        return error("tenant_key.provider", "the route's `provider` is another one");
    }
    if rule.clusters.is_empty() || rule.clusters.iter().any(String::is_empty) {
        return error("tenant_key.clusters", "name the clusters that lead to the provider");
    }
    if route.bypass || route.readiness || route.guard.is_some() {
        return error("tenant_key", "not beside bypass, readiness or guard: it is a route to a model provider");
    }
    let header = rule.header.unwrap_or(usual_header(of));
    let clusters = rule.clusters.iter().map(|cluster| cluster.as_str().into()).collect();
    Ok(Some(Rc::new(OwnKeyRule { provider: of, clusters, header, required: rule.required })))
}
