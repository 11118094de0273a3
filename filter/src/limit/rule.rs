//! One limit of a plan, compiled: which requests it covers, and which bucket each of them draws from.
use std::rc::Rc;

use sha2::{Digest, Sha256};
use weir_config::plans::{self, Count, Per, Scope, Unreachable};
use weir_config::{ConfigError, Rate};
use weir_contract::lease::{COUNT_MAX, Definition, Key, Owner};
use weir_contract::{Class, TenantId, stage};

use super::account::{Account, Term};
use super::record::FIXED;
use super::{Bucket, Center, Unit};
use crate::classify::ClassSet;
use crate::glob::Glob;
use crate::hash;

/// The longest name of a limit, in bytes.
const NAME_MAX_BYTES: usize = 40;

/// One limit of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name.
    pub name: Box<str>,
    /// What it counts.
    pub unit: Unit,
    /// Its size and refill.
    pub bucket: Bucket,
    /// Whether all gateways share it, and how this one goes on without weir serve.
    pub fleet: Option<Unreachable>,
    per: Vec<Per>,
    classes: Vec<Class>,
    models: Vec<Glob>,
    routes: Vec<Box<str>>,
    /// The id of the tenant's own bucket, or of the shared one for values that find no room.
    bucket_id: u64,
    /// Changes the ids of a limit of the fleet.
    salt: u64,
    /// Whose it is; None: the tenant's own.
    pub(crate) account: Option<Rc<Account>>,
}

/// The parts of a request that a limit looks at.
#[derive(Clone, Copy, Debug)]
pub struct RequestTraits<'a> {
    /// The class of its path, or of its route: what it counts under, `per: [class]`.
    pub class: Class,
    /// Every class that it may be taken for: a limit of any of them covers it.
    pub classes: ClassSet,
    /// Its route's name.
    pub route: Option<&'a str>,
    /// Its credential.
    pub key: &'a str,
    /// Its end user.
    pub user: Option<&'a str>,
    /// Its model.
    pub model: Option<&'a str>,
}

impl Limit {
    pub(crate) fn new(name: &str, unit: Unit, bucket: Bucket) -> Self {
        let (per, classes, models, routes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let bucket_id = hash::fixed(name) | FIXED;
        let name = name.into();
        Limit { name, unit, bucket, fleet: None, per, classes, models, routes, bucket_id, salt: 0, account: None }
    }

    /// A limit of the fleet that is not a tenant's own.
    pub(crate) fn of_account(
        name: &str,
        unit: Unit,
        bucket: Bucket,
        account: &Rc<Account>,
        unreachable: Unreachable,
    ) -> Self {
        let account = Some(Rc::clone(account));
        Limit { fleet: Some(unreachable), account, ..Limit::new(name, unit, bucket) }
    }

    /// The same limit with that reach.
    pub(crate) fn reaching(
        mut self,
        scope: Scope,
        unreachable: Option<Unreachable>,
        path: &str,
    ) -> Result<Self, ConfigError> {
        self.fleet = match (scope, unreachable) {
            (Scope::Fleet, unreachable) => {
                self.definition().check().map_err(|error| ConfigError::new(path, error))?;
                Some(unreachable.unwrap_or_default())
            }
            (Scope::Gateway, None) => None,
            (Scope::Gateway, Some(_)) => {
                let problem = "only a limit of the fleet depends on weir serve: add `scope: fleet`, or leave this out";
                return Err(ConfigError::new(format!("{path}.unreachable"), problem));
            }
        };
        Ok(self)
    }

    pub(crate) fn compile(limit: plans::Limit, path: &str) -> Result<Self, ConfigError> {
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
        let bucket = compile_bucket(limit.rate, limit.capacity, path)?;
        Ok(Limit {
            per: limit.per,
            classes: limit.classes,
            models: limit.models.iter().map(|model| Glob::new(model)).collect(),
            routes: limit.routes.into_iter().map(Into::into).collect(),
            ..Limit::new(&limit.name, unit, bucket).reaching(limit.scope, limit.unreachable, path)?
        })
    }

    /// Its size and refill, as the fleet is told.
    pub(crate) fn definition(&self) -> Definition {
        let bucket = self.bucket;
        Definition {
            capacity: bucket.capacity(),
            refill: bucket.refill(),
            period_ms: bucket.period_ms(),
            tiers: self.account.as_ref().map(|account| account.tiers.clone()).unwrap_or_default(),
        }
    }

    /// The fleet's name of one of its buckets, for this tenant.
    pub(crate) fn key(&self, tenant: &TenantId, bucket_id: u64) -> Key {
        let own = || Owner::Tenant(tenant.clone());
        let owner = self.account.as_ref().map_or_else(own, |account| account.owner.clone());
        let part = self.part(bucket_id).map(|part| format!("{part:016x}"));
        Key { owner, limit: self.name.to_string(), part }
    }

    /// The period, where it is a hard budget.
    pub(crate) fn term(&self) -> Option<&Term> {
        self.account.as_ref()?.term.as_ref()
    }

    /// Its name, as clients are told.
    pub(crate) fn label(&self) -> &str {
        self.term().map_or(&self.name, |term| &term.budget)
    }

    /// The most units that one request reserves: what a bucket of its tier holds when it is full. Of a hard budget all that
    /// the request may use: more than there is is refused.
    pub(crate) fn reserves_max(&self) -> u64 {
        if self.term().is_some() {
            return COUNT_MAX;
        }
        let capacity = self.bucket.capacity();
        self.account.as_ref().map_or(capacity, |account| (capacity * u64::from(account.percent) / 100).max(1))
    }

    /// The same limit with leases of that server, where it is one of the fleet.
    pub(crate) fn granted_by(&mut self, center: &Center) {
        if self.fleet.is_some() {
            self.salt = center.salt;
            self.bucket_id ^= center.salt;
        }
    }

    /// How the fleet names one bucket of this limit; None: it has but one.
    pub(crate) fn part(&self, bucket_id: u64) -> Option<u64> {
        (bucket_id != self.bucket_id).then_some(bucket_id ^ self.salt)
    }

    /// Whether it must wait for the body, because what it counts or looks at is there.
    pub(crate) fn needs_body(&self) -> bool {
        let by_class = !self.classes.is_empty() || self.per.contains(&Per::Class);
        // Budgets are drawn on once everything else has let the request through.
        self.term().is_some() || self.unit == Unit::Tokens || by_class || self.looks_at_models()
    }

    /// Whether it looks at the model.
    pub(crate) fn looks_at_models(&self) -> bool {
        !self.models.is_empty() || self.per.contains(&Per::Model)
    }

    /// Whether it applies to that request.
    pub(crate) fn covers(&self, traits: &RequestTraits<'_>) -> bool {
        if let Some(term) = self.term() {
            return is_in_scope(&term.scope, traits);
        }
        let class = self.classes.is_empty() || self.classes.iter().any(|class| traits.classes.contains(*class));
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

    /// The id of that request's bucket. A cryptographic hash: a client that chooses a model's name must not choose
    /// the bucket.
    pub fn bucket_id(&self, traits: &RequestTraits<'_>) -> u64 {
        if self.per.is_empty() {
            return self.bucket_id;
        }
        let mut digest = Sha256::new();
        digest.update((self.bucket_id ^ self.salt).to_le_bytes());
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
        bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) & !FIXED ^ self.salt
    }
}

/// Whether a hard budget covers a request. What a client can choose (a feature, a class, a model) narrows none.
fn is_in_scope(scope: &stage::Scope, traits: &RequestTraits<'_>) -> bool {
    match scope {
        stage::Scope::Route(route) => traits.route == Some(route),
        stage::Scope::Key(key) => traits.key == &**key,
        stage::Scope::Keys(keys) => keys.iter().any(|key| traits.key == &**key),
        stage::Scope::Tenant
        | stage::Scope::Feature(_)
        | stage::Scope::Class(_)
        | stage::Scope::Model(_)
        | stage::Scope::User(_) => true,
    }
}

/// A bucket of that rate; without a capacity it holds what one period refills.
pub(crate) fn compile_bucket(rate: Rate, capacity: Option<u64>, path: &str) -> Result<Bucket, ConfigError> {
    let Rate { units, period_ms } = rate;
    Bucket::new(capacity.unwrap_or(units), units, period_ms)
        .map_err(|error| ConfigError::new(format!("{path}.capacity"), error))
}
