//! Pools as they are compiled from the configuration: the quota of a provider account, and the part of it that each plan's
//! requests draw from.
use std::collections::BTreeMap;
use std::rc::Rc;

use weir_config::ConfigError;
use weir_config::plans::pools;
use weir_config::routing::Provider;
use weir_contract::lease::{Key, Owner, Tier};

use crate::limit::account::Account;
use crate::limit::rule::{Limit, compile_bucket};
use crate::limit::set::{LimitSet, pool_record};
use crate::limit::{Center, Unit};
use crate::plan::{Plan, Plans};

/// The most pools of a configuration.
pub(crate) const POOLS_MAX: usize = 64;

/// The quota of a provider account.
#[derive(Debug, PartialEq)]
pub struct Pool {
    pub(crate) name: Box<str>,
    /// The limits of each tier; those of no tier under an empty name.
    tiers: Vec<(Box<str>, LimitSet)>,
}

/// The pools of a configuration, by name.
#[derive(Debug, Default)]
pub struct Pools(BTreeMap<Box<str>, Rc<Pool>>);

impl Pools {
    /// Checks and compiles them.
    pub(crate) fn compile(pools: BTreeMap<String, pools::Pool>, center: Option<&Center>) -> Result<Self, ConfigError> {
        if pools.len() > POOLS_MAX {
            return Err(ConfigError::new("pools", format_args!("at most {POOLS_MAX} pools")));
        }
        if let (Some(name), None) = (pools.keys().next(), center) {
            let problem = "nothing says which weir serve divides the pool: give `leases` or `directory`";
            return Err(ConfigError::new(format!("pools.{name}"), problem));
        }
        let compiled = pools.into_iter().map(|(name, pool)| {
            let pool = Pool::compile(&name, &pool, center)?;
            Ok((name.into(), Rc::new(pool)))
        });
        compiled.collect::<Result<_, _>>().map(Pools)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pool that a route names.
    pub(crate) fn named(&self, name: &str, path: &str) -> Result<Rc<Pool>, ConfigError> {
        let known = || self.0.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
        let unknown = || ConfigError::new(path, format_args!("no pool is named {name:?}; pools are: {}", known()));
        self.0.get(name).cloned().ok_or_else(unknown)
    }

    /// The pool of each provider.
    pub(crate) fn of_providers(&self, providers: &[Provider]) -> Result<Vec<Option<Rc<Pool>>>, ConfigError> {
        let named = |(at, provider): (usize, &Provider)| {
            let pool = provider.pool.as_deref();
            pool.map(|pool| self.named(pool, &format!("providers[{at}].pool"))).transpose()
        };
        providers.iter().enumerate().map(named).collect()
    }

    /// Refuses a plan whose requests could not draw from a pool, and a tier that no pool has.
    pub(crate) fn check_plans(&self, plans: &Plans) -> Result<(), ConfigError> {
        for plan in plans.all() {
            let path = || format!("plans.{}", plan.name);
            if let Some(tier) = &plan.tier
                && !self.0.values().any(|pool| pool.has_tier(tier))
            {
                let problem =
                    format!("no pool has a tier {tier:?}: name it under `tiers` of a pool, or leave this out");
                return Err(ConfigError::new(format!("{}.tier", path()), problem));
            }
            if let Some(pool) = self.0.values().find(|pool| pool.set_of(plan).is_none()) {
                let problem = format_args!(
                    "the tiers of the pool {:?} take all of it, and none is this plan's: give `tier`, or leave a part to no tier",
                    pool.name
                )
                .to_string();
                return Err(ConfigError::new(path(), problem));
            }
        }
        Ok(())
    }

    /// Refuses a pool that no route and no provider names.
    pub(crate) fn check_use(&self, is_used: impl Fn(&Pool) -> bool) -> Result<(), ConfigError> {
        match self.0.values().find(|pool| !is_used(pool)) {
            None => Ok(()),
            Some(pool) => {
                let problem = "no route draws from it: name it as `pool` of a route or of a provider, or leave it out";
                Err(ConfigError::new(format!("pools.{}", pool.name), problem))
            }
        }
    }
}

impl Pool {
    fn compile(name: &str, pool: &pools::Pool, center: Option<&Center>) -> Result<Self, ConfigError> {
        let path = |field: &str| format!("pools.{name}{field}");
        if pool.requests.is_none() && pool.tokens.is_none() {
            return Err(ConfigError::new(path(""), "give `requests`, `tokens` or both"));
        }
        let tiers: Vec<_> =
            pool.tiers.iter().map(|(name, percent)| Tier { name: name.clone(), percent: *percent }).collect();
        let total: u32 = tiers.iter().map(|tier| u32::from(tier.percent)).sum();
        let rest = u8::try_from(100_u32.saturating_sub(total)).unwrap_or(0);
        let named = tiers.iter().map(|tier| (tier.name.as_str(), tier.percent));
        let all = named.chain((rest > 0).then_some(("", rest)));
        let mut compiled = Vec::new();
        for (tier, percent) in all {
            let account = Rc::new(Account {
                owner: Owner::Pool(name.to_owned()),
                tier: (!tier.is_empty()).then(|| tier.to_owned()),
                percent,
                tiers: tiers.clone(),
                term: None,
            });
            let limits = compile_limits(pool, &account, center, &path)?;
            compiled.push((tier.into(), LimitSet { record: pool_record(name, tier), limits: limits.into() }));
        }
        Ok(Pool { name: name.into(), tiers: compiled })
    }

    fn has_tier(&self, name: &str) -> bool {
        self.tiers.iter().any(|(tier, _)| **tier == *name)
    }

    /// What requests of a plan draw from: its tier, else what no tier reserves. Always there in a compiled policy.
    pub(crate) fn set_of(&self, plan: &Plan) -> Option<&LimitSet> {
        let own = plan.tier.as_deref().unwrap_or(&plan.name);
        let find = |name: &str| self.tiers.iter().find(|(tier, _)| **tier == *name).map(|(_, set)| set);
        find(own).or_else(|| find(""))
    }
}

fn compile_limits(
    pool: &pools::Pool,
    account: &Rc<Account>,
    center: Option<&Center>,
    path: &impl Fn(&str) -> String,
) -> Result<Vec<Limit>, ConfigError> {
    let mut limits = Vec::new();
    for (name, unit, bucket) in [("requests", Unit::Requests, pool.requests), ("tokens", Unit::Tokens, pool.tokens)] {
        let Some(pools::PoolBucket { rate, capacity }) = bucket else { continue };
        let path = path(&format!(".{name}"));
        let bucket = compile_bucket(rate, capacity, &path)?;
        let mut limit = Limit::of_account(name, unit, bucket, account, pool.unreachable.unwrap_or_default());
        let key = Key { owner: account.owner.clone(), limit: name.to_owned(), part: None };
        key.check().and_then(|()| limit.definition().check()).map_err(|error| ConfigError::new(&path, error))?;
        if bucket.capacity() * u64::from(account.percent) < 100 {
            let tier = account.tier.as_deref().unwrap_or("of no tier");
            let problem = format!("the share {tier} is less than one of {} {name}: raise it", bucket.capacity());
            return Err(ConfigError::new(path, problem));
        }
        if let Some(center) = center {
            limit.granted_by(center);
        }
        limits.push(limit);
    }
    Ok(limits)
}

#[cfg(test)]
mod tests;
