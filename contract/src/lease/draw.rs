//! `POST /v1/leases/draw`: one request that a lease is too small for.
use serde::{Deserialize, Serialize};

use super::call::{check_entries, is_cost};
use super::{CallError, Definition, Key};

/// The body of `POST /v1/leases/draw`: draws for one request, all or none.
///
/// The gateway first draws what it can from its leases, asks for the rest, and gives its own draws back if it is
/// refused. Drawn units are spent at once: a repeated call draws again, and a lost answer loses the units. What the
/// request does not use goes back as `returned` of the gateway's lease of that limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawCall {
    /// The gateway process.
    pub gateway: String,
    /// The draws; two of them never have the same key.
    pub draws: Vec<Draw>,
}

/// A draw on one limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draw {
    /// The limit.
    pub key: Key,
    /// Its size and refill as this gateway's configuration says.
    pub definition: Definition,
    /// The tier of a pool to draw on; absent for a limit without tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Units to draw. More than the capacity is never admitted.
    #[serde(deserialize_with = "crate::whole::number")]
    pub cost: u64,
}

/// The answer to a [`DrawCall`], with status 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawAnswer {
    /// The center's memory.
    pub epoch: u64,
    /// What was short; absent if everything was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<Short>,
    /// Whole units left at the center, one number for each draw in its order.
    pub levels: Vec<u64>,
}

/// The limit that takes longest to have enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Short {
    /// The draw, from 0.
    pub index: usize,
    /// Milliseconds until it has enough without other draws; absent if it never has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

impl DrawCall {
    /// Whether everything is in range.
    pub fn check(&self) -> Result<(), CallError> {
        let entries =
            self.draws.iter().map(|draw| (&draw.key, &draw.definition, draw.tier.as_deref(), is_cost(draw.cost)));
        check_entries(&self.gateway, entries)
    }
}
