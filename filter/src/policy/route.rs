//! Routes and class rules as they are compiled from the configuration.
use std::rc::Rc;

use weir_config::shape::{AskForUsage, RouteUsage};
use weir_config::shared::Shared;
use weir_config::{ConfigError, guard, plans};
use weir_contract::Class;
use weir_llm_usage::Provider;
use weir_sealed_ids::Keys;
use weir_vector_guard::{By, CollectionIds, Guard, Store, Unfit};

use crate::glob::Glob;
use crate::head::Head;
use crate::policy::own_keys;
use crate::policy::pool::{Pool, Pools};
use crate::policy::seal;
use crate::vault::rule::OwnKeyRule;

/// The most class rules: a request stores one bit for each.
pub(crate) const RULES_MAX: usize = 64;

/// A route, compiled.
#[derive(Debug, Default, PartialEq)]
pub struct Route {
    /// Its name in events.
    pub name: Option<Box<str>>,
    /// Whether it takes requests without a look at who sends them.
    pub bypass: bool,
    /// Whether weir answers them itself, with its readiness.
    pub readiness: bool,
    /// The class it sets.
    pub class: Option<Class>,
    /// The feature it sets.
    pub feature: Option<Box<str>>,
    /// The environment it sets.
    pub environment: Option<Box<str>>,
    /// The provider that answers there.
    pub provider: Option<Provider>,
    /// Whether usage is read there.
    pub usage: Option<RouteUsage>,
    /// Whether streams are asked for their usage there.
    pub ask_for_usage: Option<AskForUsage>,
    /// Whether `input_tokens` includes cached tokens there, whatever the shape of an answer says.
    pub input_includes_cache: bool,
    /// Whether the subdomain names the tenant of a request without a credential.
    pub anonymous: bool,
    /// Whether connections may be upgraded or tunnelled.
    pub upgrade: bool,
    /// The permitted operations on what tenants share at the provider.
    pub permit: Vec<Shared>,
    /// Keeps apart the ids of some of these.
    pub seal: Option<Rc<weir_sealed_ids::Guard>>,
    /// What guards the vector store behind it.
    pub guard: Option<Rc<Guard>>,
    /// Whether identifiers of other tenants are taken out of answers there.
    pub redact: Option<bool>,
    /// Whether the upstream there is told the feature flags.
    pub flags: Option<bool>,
    /// The pool that its requests draw from.
    pub pool: Option<Rc<Pool>>,
    /// What is done with tenants' own keys there; None where the operator's own is used.
    pub own_key: Option<Rc<OwnKeyRule>>,
    path: PathMatch,
}

#[derive(Debug, Default, PartialEq)]
enum PathMatch {
    /// No path: the gateway's own route names it.
    #[default]
    Named,
    Exact(Box<str>),
    Prefix(Box<str>),
}

/// The routes of a configuration.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<Rc<Route>>,
    named_by_gateway: bool,
}

/// A rule of classes, compiled.
#[derive(Debug)]
pub struct ClassRule {
    class: Class,
    path: PathMatch,
    method: Option<Box<str>>,
    header: Option<(Box<str>, Glob)>,
    model: Option<Glob>,
    size_min_bytes: u64,
}

/// The rules of classes of a configuration.
#[derive(Debug, Default)]
pub struct ClassRules(Vec<ClassRule>);

impl Routes {
    /// Checks and compiles them.
    pub fn compile(
        routes: Vec<plans::Route>,
        has_subdomain: bool,
        keys: Option<&Rc<Keys>>,
        pools: &Pools,
    ) -> Result<Self, ConfigError> {
        let compiled = |(at, route)| compile_route(at, route, has_subdomain, keys, pools);
        let routes = routes.into_iter().enumerate().map(compiled);
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
        let named_by_gateway = routes.iter().any(|route| route.path == PathMatch::Named);
        Ok(Routes { routes, named_by_gateway })
    }

    /// A route that seals ids, where there is one.
    pub fn sealing(&self) -> Option<&Rc<Route>> {
        self.routes.iter().find(|route| route.seal.is_some())
    }

    /// A route on which tenants use keys of their own, where there is one.
    pub(crate) fn with_tenant_key(&self) -> Option<&Rc<Route>> {
        self.routes.iter().find(|route| route.own_key.is_some())
    }

    /// Whether a route draws from a pool.
    pub(crate) fn draw_from(&self, pool: &Pool) -> bool {
        self.routes.iter().any(|route| route.pool.as_deref() == Some(pool))
    }

    /// Whether the gateway's own route may name one of them, so that it must be looked up.
    pub fn are_named_by_gateway(&self) -> bool {
        self.named_by_gateway
    }

    /// Whether one of them keeps tenants apart, so that a name that the gateway's own route gives must not lead past it.
    pub fn keep_apart(&self) -> bool {
        self.routes.iter().any(|route| route.guard.is_some() || route.seal.is_some())
    }

    /// Whether the gateway's own route may choose one of them by its name.
    pub(crate) fn may_be_named(&self) -> bool {
        self.named_by_gateway || self.keep_apart()
    }

    /// Whether one of those that only the gateway's own route names does.
    pub(crate) fn keep_apart_by_name(&self) -> bool {
        self.named_by_gateway
            && self
                .routes
                .iter()
                .any(|route| route.path == PathMatch::Named && (route.guard.is_some() || route.seal.is_some()))
    }

    /// Whether one of them has that name.
    pub fn knows(&self, name: &[u8]) -> bool {
        self.routes.iter().any(|route| route.name.as_deref().map(str::as_bytes) == Some(name))
    }

    /// The route that the gateway's own route names, or else the first that matches the path.
    pub fn find(&self, named: Option<&[u8]>, path: &[u8]) -> Option<&Rc<Route>> {
        let is_named = |route: &&Rc<Route>| route.name.as_deref().map(str::as_bytes) == named;
        let by_name = named.and_then(|_| self.routes.iter().filter(|route| !route.bypass).find(is_named));
        by_name.or_else(|| self.routes.iter().find(|route| route.path.matches(path)))
    }
}

impl ClassRules {
    /// Checks and compiles them.
    pub fn compile(rules: Vec<plans::ClassRule>) -> Result<Self, ConfigError> {
        if rules.len() > RULES_MAX {
            return Err(ConfigError::new("classification", format_args!("at most {RULES_MAX} rules")));
        }
        rules.into_iter().enumerate().map(compile_rule).collect::<Result<_, _>>().map(ClassRules)
    }

    /// Whether one of them depends on the body.
    pub(crate) fn need_body(&self) -> bool {
        self.0.iter().any(|rule| rule.model.is_some() || rule.size_min_bytes > 0)
    }

    /// The rules that a head allows, a bit each.
    pub(crate) fn allowed_by(&self, head: &Head<'_>) -> u64 {
        self.0.iter().enumerate().filter(|(_, rule)| rule.allows(head)).fold(0, |set, (at, _)| set | 1 << at)
    }

    /// The class of the first rule that depends on the path alone, so that a client cannot choose it otherwise.
    pub(crate) fn by_path_alone(&self, allowed: u64) -> Option<Class> {
        let matches = |(at, rule): &(usize, &ClassRule)| allowed & 1 << at != 0 && rule.is_of_path_alone();
        self.0.iter().enumerate().find(matches).map(|(_, rule)| rule.class)
    }

    /// The class of the first of these rules that matches.
    pub fn class(&self, allowed: u64, model: Option<&str>, size_bytes: u64) -> Option<Class> {
        let matches = |(at, rule): &(usize, &ClassRule)| allowed & 1 << at != 0 && rule.matches(model, size_bytes);
        self.0.iter().enumerate().find(matches).map(|(_, rule)| rule.class)
    }
}

impl ClassRule {
    fn allows(&self, head: &Head<'_>) -> bool {
        let path = self.path == PathMatch::Named || self.path.matches(head.path);
        let method = self.method.as_deref().is_none_or(|method| head.method == method.as_bytes());
        let text = |value| std::str::from_utf8(value).unwrap_or_default();
        let header =
            |(name, value): &(Box<str>, Glob)| head.value(name).is_some_and(|found| value.matches(text(found)));
        path && method && self.header.as_ref().is_none_or(header)
    }

    fn is_of_path_alone(&self) -> bool {
        self.method.is_none() && self.header.is_none() && self.model.is_none() && self.size_min_bytes == 0
    }

    fn matches(&self, model: Option<&str>, size_bytes: u64) -> bool {
        let of_model = |glob: &Glob| model.is_some_and(|model| glob.matches(model));
        self.model.as_ref().is_none_or(of_model) && size_bytes >= self.size_min_bytes
    }
}

impl PathMatch {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            PathMatch::Named => false,
            PathMatch::Exact(exact) => path == exact.as_bytes(),
            PathMatch::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.as_bytes());
                rest.is_some_and(|rest| prefix.ends_with('/') || matches!(rest.first(), None | Some(b'/')))
            }
        }
    }
}

fn compile_route(
    at: usize,
    route: plans::Route,
    has_subdomain: bool,
    keys: Option<&Rc<Keys>>,
    pools: &Pools,
) -> Result<Rc<Route>, ConfigError> {
    let error = |field: &str, problem: &str| Err(ConfigError::new(format!("routes[{at}].{field}"), problem));
    let path = match compile_path(&route) {
        Ok(path) => path,
        Err(problem) => return error("match", problem),
    };
    if let Some((field, problem)) = contradiction(&route, &path, has_subdomain) {
        return error(field, problem);
    }
    let provider = match route.provider.as_deref().map(Provider::from_name) {
        Some(None) => {
            let known = Provider::ALL.map(Provider::as_str).join(", ");
            return error("provider", &format!("it is none of: {known}"));
        }
        found => found.flatten(),
    };
    let seal = seal::guard(&route.permit, route.upgrade, provider, keys)
        .map_err(|problem| ConfigError::new(format!("routes[{at}].permit"), problem))?;
    let guard = match route.guard.as_ref().map(|guard| compile_guard(guard, keys)).transpose() {
        Ok(guard) => guard.map(Rc::new),
        Err(unfit) => return error("guard", &unfit.to_string()),
    };
    if guard.is_some() && seal.is_some() {
        return error(
            "guard",
            "a route either guards a vector store or seals the ids of a provider; make two routes of it",
        );
    }
    let own_key = own_keys::compile(&route, provider)
        .map_err(|(field, problem)| ConfigError::new(format!("routes[{at}].{field}"), problem))?;
    let pool = route.pool.as_deref().map(|name| pools.named(name, &format!("routes[{at}].pool"))).transpose()?;
    Ok(Rc::new(Route {
        pool,
        seal,
        provider: provider.or(own_key.as_ref().map(|rule| rule.provider)),
        own_key,
        guard,
        usage: route.usage,
        ask_for_usage: route.ask_for_usage,
        input_includes_cache: route.input_includes_cache,
        anonymous: route.anonymous,
        upgrade: route.upgrade,
        permit: route.permit.shared.into_iter().chain(route.permit.sealed).collect(),
        redact: route.redact,
        flags: route.flags,
        name: route.name.map(Into::into),
        bypass: route.bypass || route.readiness,
        readiness: route.readiness,
        class: route.class,
        feature: route.feature.map(Into::into),
        environment: route.environment.map(Into::into),
        path,
    }))
}

/// A field that contradicts others of its route, and the problem.
fn contradiction(route: &plans::Route, path: &PathMatch, has_subdomain: bool) -> Option<(&'static str, &'static str)> {
    let is_exact = matches!(path, PathMatch::Exact(_));
    let found = match () {
        () if route.bypass && !is_exact => {
            ("bypass", "bypass needs an exact path: anything else would let through whatever is put there later")
        }
        () if route.readiness && (!is_exact || route.bypass) => {
            ("readiness", "readiness needs an exact path, and no bypass: weir answers there itself")
        }
        () if route.anonymous && !has_subdomain => {
            ("anonymous", "a request without a credential is its subdomain's: set identity.subdomain")
        }
        () if route.guard.is_some() && (route.bypass || route.upgrade) => {
            ("guard", "a guarded route takes neither bypass nor upgrade: nothing may pass it unseen")
        }
        () if route.pool.is_some() && (route.bypass || route.readiness) => {
            ("pool", "requests there pass without a look, so they draw from no pool; leave it out")
        }
        () => return None,
    };
    Some(found)
}

fn compile_path(route: &plans::Route) -> Result<PathMatch, &'static str> {
    match route.matches.clone().map(|matches| (matches.path, matches.path_prefix)) {
        None if route.name.is_some() => Ok(PathMatch::Named),
        None => Err("give a match, or a name for the gateway's own routes to name it by"),
        Some((Some(path), None)) => Ok(PathMatch::Exact(path.into())),
        Some((None, Some(prefix))) => Ok(PathMatch::Prefix(prefix.into())),
        Some(_) => Err("give either path or path_prefix"),
    }
}

fn compile_guard(guard: &weir_config::guard::Guard, keys: Option<&Rc<Keys>>) -> Result<Guard, Unfit> {
    let store = match guard.store {
        guard::Store::Qdrant => Store::Qdrant,
        guard::Store::Pinecone => Store::Pinecone,
        guard::Store::Chroma => Store::Chroma,
        guard::Store::Milvus => Store::Milvus,
        guard::Store::Weaviate => Store::Weaviate,
    };
    let by = match guard.by {
        guard::By::Filter => By::Filter,
        guard::By::Namespace => By::Namespace,
        guard::By::Collection => By::Collection,
    };
    let compiled = Guard {
        store,
        by,
        field: guard.field.as_str().into(),
        root: guard.root.as_str().into(),
        primary_field: guard.primary_field.as_deref().map(Into::into),
        collection_ids: keys.and_then(|keys| CollectionIds::new(Rc::clone(keys))),
    };
    compiled.check().map(|()| compiled)
}

fn compile_rule((at, rule): (usize, plans::ClassRule)) -> Result<ClassRule, ConfigError> {
    let plans::ClassMatch { path_prefix, method, header, model, size_min_bytes } = rule.matches;
    if path_prefix.is_none() && method.is_none() && header.is_none() && model.is_none() && size_min_bytes.is_none() {
        return Err(ConfigError::new(format!("classification[{at}].match"), "give at least one thing to match"));
    }
    Ok(ClassRule {
        class: rule.class,
        path: path_prefix.map_or(PathMatch::Named, |prefix| PathMatch::Prefix(prefix.into())),
        method: method.map(|method| method.to_ascii_uppercase().into()),
        header: header.map(|header| (header.name.to_ascii_lowercase().into(), Glob::new(&header.value))),
        model: model.map(|model| Glob::new(&model)),
        size_min_bytes: size_min_bytes.unwrap_or(0),
    })
}
