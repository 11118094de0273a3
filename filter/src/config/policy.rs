//! The compiled policy: what the request path reads.
use std::rc::Rc;

use weir_contract::signed::SigningKey;
use weir_contract::{id, placeholder};

use super::plan::Plan;
use super::route::{ClassRules, Routes};
use super::shape::{self, Config, LimitHeaders, Mode};
use super::{ConfigError, parse};
use crate::directory::Directory;
use crate::directory::poll::Origin;
use crate::emit::labels::Labels;
use crate::hash::{Keyed, Map};
use crate::identity::Sources;

/// A configuration, checked and ready.
#[derive(Debug)]
pub struct Policy {
    /// 16 hex digits of the configuration's SHA-256: which configuration decided, in events.
    pub version: Rc<str>,
    /// Whether the plan is enforced.
    pub mode: Mode,
    /// The gateway's name.
    pub gateway: Box<str>,
    /// How tenants prove who they are.
    pub sources: Sources,
    /// The tenants of the configuration.
    pub directory: Rc<Directory>,
    /// Where tenants are polled from instead.
    pub origin: Option<Origin>,
    /// Where events go.
    pub events: Option<Rc<Destination>>,
    /// What requests say of themselves in events.
    pub labels: Labels,
    /// Which requests are held until their body has been read, and how much is read; None holds none.
    pub body_max_bytes: Option<u64>,
    /// Whether streams are asked for their usage.
    pub ask_for_usage: bool,
    /// Which headers tell clients how their limits stand.
    pub limit_headers: LimitHeaders,
    /// Rules for some requests.
    pub routes: Routes,
    /// Classes for some requests.
    pub class_rules: ClassRules,
    plans: Map<Box<str>, Rc<Plan>>,
}

/// Where events go. An event keeps the one it was made under: a reload does not send it elsewhere.
pub struct Destination {
    /// The gateway's name for the aggregator.
    pub cluster: Box<str>,
    /// The path of the calls.
    pub path: Box<str>,
    /// Their `:authority`.
    pub authority: Box<str>,
    /// Their `authorization`, whole.
    pub authorization: Box<str>,
    /// How long an event waits for company, in milliseconds.
    pub flush_ms: u64,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: u64,
    /// The most events a worker holds.
    pub queue_max_events: usize,
    /// The most bytes of events a worker holds.
    pub queue_max_bytes: usize,
    /// How long an event waits at most before it leaves as a log line, in milliseconds.
    pub queue_max_age_ms: u64,
    /// Signs events that leave as log lines.
    pub signing_key: Option<SigningKey>,
    /// Whether each usage event is also left for the gateway's access log.
    pub access_log: bool,
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").field("cluster", &self.cluster).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Policy {
    /// Reads and compiles what a gateway hands over.
    pub fn read(bytes: &[u8], keyed: Keyed) -> Result<Self, ConfigError> {
        Self::compile(parse(bytes)?, keyed)
    }

    /// Checks what the shape cannot say.
    pub fn compile(config: Config, keyed: Keyed) -> Result<Self, ConfigError> {
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
        check_secrets(&config)?;
        let mut plans = keyed.map();
        for (name, plan) in config.plans {
            let plan = Plan::compile(&name, plan)?;
            check_hold(config.hold, &plan)?;
            plans.insert(name.as_str().into(), Rc::new(plan));
        }
        check_tenants(&config.tenants, &plans)?;
        if config.directory.is_some() && !(config.tenants.is_empty() && config.revoked.is_empty()) {
            return Err(ConfigError::new(
                "directory",
                "give either directory, or tenants and revoked: two would contradict each other",
            ));
        }
        let directory = Directory::new(&config.tenants, config.revoked, keyed);
        let directory = directory.map_err(|error| ConfigError::new("tenants", error))?;
        let sources = Sources::compile(config.identity)?;
        let routes = Routes::compile(config.routes, &sources)?;
        Ok(Policy {
            version,
            mode: config.mode,
            gateway: config.gateway.into(),
            routes,
            sources,
            directory: Rc::new(directory),
            origin: config.directory.map(Origin::compile).transpose()?,
            labels: config.events.as_ref().map(Labels::compile).transpose()?.unwrap_or_default(),
            events: config.events.map(compile_events).transpose()?.map(Rc::new),
            body_max_bytes: config.hold.then_some(config.body_max_bytes),
            ask_for_usage: config.ask_for_usage,
            limit_headers: config.limit_headers,
            class_rules: ClassRules::compile(config.classification)?,
            plans,
        })
    }

    /// The plan of that name.
    pub fn plan(&self, name: &str) -> Option<&Rc<Plan>> {
        self.plans.get(name)
    }
}

/// A secret that everybody knows lets anybody in. What only weir serve checks, such as tokens, it refuses itself; here it is
/// what this gateway believes.
fn check_secrets(config: &Config) -> Result<(), ConfigError> {
    let known =
        "a placeholder, or a key of documentation or tutorials, which everybody knows: put one of your own there";
    let events = config.events.as_ref();
    let texts = [
        ("events.token", events.map(|events| events.token.as_str())),
        ("events.signing_key", events.and_then(|events| events.signing_key.as_deref())),
        ("directory.token", config.directory.as_ref().map(|directory| directory.token.as_str())),
    ];
    for (path, text) in texts {
        if text.is_some_and(placeholder::is_marked) {
            return Err(ConfigError::new(path, known));
        }
    }
    for (at, source) in config.identity.sources.iter().enumerate() {
        let shape::Source::Jwt(jwt) = source else { continue };
        let known_key = |key: &shape::JwtKey| key.secret.as_deref().is_some_and(placeholder::is_known);
        if let Some(key) = jwt.keys.iter().position(known_key) {
            return Err(ConfigError::new(format!("identity.sources[{at}].jwt.keys[{key}].secret"), known));
        }
    }
    for (at, tenant) in config.tenants.iter().enumerate() {
        if let Some(key) = tenant.keys.iter().position(|key| placeholder::is_known_hash(&key.sha256)) {
            return Err(ConfigError::new(format!("tenants[{at}].keys[{key}].sha256"), known));
        }
    }
    Ok(())
}

/// A rule that could never hold must not look as if it did.
fn check_hold(hold: bool, plan: &Plan) -> Result<(), ConfigError> {
    if hold || !plan.has_body_rules() {
        return Ok(());
    }
    let problem = "with `hold: false` no body is read, so models, output_tokens_max, n_max and limits by model cannot hold; \
                   leave them out, or hold";
    Err(ConfigError::new(format!("plans.{}", plan.name), problem))
}

fn check_tenants(
    tenants: &[weir_contract::directory::Tenant],
    plans: &Map<Box<str>, Rc<Plan>>,
) -> Result<(), ConfigError> {
    for (at, tenant) in tenants.iter().enumerate() {
        let keys = tenant.keys.iter().enumerate();
        let key_plans = keys.filter_map(|(k, key)| Some((format!("tenants[{at}].keys[{k}].plan"), key.plan.as_ref()?)));
        for (path, plan) in std::iter::once((format!("tenants[{at}].plan"), &tenant.plan)).chain(key_plans) {
            if !plans.contains_key(plan.as_str()) {
                let known = plans.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
                return Err(ConfigError::new(path, format_args!("no plan is named {plan:?}; plans are: {known}")));
            }
        }
    }
    Ok(())
}

fn compile_events(events: shape::Events) -> Result<Destination, ConfigError> {
    if events.access_log && events.signing_key.is_none() {
        let problem = "an event in the access log is signed: give events.signing_key, too";
        return Err(ConfigError::new("events.access_log", problem));
    }
    let signing_key = events.signing_key.map(|key| SigningKey::new(key.as_bytes())).transpose();
    if events.queue_max_events == 0 {
        return Err(ConfigError::new("events.queue_max_events", "a queue holds at least 1 event"));
    }
    Ok(Destination {
        cluster: events.cluster.into(),
        path: events.path.into(),
        authority: events.authority.into(),
        authorization: format!("Bearer {}", events.token).into(),
        flush_ms: events.flush.as_millis(),
        timeout_ms: events.timeout.as_millis(),
        queue_max_events: events.queue_max_events,
        queue_max_bytes: events.queue_max_bytes,
        queue_max_age_ms: events.queue_max_age.as_millis(),
        signing_key: signing_key.map_err(|error| ConfigError::new("events.signing_key", error))?,
        access_log: events.access_log,
    })
}
