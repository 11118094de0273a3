//! Plans as they are compiled from the configuration.
pub mod staged;

use std::rc::Rc;

use weir_config::plans::flags::FlagRules;
use weir_config::plans::{self, Otherwise};
use weir_config::{ConfigError, Span};
use weir_contract::Class;

use crate::flags::{Condition, RequestFlags};
use crate::glob::Glob;
use crate::hash::{Keyed, Map};
use crate::limit::record::FIXED_MAX;
use crate::limit::rule::{Limit, compile_bucket};
use crate::limit::{Center, Unit};
use staged::Staged;

/// The most limits of a plan, requests and tokens included: each needs one of [`FIXED_MAX`] buckets.
pub(crate) const LIMITS_MAX: usize = FIXED_MAX;

/// A plan, compiled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Its name.
    pub name: Box<str>,
    /// Its limits; none is unlimited.
    pub limits: Vec<Limit>,
    /// The classes it allows; None allows all.
    pub classes: Option<Vec<Class>>,
    /// The models it allows; None allows all.
    pub models: Option<Models>,
    /// The most output tokens of one answer.
    pub output_tokens_max: Option<u64>,
    /// The most answers of one request.
    pub n_max: Option<u64>,
    /// The largest body, in bytes.
    pub request_max_bytes: Option<u64>,
    /// The region that must serve its tenants.
    pub region: Option<Box<str>>,
    /// The dedicated endpoint that must.
    pub endpoint: Option<Box<str>>,
    /// How long a whole answer may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long a stream may take, in milliseconds.
    pub stream_timeout_ms: Option<u64>,
    /// The tier of its tenants in pools; None: the one of its own name.
    pub tier: Option<Box<str>>,
    /// The plan in each stage of a budget, where it says that something changes.
    pub(crate) staged: Staged,
    /// The plan while a feature flag holds: the first whose flag does.
    flagged: Vec<Flagged>,
}

/// A plan while a feature flag holds.
#[derive(Clone, Debug, PartialEq)]
struct Flagged {
    when: Condition,
    plan: Rc<Plan>,
}

/// The models that a plan allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Models {
    allow: Vec<Glob>,
    /// What happens to requests for other models.
    pub otherwise: Otherwise,
}

impl Plan {
    /// Checks and compiles a plan.
    pub fn compile(name: &str, plan: plans::Plan) -> Result<Self, ConfigError> {
        let path = |field: &str| format!("plans.{name}.{field}");
        let mut limits = Vec::new();
        for (own, unit, bucket) in [("requests", Unit::Requests, plan.requests), ("tokens", Unit::Tokens, plan.tokens)]
        {
            if let Some(plans::Bucket { rate, capacity, scope, unreachable }) = bucket {
                let bucket = compile_bucket(rate, capacity, &path(own))?;
                limits.push(Limit::new(own, unit, bucket).reaching(scope, unreachable, &path(own))?);
            }
        }
        for (at, limit) in plan.limits.into_iter().enumerate() {
            let limit = Limit::compile(limit, &path(&format!("limits[{at}]")))?;
            if limits.iter().any(|other: &Limit| other.name == limit.name) {
                return Err(ConfigError::new(path(&format!("limits[{at}].name")), "another limit has this name"));
            }
            limits.push(limit);
        }
        if limits.len() > LIMITS_MAX {
            return Err(ConfigError::new(path("limits"), format_args!("a plan has at most {LIMITS_MAX} limits")));
        }
        check_caps(plan.output_tokens_max, plan.n_max, path)?;
        let (stages, flags) = (plan.stages, plan.flags);
        let compiled = Plan {
            name: name.into(),
            limits,
            classes: plan.classes,
            models: plan.models.map(|models| Models::compile(models, &path("models"))).transpose()?,
            output_tokens_max: plan.output_tokens_max,
            n_max: plan.n_max,
            request_max_bytes: plan.request_max_bytes,
            region: plan.region.map(Into::into),
            endpoint: plan.endpoint.map(Into::into),
            timeout_ms: plan.timeout.map(Span::as_millis),
            stream_timeout_ms: plan.stream_timeout.map(Span::as_millis),
            tier: plan.tier.map(Into::into),
            staged: Staged::default(),
            flagged: Vec::new(),
        };
        let staged = |base: &Plan| {
            stages
                .clone()
                .map_or_else(|| Ok(Staged::default()), |stages| Staged::compile(base, stages, &path("stages")))
        };
        let mut flagged = Vec::new();
        for (at, rules) in flags.into_iter().enumerate() {
            let when = Condition::new(rules.flag.clone());
            let plan = compiled.with_rules(rules, &path(&format!("flags[{at}]")))?;
            flagged.push(Flagged { when, plan: Rc::new(Plan { staged: staged(&plan)?, ..plan }) });
        }
        Ok(Plan { staged: staged(&compiled)?, flagged, ..compiled })
    }

    /// The plan with these rules in the place of its own.
    fn with_rules(&self, rules: FlagRules, path: &str) -> Result<Self, ConfigError> {
        let path = |field: &str| format!("{path}.{field}");
        check_caps(rules.output_tokens_max, rules.n_max, path)?;
        let models = rules.models.map(|models| Models::compile(models, &path("models"))).transpose()?;
        let own = self.clone();
        Ok(Plan {
            classes: rules.classes.or(own.classes),
            models: models.or(own.models),
            output_tokens_max: rules.output_tokens_max.or(own.output_tokens_max),
            n_max: rules.n_max.or(own.n_max),
            ..own
        })
    }

    /// The plan while these flags hold; None if it is this one.
    pub(crate) fn flagged(&self, flags: &RequestFlags) -> Option<Rc<Plan>> {
        let found = self.flagged.iter().find(|flagged| flagged.when.holds(Some(flags)))?;
        Some(Rc::clone(&found.plan))
    }

    /// The plans that may be in force in its place: while a flag holds, and in the stages of a budget.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Plan> {
        let flagged = self.flagged.iter().map(|flagged| &*flagged.plan);
        self.staged.plans().chain(flagged.flat_map(|plan| std::iter::once(plan).chain(plan.staged.plans())))
    }

    /// Whether a rule or a limit of this plan depends on the body.
    pub(crate) fn needs_body(&self) -> bool {
        self.has_body_rules() || self.limits.iter().any(Limit::needs_body)
    }

    /// Whether its tenants may be served by some providers only.
    pub(crate) fn is_bound(&self) -> bool {
        self.region.is_some() || self.endpoint.is_some()
    }

    /// Names who grants leases. Returns an error for a limit of the fleet where nobody does.
    pub(crate) fn granted_by(&mut self, center: Option<&Center>) -> Result<(), ConfigError> {
        let Some(center) = center else {
            let Some(limit) = self.limits.iter().find(|limit| limit.fleet.is_some()) else { return Ok(()) };
            let problem = format_args!(
                "the limit {:?} has `scope: fleet`, and nothing says which weir serve divides it: give `leases` or `directory`",
                limit.name
            )
            .to_string();
            return Err(ConfigError::new(format!("plans.{}", self.name), problem));
        };
        self.name_center(center);
        Ok(())
    }

    /// Names who grants leases, in the plans that may be in force in its place as well: they draw from the same buckets.
    fn name_center(&mut self, center: &Center) {
        self.limits.iter_mut().for_each(|limit| limit.granted_by(center));
        self.staged.plans_mut().for_each(|plan| Rc::make_mut(plan).name_center(center));
        self.flagged.iter_mut().for_each(|flagged| Rc::make_mut(&mut flagged.plan).name_center(center));
    }

    /// Whether it has a limit of the whole fleet.
    pub(crate) fn reaches_fleet(&self) -> bool {
        self.limits.iter().any(|limit| limit.fleet.is_some())
    }

    /// Whether a rule of this plan can be enforced only if bodies are read. Limits of tokens can do without.
    pub(crate) fn has_body_rules(&self) -> bool {
        let models = self.limits.iter().any(Limit::looks_at_models);
        models || self.models.is_some() || self.output_tokens_max.is_some() || self.n_max.is_some()
    }
}

/// Refuses caps of 0. `path`: that of a field.
fn check_caps(
    output_tokens_max: Option<u64>,
    n_max: Option<u64>,
    path: impl Fn(&str) -> String,
) -> Result<(), ConfigError> {
    for (field, value) in [("output_tokens_max", output_tokens_max), ("n_max", n_max)] {
        if value == Some(0) {
            let problem = "at least 1; to shut a plan out of a class, leave it out of `classes`";
            return Err(ConfigError::new(path(field), problem));
        }
    }
    Ok(())
}

impl Models {
    fn compile(models: plans::Models, path: &str) -> Result<Self, ConfigError> {
        let allow: Vec<_> = models.allow.iter().map(|model| Glob::new(model)).collect();
        if allow.is_empty() {
            return Err(ConfigError::new(format!("{path}.allow"), "name at least one model, or `*` for all"));
        }
        let compiled = Models { allow, otherwise: models.otherwise };
        match &compiled.otherwise {
            Otherwise::Replace(model) if !compiled.allows(model) => {
                let right = format!("{model:?} is not among the models of `allow`: add it there");
                Err(ConfigError::new(format!("{path}.otherwise.replace"), right))
            }
            _ => Ok(compiled),
        }
    }

    /// Whether it allows a model.
    pub fn allows(&self, model: &str) -> bool {
        self.allow.iter().any(|glob| glob.matches(model))
    }
}

/// The plans of a configuration by name.
#[derive(Debug)]
pub struct Plans(Map<Box<str>, Rc<Plan>>);

impl Plans {
    /// No plans yet.
    pub fn new(keyed: Keyed) -> Self {
        Plans(keyed.map())
    }

    /// Adds a plan under its own name.
    pub fn add(&mut self, plan: Plan) {
        self.0.insert(plan.name.clone(), Rc::new(plan));
    }

    /// The plan of that name.
    pub fn get(&self, name: &str) -> Option<&Rc<Plan>> {
        self.0.get(name)
    }

    /// Every plan, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Plan> {
        self.0.values().map(|plan| &**plan)
    }

    /// Every plan's name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}
