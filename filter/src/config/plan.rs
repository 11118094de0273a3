//! Plans, compiled.
use sha2::{Digest, Sha256};
use weir_contract::Class;

use super::glob::Glob;
use super::plans::{self, Count, Otherwise, Per};
use super::{ConfigError, Rate};
use crate::hash;
use crate::limit::record::{FIXED, FIXED_MAX};
use crate::limit::{Bucket, Unit};

/// The most limits of a plan, requests and tokens included: each keeps a place of [`FIXED_MAX`].
pub const LIMITS_MAX: usize = FIXED_MAX;

/// The longest name of a limit, in bytes.
const NAME_MAX_BYTES: usize = 40;

/// A plan, compiled.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Its name.
    pub name: Box<str>,
    /// Its buckets. None is unlimited.
    pub limits: Vec<Limit>,
    /// The classes it allows; None is all.
    pub classes: Option<Vec<Class>>,
    /// The models it allows; None is all.
    pub models: Option<Models>,
    /// The most output tokens of one answer.
    pub output_tokens_max: Option<u64>,
    /// The most answers of one request.
    pub n_max: Option<u64>,
    /// The largest body, in bytes.
    pub request_max_bytes: Option<u64>,
    /// How long a whole answer may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long a stream may take, in milliseconds.
    pub stream_timeout_ms: Option<u64>,
}

/// One kind of bucket of a plan.
#[derive(Debug, PartialEq)]
pub struct Limit {
    /// Its name.
    pub name: Box<str>,
    /// What it counts.
    pub unit: Unit,
    /// Its size and refill.
    pub bucket: Bucket,
    per: Vec<Per>,
    classes: Vec<Class>,
    models: Vec<Glob>,
    routes: Vec<Box<str>>,
    /// The tenant's own bucket, or the one of all values that find no room.
    bucket_id: u64,
}

/// The models that a plan allows.
#[derive(Debug, PartialEq)]
pub struct Models {
    allow: Vec<Glob>,
    /// What becomes of others.
    pub otherwise: Otherwise,
}

/// What a limit looks at of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestTraits<'a> {
    /// Its class.
    pub class: Class,
    /// Its route's name.
    pub route: Option<&'a str>,
    /// Its credential.
    pub key: &'a str,
    /// Its end user.
    pub user: Option<&'a str>,
    /// Its model.
    pub model: Option<&'a str>,
}

impl Plan {
    /// Checks and compiles the plan of that name.
    pub fn compile(name: &str, plan: plans::Plan) -> Result<Self, ConfigError> {
        let path = |field: &str| format!("plans.{name}.{field}");
        let mut limits = Vec::new();
        for (own, unit, bucket) in [("requests", Unit::Requests, plan.requests), ("tokens", Unit::Tokens, plan.tokens)]
        {
            if let Some(bucket) = bucket {
                let bucket = compile_bucket(bucket.rate, bucket.capacity, &path(own))?;
                limits.push(Limit::new(own, unit, bucket));
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
        for (field, value) in [("output_tokens_max", plan.output_tokens_max), ("n_max", plan.n_max)] {
            if value == Some(0) {
                return Err(ConfigError::new(
                    path(field),
                    "at least 1; to shut a plan out of a class, leave it out of `classes`",
                ));
            }
        }
        Ok(Plan {
            name: name.into(),
            limits,
            classes: plan.classes,
            models: plan.models.map(|models| Models::compile(models, &path("models"))).transpose()?,
            output_tokens_max: plan.output_tokens_max,
            n_max: plan.n_max,
            request_max_bytes: plan.request_max_bytes,
            timeout_ms: plan.timeout.map(super::Span::as_millis),
            stream_timeout_ms: plan.stream_timeout.map(super::Span::as_millis),
        })
    }

    /// Whether a rule or a limit of this plan must see what a body says.
    pub fn needs_body(&self) -> bool {
        self.has_body_rules() || self.limits.iter().any(Limit::needs_body)
    }

    /// Whether a rule of this plan can hold only where bodies are read. Limits of tokens make do with the head.
    pub fn has_body_rules(&self) -> bool {
        let models = self.limits.iter().any(Limit::looks_at_models);
        models || self.models.is_some() || self.output_tokens_max.is_some() || self.n_max.is_some()
    }
}

impl Limit {
    fn new(name: &str, unit: Unit, bucket: Bucket) -> Self {
        let (per, classes, models, routes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Limit { name: name.into(), unit, bucket, per, classes, models, routes, bucket_id: hash::fixed(name) | FIXED }
    }

    fn compile(limit: plans::Limit, path: &str) -> Result<Self, ConfigError> {
        let of_name = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let named = (1..=NAME_MAX_BYTES).contains(&limit.name.len()) && limit.name.bytes().all(of_name);
        if !named || matches!(limit.name.as_str(), "requests" | "tokens") {
            let right = format!("a name is 1 to {NAME_MAX_BYTES} of a-z 0-9 . _ -, and not `requests` or `tokens`");
            return Err(ConfigError::new(format!("{path}.name"), right));
        }
        let unit = match limit.count {
            Count::Requests => Unit::Requests,
            Count::Tokens => Unit::Tokens,
        };
        Ok(Limit {
            per: limit.per,
            classes: limit.classes,
            models: limit.models.iter().map(|model| Glob::new(model)).collect(),
            routes: limit.routes.into_iter().map(Into::into).collect(),
            ..Limit::new(&limit.name, unit, compile_bucket(limit.rate, limit.capacity, path)?)
        })
    }

    /// Whether it must wait for the body: what it counts or looks at stands there.
    pub fn needs_body(&self) -> bool {
        let by_class = !self.classes.is_empty() || self.per.contains(&Per::Class);
        self.unit == Unit::Tokens || by_class || self.looks_at_models()
    }

    fn looks_at_models(&self) -> bool {
        !self.models.is_empty() || self.per.contains(&Per::Model)
    }

    /// Whether it is about that request.
    pub fn covers(&self, traits: &RequestTraits<'_>) -> bool {
        let class = self.classes.is_empty() || self.classes.contains(&traits.class);
        let is_one = |name: &str| self.routes.iter().any(|route| **route == *name);
        let route = self.routes.is_empty() || traits.route.is_some_and(is_one);
        let is_of = |name: &str| self.models.iter().any(|model| model.matches(name));
        let model = self.models.is_empty() || traits.model.is_some_and(is_of);
        class && route && model
    }

    /// The bucket that all of the tenant's requests share.
    pub fn shared_bucket_id(&self) -> u64 {
        self.bucket_id
    }

    /// That request's bucket. Under a cryptographic hash: who may choose a model's name must not choose whose bucket it
    /// leads to.
    pub fn bucket_id(&self, traits: &RequestTraits<'_>) -> u64 {
        if self.per.is_empty() {
            return self.bucket_id;
        }
        let mut digest = Sha256::new();
        digest.update(self.bucket_id.to_le_bytes());
        for per in &self.per {
            let value = match per {
                Per::Class => Some(traits.class.as_str()),
                Per::Route => traits.route,
                Per::Key => Some(traits.key),
                Per::User => traits.user,
                Per::Model => traits.model,
            };
            let value = value.unwrap_or_default();
            digest.update((value.len() as u64).to_le_bytes());
            digest.update(value);
        }
        let bytes: [u8; 32] = digest.finalize().into();
        bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) & !FIXED
    }
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

fn compile_bucket(rate: Rate, capacity: Option<u64>, path: &str) -> Result<Bucket, ConfigError> {
    let Rate { units, period_ms } = rate;
    Bucket::new(capacity.unwrap_or(units), units, period_ms)
        .map_err(|error| ConfigError::new(format!("{path}.capacity"), error))
}
