//! `POST /v1/leases`: what a gateway reports and wants, and what it is granted.
use serde::{Deserialize, Serialize};

use super::definition::is_name;
use super::{COUNT_MAX, Definition, DefinitionError, Key, LEASES_MAX};

/// The body of `POST /v1/leases`: all limits with recent demand of one gateway process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The gateway process. All workers that share one store are one process; a new or wiped store is a new one.
    pub gateway: String,
    /// When the gateway sent it, by its own clock. The answer repeats it.
    #[serde(deserialize_with = "crate::whole::number")]
    pub sent_ms: u64,
    /// Whether the gateway can hold a request while it asks. Kong cannot.
    pub draws: bool,
    /// One report for each lease; two of one call never have the same key.
    pub leases: Vec<Report>,
}

/// What a gateway reports about one lease, and wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The limit.
    pub key: Key,
    /// Its size and refill as this gateway's configuration says.
    pub definition: Definition,
    /// The tier of a pool to draw on; absent for a limit without tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The lease's number.
    #[serde(deserialize_with = "crate::whole::number")]
    pub lease: u64,
    /// The epoch of `granted`; 0 before the first answer.
    #[serde(default, deserialize_with = "crate::whole::number")]
    pub epoch: u64,
    /// The total that the gateway has applied.
    #[serde(default, deserialize_with = "crate::whole::number")]
    pub granted: u64,
    /// The total that it drew.
    #[serde(default, deserialize_with = "crate::whole::number")]
    pub spent: u64,
    /// The total that it gives back to the center.
    #[serde(default, deserialize_with = "crate::whole::number")]
    pub returned: u64,
    /// How many units it wants to hold; 0 asks for nothing.
    #[serde(deserialize_with = "crate::whole::number")]
    pub want: u64,
    /// The largest reservation that it saw lately, at least 1.
    #[serde(deserialize_with = "crate::whole::number")]
    pub largest: u64,
    /// Whether the gateway goes on with its share where it cannot reach the center.
    #[serde(default, skip_serializing_if = "is_false")]
    pub share: bool,
    /// `at_ms` of the last answer that it applied for this limit, also under an earlier lease; 0 for none.
    #[serde(default, deserialize_with = "crate::whole::number")]
    pub heard_ms: u64,
}

/// The answer to a [`Call`], with status 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The center's memory.
    pub epoch: u64,
    /// [`Call::sent_ms`].
    pub sent_ms: u64,
    /// When the center answered, by its own clock: an opaque number to the gateway, which repeats it as `heard_ms`.
    pub at_ms: u64,
    /// How long each lease lasts, from `sent_ms` by the gateway's clock.
    pub ttl_ms: u64,
    /// One grant for each report, in its order.
    pub leases: Vec<Grant>,
}

/// The state of one lease after a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The lease's number.
    pub lease: u64,
    /// What the gateway is to do.
    pub state: LeaseState,
    /// The total that this lease was ever granted.
    #[serde(default)]
    pub granted: u64,
    /// How many units the gateway should hold at most.
    #[serde(default)]
    pub target: u64,
    /// Whole units left at the center, for this tier.
    #[serde(default)]
    pub level: u64,
    /// Milliseconds until the center has `largest` units; 0 if it has them now, [`COUNT_MAX`] if it never has.
    #[serde(default)]
    pub wait_ms: u64,
    /// `N` of the share `R / N`; 0 for none.
    #[serde(default)]
    pub sharers: u64,
}

/// What a gateway is to do with a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Spend it.
    #[default]
    Held,
    /// Ask for each request: the limit is too small to be divided further. Units granted earlier stay its own.
    Draw,
    /// Drop it, and begin another under a new number: the center does not know it.
    Lapsed,
    /// Do as without the center: its table is full, or this pool has other tiers at present.
    Refused,
}

/// Why a call is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The gateway's name.
    #[error("gateway: {}", DefinitionError::Name)]
    Gateway,
    /// The time of sending.
    #[error("sent_ms is at most {COUNT_MAX}")]
    Sent,
    /// Too many entries, or none.
    #[error("a call has 1 to {LEASES_MAX} entries")]
    Length,
    /// A key or definition.
    #[error("entry {index}: {error}")]
    Definition {
        /// The entry, from 0.
        index: usize,
        /// What is wrong with it.
        error: DefinitionError,
    },
    /// A number out of range.
    #[error("entry {index}: every count is at most {COUNT_MAX}, `largest`, `cost` and `lease` are at least 1")]
    Count {
        /// The entry, from 0.
        index: usize,
    },
    /// A tier that the definition lacks, or none though it has tiers.
    #[error("entry {index}: `tier` is one of the pool's tiers, and absent without them")]
    Tier {
        /// The entry, from 0.
        index: usize,
    },
    /// A key twice.
    #[error("entry {index}: its key is there twice")]
    Twice {
        /// The entry, from 0.
        index: usize,
    },
}

impl CallError {
    /// Whether every field is in range and they contradict each other.
    pub fn is_contradiction(&self) -> bool {
        let tiers = matches!(self, CallError::Definition { error: DefinitionError::Tiers, .. });
        tiers || matches!(self, CallError::Tier { .. } | CallError::Twice { .. })
    }
}

impl Call {
    /// Whether everything is in range.
    pub fn check(&self) -> Result<(), CallError> {
        if self.sent_ms > COUNT_MAX {
            return Err(CallError::Sent);
        }
        let entries = self.leases.iter().map(|report| {
            let Report { lease, epoch, granted, spent, returned, want, heard_ms, .. } = *report;
            let counts = [lease, epoch, granted, spent, returned, want, heard_ms];
            let fits = counts.iter().all(|count| *count <= COUNT_MAX) && report.lease > 0 && is_cost(report.largest);
            (&report.key, &report.definition, report.tier.as_deref(), fits)
        });
        check_entries(&self.gateway, entries)
    }
}

/// Checks what calls and draws have in common.
pub(super) fn check_entries<'a>(
    gateway: &str,
    entries: impl ExactSizeIterator<Item = (&'a Key, &'a Definition, Option<&'a str>, bool)>,
) -> Result<(), CallError> {
    if !is_name(gateway) {
        return Err(CallError::Gateway);
    }
    if !(1..=LEASES_MAX).contains(&entries.len()) {
        return Err(CallError::Length);
    }
    let mut keys = std::collections::BTreeSet::new();
    for (index, (key, definition, tier, counts_fit)) in entries.enumerate() {
        key.check().and_then(|()| definition.check()).map_err(|error| CallError::Definition { index, error })?;
        if !counts_fit {
            return Err(CallError::Count { index });
        }
        let known = match tier {
            None => definition.tiers.is_empty(),
            Some(name) => definition.tiers.iter().any(|tier| tier.name == name),
        };
        if !known {
            return Err(CallError::Tier { index });
        }
        if !keys.insert((key, tier)) {
            return Err(CallError::Twice { index });
        }
    }
    Ok(())
}

/// Whether a request may cost that much.
pub(super) fn is_cost(cost: u64) -> bool {
    (1..=COUNT_MAX).contains(&cost)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}
