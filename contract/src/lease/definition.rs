//! Which limit a lease belongs to, and how large that limit is.
use serde::{Deserialize, Serialize};

use super::{CAPACITY_MAX, NAME_MAX_BYTES, PERIOD_MAX_MS, TIERS_MAX};
use crate::tenant::{TenantId, is_id_byte};

/// The name of a limit in the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Whose limit it is.
    pub owner: Owner,
    /// The limit's name in the tenant's plan, or what a pool counts. A budget's name ends with its period.
    pub limit: String,
    /// The bucket of a limit with one bucket for each user, model or the like: its id as 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A tenant's own limit.
    Tenant(TenantId),
    /// A provider account's quota, which tenants share by tier.
    Pool(String),
}

/// A limit's size and refill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What the bucket holds at most, in units.
    #[serde(deserialize_with = "crate::whole::number")]
    pub capacity: u64,
    /// Units that refill in `period_ms`; 0 for a budget, which never refills.
    #[serde(deserialize_with = "crate::whole::number")]
    pub refill: u64,
    /// The period of the refill.
    #[serde(deserialize_with = "crate::whole::number")]
    pub period_ms: u64,
    /// The tiers of a pool. Empty: everything is one tier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
}

/// One tier of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Its share of capacity and refill. The shares of a pool are at most 100 together.
    #[serde(deserialize_with = "crate::whole::number")]
    pub percent: u8,
}

/// Why a key or definition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// A name is empty, too long, or has other characters.
    #[error("a name is 1 to {NAME_MAX_BYTES} characters of A-Z a-z 0-9 . _ ~ : @ | / + = -")]
    Name,
    /// A part is no bucket id.
    #[error("a part is 16 hex digits")]
    Part,
    /// Capacity, refill or period is out of range.
    #[error("a limit holds 1 to {CAPACITY_MAX} units and refills by at most {CAPACITY_MAX} in 1 to {PERIOD_MAX_MS} ms")]
    Size,
    /// The tiers of a pool cannot be.
    #[error("a pool has at most {TIERS_MAX} tiers of different names, each 1 to 100 percent and at most 100 together")]
    Tiers,
}

impl Key {
    /// Whether names keep to their grammar.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let pool = match &self.owner {
            Owner::Tenant(_) => "tenant",
            Owner::Pool(name) => name,
        };
        if !is_name(pool) || !is_name(&self.limit) {
            return Err(DefinitionError::Name);
        }
        let is_part = |part: &String| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.part.as_ref().is_none_or(is_part) { Ok(()) } else { Err(DefinitionError::Part) }
    }
}

impl Definition {
    /// Whether all numbers and tiers are in range.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let sized = (1..=CAPACITY_MAX).contains(&self.capacity)
            && self.refill <= CAPACITY_MAX
            && (1..=PERIOD_MAX_MS).contains(&self.period_ms);
        if !sized {
            return Err(DefinitionError::Size);
        }
        let total: u32 = self.tiers.iter().map(|tier| u32::from(tier.percent)).sum();
        let named = self.tiers.iter().all(|tier| is_name(&tier.name) && tier.percent > 0);
        let mut names: Vec<_> = self.tiers.iter().map(|tier| &tier.name).collect();
        names.sort_unstable();
        names.dedup();
        let fits = self.tiers.len() <= TIERS_MAX && names.len() == self.tiers.len() && named && total <= 100;
        if fits { Ok(()) } else { Err(DefinitionError::Tiers) }
    }
}

/// Whether a text is a name of the protocol.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_MAX_BYTES).contains(&text.len()) && text.bytes().all(is_id_byte)
}
