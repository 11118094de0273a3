//! Holds a tenant to its plan: token buckets, exact across the workers of a gateway.
//!
//! All of a tenant's buckets are one value of the gateway's shared data, changed under one compare-and-swap: a
//! request draws from all its buckets or from none. Refusing writes nothing, so a flood of refused requests does not
//! slow admitted ones.
//!
//! Limits are rates. A quota of a day or a month is a sum over all gateways that only the ledger knows: it is a state
//! of the tenant ([`weir_contract::directory::TenantState`]), not a bucket.
//!
//! [`bucket`] is the arithmetic, [`rule`] one limit of a plan, [`record`] the bytes of the shared value, [`shared`]
//! the loop over the gateway's store, [`headers`] what clients are told.
pub mod bucket;
pub mod headers;
pub mod record;
pub mod rule;
pub mod shared;

pub use bucket::{Bucket, CapacityError};
pub use rule::{Limit, RequestTraits};
pub use shared::SharedBuckets;

use weir_contract::Timestamp;

/// What a bucket counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Requests.
    #[default]
    Requests,
    /// LLM tokens, input and output.
    Tokens,
}

impl Unit {
    /// As headers and errors write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Requests => "requests",
            Unit::Tokens => "tokens",
        }
    }
}

/// A draw from one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The index of the limit in its plan.
    pub limit: usize,
    /// What it counts.
    pub unit: Unit,
    /// The bucket among the tenant's buckets.
    pub bucket_id: u64,
    /// The bucket to draw from if `bucket_id` finds no room: one for all values of a limit that clients name.
    pub shared_bucket_id: u64,
    /// Its size and refill.
    pub bucket: Bucket,
    /// How many units to draw; at most the capacity.
    pub cost: u64,
}

/// The decision of the limits about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Drawn from every bucket; one standing per charge, in order.
    Admitted(Vec<Standing>),
    /// Nothing was drawn, because this bucket has too little.
    Limited(Standing),
    /// The store failed, so nothing is known.
    Unavailable(Fault),
}

/// The state of a bucket after a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// [`Charge::limit`].
    pub limit: usize,
    /// What it counts.
    pub unit: Unit,
    /// The bucket that was drawn from.
    pub bucket_id: u64,
    /// What it holds at most, in units.
    pub capacity: u64,
    /// What is left, in whole units.
    pub remaining: u64,
    /// If admitted, the time until it is full again; if limited, the time until this request would be admitted without
    /// other draws.
    pub wait_ms: u64,
}

impl Standing {
    /// Of any limit: for what does not depend on it.
    pub const ANY: Standing =
        Standing { limit: 0, unit: Unit::Requests, bucket_id: 0, capacity: 0, remaining: 0, wait_ms: 0 };
}

/// What a request drew, and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// What was reserved.
    pub reserved: Charge,
    /// What was used.
    pub used: u64,
}

/// Why the limits could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store failed.
    Store,
    /// Others were first [`shared::CAS_RETRIES_MAX`] times in a row.
    Contended,
    /// Every key for this tenant belongs to another one (Kong compares keys by CRC32 only).
    Aliased,
}

/// Draws from a tenant's buckets and gives back. One implementation: [`SharedBuckets`].
pub trait Limiter {
    /// Draws every charge or none.
    fn take(&mut self, tenant: &str, charges: &[Charge], now: Timestamp) -> Verdict;

    /// Settles what [`Limiter::take`] drew: unused units return, up to each bucket's capacity; units used beyond it
    /// are drawn too, as a debt if need be, which later refill pays.
    fn settle(&mut self, tenant: &str, settlements: &[Settlement], now: Timestamp) -> Result<(), Fault>;

    /// Gives back everything that [`Limiter::take`] drew.
    fn give_back(&mut self, tenant: &str, charges: &[Charge], now: Timestamp) -> Result<(), Fault> {
        let unused: Vec<_> = charges.iter().map(|charge| Settlement { reserved: *charge, used: 0 }).collect();
        self.settle(tenant, &unused, now)
    }
}
