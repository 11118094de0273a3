//! The center of fleet-wide limits in a Redis: several `weir serve` are one center.
//!
//! [`weir_leases`] has the arithmetic of a center in memory. The script in `lua/` is the same arithmetic, integer by integer,
//! and keeps each limit as [`weir_leases::Limit`] writes itself; a test compares both over random calls.
//!
//! # Constraints
//!
//! - One script takes one report, draw or undoing, whole or not at all, at the server's own time. A call reads that time once
//!   and passes it on, so that all its limits and its answer have one time; the script refuses one that is over a second old.
//! - A call is idempotent as the protocol asks, by gateway and lease number, since leases are in the Redis: it may be repeated at
//!   another `weir serve`.
//! - The Redis evicts nothing (`maxmemory-policy noeviction`): a limit that is gone begins full.
//! - Every wait is bounded. A call without an answer has granted nothing that the gateway knows of, and the limit counts what it
//!   granted until the lease ends.
//!
//! # Layout
//!
//! The keys begin with `weir:leases:{NAME/P}:`. `P` is the number of the partition, of which the tenant or pool decides.
//!
//! | key | type | content |
//! |---|---|---|
//! | `memory` | string | `EPOCH:LOST_MS`: the center's memory, the same in each partition |
//! | `limit:KEY` | string that expires | one limit in JSON; `KEY` is its key in JSON |
//!
//! A limit expires once it says no more than a new one; a budget after its period.
//!
//! # Recovery
//!
//! - A connection is lost: the call fails, the next one connects anew.
//! - The script is unknown (a restart, a fail-over): it is sent again.
//! - `memory` is gone, in one partition or in all: the center begins a new epoch, in which each new limit starts empty until all
//!   leases of the earlier one have ended.
//! - A fail-over to a replica that lagged, or a restart from an append-only file that lacks the last second: limits go back by that
//!   much. What was granted in between may be granted once more, until gateways report what they were granted; limits pay it then.
mod answer;
mod connection;
mod memory;
mod script;
mod step;
mod store;
mod survey;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use weir_settings::redis::{RedisServer, RedisSettingsError};

pub use store::RedisLeases;
pub use survey::Survey;

/// The name of leases whose settings give none.
pub const DEFAULT_NAME: &str = "weir";

/// Where leases are in a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasesPlace {
    /// The server.
    pub server: RedisServer,
    /// The directory where the relative paths of its settings start.
    pub base: PathBuf,
    /// The leases' name, part of their keys.
    pub name: String,
}

impl LeasesPlace {
    /// Address and name, as errors say them.
    pub fn label(&self) -> String {
        format!("{} ({})", self.server, self.name)
    }
}

/// Why the Redis gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisLeasesError {
    /// It cannot be reached, or is too slow.
    #[error("the leases' Redis does not answer: {0}")]
    Away(String),
    /// It refuses.
    #[error("the leases' Redis refuses: {0}")]
    Refused(String),
    /// Its settings lose limits.
    #[error("the leases' Redis would lose limits: {0}")]
    Unsafe(String),
    /// Password or roots cannot be read.
    #[error("leases: {0}")]
    Settings(String),
}

impl From<RedisSettingsError> for RedisLeasesError {
    fn from(error: RedisSettingsError) -> Self {
        RedisLeasesError::Settings(error.to_string())
    }
}
