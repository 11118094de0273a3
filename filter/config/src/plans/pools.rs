//! What people write about pools: the quotas of provider accounts, which tenants share by tier.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Rate, Unreachable};

/// The quota of a provider account. All requests of routes that name the pool draw from it, beside the limits of their
/// plans: from both, or from neither. weir serve divides it among all gateways, so it needs `leases` or `directory`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The account's limit of requests. Absent: none.
    #[serde(default)]
    pub requests: Option<PoolBucket>,
    /// The account's limit of LLM tokens, input and output together. Absent: none.
    #[serde(default)]
    pub tokens: Option<PoolBucket>,
    /// The share of each tier, in percent: at most 100 together, and what is left serves plans of no tier. A tier borrows what
    /// others leave unused above half of their share. Empty: tenants share the pool without priorities.
    #[serde(default)]
    pub tiers: BTreeMap<String, u8>,
    /// How a gateway goes on once its lease has run out and weir serve does not answer. Absent: `refuse`.
    #[serde(default)]
    pub unreachable: Option<Unreachable>,
}

/// A token bucket of the whole fleet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolBucket {
    /// The rate at which the bucket refills.
    pub rate: Rate,
    /// The bucket's size: the largest burst. Absent: the rate's units.
    #[serde(default)]
    pub capacity: Option<u64>,
}
