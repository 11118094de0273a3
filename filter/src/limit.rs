//! Holds a tenant to its plan: token buckets, exact across the workers of a gateway.
//!
//! All of a tenant's buckets are one value of the gateway's shared data, changed under one compare-and-swap: a
//! request draws from all its buckets or from none. Refusing writes nothing, so a flood of refused requests does not
//! slow admitted ones.
//!
//! Limits are rates. A quota of a day or a month is a sum over all gateways that only the ledger knows: it is a state
//! of the tenant ([`weir_contract::directory::TenantState`]), not a bucket.
//!
//! A limit of the whole fleet draws from a lease instead, in the same value and under the same compare-and-swap. A pool, which
//! several tenants share, has a value of its own ([`set`]).
//!
//! [`bucket`] is the arithmetic, [`lease`] that of leases, [`rule`] one limit of a plan, [`record`] the bytes of the shared value, [`shared`]
//! the loop over the gateway's store, [`headers`] what clients are told.
pub(crate) mod account;
pub mod bucket;
pub mod center;
pub(crate) mod hard;
pub mod headers;
pub mod lease;
mod leased;
pub mod record;
pub mod rule;
pub mod set;
pub mod shared;

pub use bucket::{Bucket, CapacityError};
pub use center::Center;
pub use rule::{Limit, RequestTraits};
pub use shared::SharedBuckets;

use std::rc::Rc;

pub(crate) use weir_config::plans::Unreachable;
use weir_contract::Timestamp;

use crate::store::Store;

/// What a bucket counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Requests.
    #[default]
    Requests,
    /// LLM tokens, input and output.
    Tokens,
    /// Cost, in millionths of a currency.
    Cost,
}

impl Unit {
    /// As headers and errors write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Requests => "requests",
            Unit::Tokens => "tokens",
            Unit::Cost => "cost",
        }
    }
}

/// The attempts of one request at providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// How many there were.
    pub made: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many ran into the limit of a tenant's own account.
    pub own_limited: u64,
    /// Breakers that they opened.
    pub opened: u64,
    /// Breakers that they closed.
    pub closed: u64,
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
    /// Whether the whole fleet shares the bucket, so that a lease is drawn from; and how to go on without weir serve.
    pub fleet: Option<Unreachable>,
    /// What the units were drawn from.
    pub from: DrawnFrom,
}

/// What a charge was drawn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrawnFrom {
    /// A bucket of this process.
    #[default]
    Bucket,
    /// The lease that this process holds.
    Lease,
    /// The share that weir serve has set aside for the time in which it cannot be reached.
    Share,
    /// The fleet's bucket, for this request alone.
    Center,
    /// Nothing: weir serve cannot be reached, and the limit is open without it.
    Nothing,
}

/// The decision of the limits about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Drawn from every bucket; one standing per charge, in order.
    Admitted(Vec<Standing>),
    /// Nothing was drawn, because this bucket has too little.
    Limited(Standing),
    /// Nothing was drawn, because only leases have too little, of which weir serve may have more.
    Short(Box<Short>),
    /// Nothing was drawn, because a lease has run out and weir serve does not answer.
    Unreachable(Standing),
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
    /// What it was drawn from.
    pub from: DrawnFrom,
    /// The worker is to see to the renewal of the lease.
    pub due: bool,
}

impl Standing {
    /// Of a limit that clients are told nothing of but the wait: none of the plan's.
    pub(crate) const HIDDEN: Standing = Standing { limit: usize::MAX, ..Standing::ANY };

    /// Of any limit: for what does not depend on it.
    pub(crate) const ANY: Standing = Standing {
        limit: 0,
        unit: Unit::Requests,
        bucket_id: 0,
        capacity: 0,
        remaining: 0,
        wait_ms: 0,
        from: DrawnFrom::Bucket,
        due: false,
    };
}

/// Leases that have too little for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// Which charges they are, by their place; at least one.
    pub lacking: Vec<usize>,
    /// What a request is told that cannot be held while weir serve is asked.
    pub standing: Standing,
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

/// A request asked for units of a limit of the fleet: the worker is to see to the renewal of its lease.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// Whose limit it is.
    pub tenant: &'a str,
    /// The limit.
    pub limit: &'a Limit,
    /// The draw.
    pub charge: &'a Charge,
    /// Who grants the lease.
    pub center: &'a Rc<Center>,
}

/// Draws from a tenant's buckets and gives back. One implementation: [`SharedBuckets`].
pub trait Limiter {
    /// Draws every charge or none.
    fn take(&mut self, tenant: &str, charges: &[Charge], now: Timestamp) -> Verdict;

    /// Settles what [`Limiter::take`] drew: unused units return, up to each bucket's capacity; units used beyond it
    /// are drawn too, as a debt if need be, which later refill pays.
    fn settle(&mut self, tenant: &str, settlements: &[Settlement], now: Timestamp) -> Result<(), Fault>;

    /// Notes that a lease is in demand. Without it nobody renews the lease.
    fn note(&mut self, demand: &Demand<'_>, now: Timestamp) {
        let _unseen = (demand, now);
    }

    /// The center refused to draw `charge` for one request: it has too little for so many milliseconds. None: it did not
    /// answer.
    fn refused(&mut self, tenant: &str, charge: &Charge, wait_ms: Option<u64>, now: Timestamp) {
        let _unseen = (tenant, charge, wait_ms, now);
    }

    /// The gateway's shared data, where the breakers of providers stand; None where there is none.
    fn shared(&mut self) -> Option<Box<dyn Store + '_>> {
        None
    }

    /// Counts the attempts of one request at providers.
    fn attempted(&mut self, tally: Attempts) {
        let _unseen = tally;
    }

    /// Gives back everything that [`Limiter::take`] drew.
    fn give_back(&mut self, tenant: &str, charges: &[Charge], now: Timestamp) -> Result<(), Fault> {
        let unused: Vec<_> = charges.iter().map(|charge| Settlement { reserved: *charge, used: 0 }).collect();
        self.settle(tenant, &unused, now)
    }
}
