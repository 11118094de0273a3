//! The policy that a configuration compiles to: what the request path reads.
//!
//! The shapes are [`weir_config`]'s. [`Policy::compile`] checks in one place what a shape cannot express (a plan that
//! exists, a rate above zero). A configuration that does not compile is refused whole, and the one before it stays.
pub mod own_keys;
pub mod pool;
pub mod redaction;
pub mod route;
mod seal;
mod secrets;

use std::rc::Rc;

use weir_config::shape::{AskForUsage, AtStart, Config, LimitHeaders, Mode};
use weir_config::{ConfigError, Environment, parse};
use weir_contract::directory::Tenant;
use weir_contract::id;

use crate::directory::Directory;
use crate::directory::poll::Origin;
use crate::emit::Destination;
use crate::emit::labels::LabelRules;
use crate::flags::FlagPolicy;
use crate::hash::Keyed;
use crate::identity::Sources;
use crate::limit::Center;
use crate::plan::{Plan, Plans};
use crate::routing::{Catalogue, InForce};
use pool::{Pool, Pools};
use redaction::Redaction;
pub use route::Route;
use route::{ClassRules, Routes};

/// A compiled configuration.
#[derive(Debug)]
pub struct Policy {
    /// 16 hex digits of the configuration's SHA-256, by which events name the configuration that decided.
    pub version: Rc<str>,
    /// Whether the plan is enforced.
    pub mode: Mode,
    /// The gateway's name.
    pub gateway: Box<str>,
    /// The sources of identity.
    pub sources: Sources,
    /// The tenants in the configuration.
    pub directory: Rc<Directory>,
    /// Which answers are searched for identifiers of other tenants.
    pub redaction: Redaction,
    /// Where tenants are polled from instead, if they are.
    pub origin: Option<Origin>,
    /// The server that grants leases, if a plan has limits of the fleet, there are pools, or the directory may bring hard budgets.
    pub center: Option<Rc<Center>>,
    /// Where events go.
    pub events: Option<Rc<Destination>>,
    /// The labels that requests may give themselves in events.
    pub labels: LabelRules,
    /// How much of a body is read while its request is held, in bytes; None holds no request.
    pub body_max_bytes: Option<u64>,
    /// Whether streams are asked for their usage.
    pub ask_for_usage: AskForUsage,
    /// The limit headers that clients receive.
    pub limit_headers: LimitHeaders,
    /// Rules for some requests.
    pub routes: Routes,
    /// Classes for some requests.
    pub class_rules: ClassRules,
    /// What is done with feature flags; None where nothing is.
    pub flags: Option<FlagPolicy>,
    /// The models that requests are sent to; None where none is chosen.
    pub routing: Option<InForce>,
    /// The pool of each provider of the catalogue, in its order.
    pub(crate) provider_pools: Vec<Option<Rc<Pool>>>,
    /// The plans.
    pub plans: Plans,
}

impl Policy {
    /// Reads and compiles what a gateway hands over.
    pub fn read(bytes: &[u8], environment: &Environment, keyed: Keyed) -> Result<Self, ConfigError> {
        Self::compile(parse(bytes)?, environment, keyed)
    }

    /// Finds the secrets in the environment, and checks what the shape cannot express.
    pub fn compile(mut config: Config, environment: &Environment, keyed: Keyed) -> Result<Self, ConfigError> {
        // Of the configuration as it is written: a secret that changes in the environment changes no rule.
        let version = weir_config::version(&config)?.into();
        if config.version != 1 {
            return Err(ConfigError::new(
                "version",
                format_args!("{} is not known; this is version 1", config.version),
            ));
        }
        if !id::is_gateway_name(&config.gateway) {
            return Err(ConfigError::new("gateway", "a name is 1 to 64 characters of A-Z a-z 0-9 . _ -"));
        }
        secrets::resolve(&mut config, environment)?;
        secrets::check_keys(&config.tenants)?;
        check_one_directory(&config)?;
        let center = Center::compile(&config)?;
        let routing = InForce::compile(&config)?;
        own_keys::check(&config)?;
        let flags = FlagPolicy::compile(&config)?;
        let mut plans = Plans::new(keyed);
        for (name, plan) in config.plans {
            let mut plan = Plan::compile(&name, plan)?;
            plan.granted_by(center.as_deref())?;
            check_hold(config.hold, &plan)?;
            plans.add(plan);
        }
        let pools = Pools::compile(config.pools, center.as_deref())?;
        pools.check_plans(&plans)?;
        check_tenants(&config.tenants, &plans)?;
        let redaction = Redaction::compile(config.redact, &config.routes)?;
        let directory = Directory::new(&config.tenants, config.revoked, redaction.looks_for(), keyed);
        let directory = directory.map_err(|error| ConfigError::new("tenants", error))?;
        let sources = Sources::compile(config.identity)?;
        if let Some(at) = config.routes.iter().position(|route| route.guard.is_some() && !config.hold) {
            let problem = "with `hold: false` no body is read, so nothing can be guarded; leave it out, or hold";
            return Err(ConfigError::new(format!("routes[{at}].guard"), problem));
        }
        let keys = seal::keys(config.sealed_ids.as_ref())?;
        let routes = Routes::compile(config.routes, sources.has_subdomain(), keys.as_ref(), &pools)?;
        let provider_pools = pools.of_providers(&config.providers)?;
        let is_a_providers = |pool: &Pool| provider_pools.iter().flatten().any(|used| used.name == pool.name);
        pools.check_use(|pool| routes.draw_from(pool) || is_a_providers(pool))?;
        if let (Some(_), false) = (routes.sealing(), config.hold) {
            return Err(ConfigError::new("hold", "with `hold: false` no body is read, so no route can seal ids"));
        }
        let reaches_server = config.directory.is_some() || !pools.is_empty() || plans.all().any(Plan::reaches_fleet);
        let origin = config.directory.map(|directory| Origin::compile(directory, &config.gateway, plans.names()));
        Ok(Policy {
            version,
            mode: config.mode,
            origin: origin.transpose()?,
            gateway: config.gateway.into(),
            routes,
            sources,
            directory: Rc::new(directory),
            redaction,
            center: center.filter(|_| reaches_server),
            labels: config.events.as_ref().map(LabelRules::compile).transpose()?.unwrap_or_default(),
            events: config.events.map(Destination::compile).transpose()?.map(Rc::new),
            body_max_bytes: config.hold.then_some(config.body_max_bytes),
            ask_for_usage: config.ask_for_usage,
            limit_headers: config.limit_headers,
            class_rules: ClassRules::compile(config.classification)?,
            flags,
            routing,
            provider_pools,
            plans,
        })
    }
}

impl Policy {
    /// The catalogue in force, if models are chosen.
    pub fn catalogue(&self) -> Option<Rc<Catalogue>> {
        self.routing.as_ref().map(InForce::current)
    }
}

/// Tenants come from one place at a time.
fn check_one_directory(config: &Config) -> Result<(), ConfigError> {
    let inline = !config.tenants.is_empty() || !config.revoked.is_empty();
    match config.directory.as_ref().map(|directory| directory.at_start) {
        Some(AtStart::Wait) if inline => Err(ConfigError::new(
            "directory",
            "give either directory, or tenants and revoked: two would contradict each other. With `at_start: inline` the \
             tenants here count until the directory answers",
        )),
        Some(AtStart::Inline) if config.tenants.is_empty() => {
            Err(ConfigError::new("directory.at_start", "`inline` needs tenants to start with"))
        }
        _ => Ok(()),
    }
}

/// Refuses a rule that could never be enforced.
fn check_hold(hold: bool, plan: &Plan) -> Result<(), ConfigError> {
    if hold || !(plan.has_body_rules() || plan.others().any(Plan::has_body_rules)) {
        return Ok(());
    }
    let problem = "with `hold: false` no body is read, so models, output_tokens_max, n_max and limits by model cannot hold, in \
                   stages neither; leave them out, or hold";
    Err(ConfigError::new(format!("plans.{}", plan.name), problem))
}

fn check_tenants(tenants: &[Tenant], plans: &Plans) -> Result<(), ConfigError> {
    for (at, tenant) in tenants.iter().enumerate() {
        if !tenant.provider_keys.is_empty() || tenant.house_key {
            let problem = "tenants' own keys come from weir serve, sealed: a configuration is no place for them";
            return Err(ConfigError::new(format!("tenants[{at}].provider_keys"), problem));
        }
        if let Some(Err(error)) = tenant.placement.as_ref().map(|placement| placement.check()) {
            return Err(ConfigError::new(format!("tenants[{at}].placement"), error));
        }
        if !tenant.hard_budgets.is_empty() {
            let problem = "weir serve tells gateways about hard budgets, by `directory`: leave them out here";
            return Err(ConfigError::new(format!("tenants[{at}].hard_budgets"), problem));
        }
        let keys = tenant.keys.iter().enumerate();
        let key_plans = keys.filter_map(|(k, key)| Some((format!("tenants[{at}].keys[{k}].plan"), key.plan.as_ref()?)));
        for (path, plan) in std::iter::once((format!("tenants[{at}].plan"), &tenant.plan)).chain(key_plans) {
            if plans.get(plan).is_none() {
                let known = plans.names().collect::<Vec<_>>().join(", ");
                return Err(ConfigError::new(path, format_args!("no plan is named {plan:?}; plans are: {known}")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
