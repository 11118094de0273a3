//! Leases of fleet-wide limits: the center of one `weir serve`, in its data directory or where the ledger is, or in a Redis that several share.
mod database;
mod shared;
mod thread;
pub mod view;

use std::path::Path;
use std::sync::Arc;

use weir_clock::Clock;
use weir_contract::lease::{Answer, Call, DrawAnswer, DrawCall};
use weir_database::{Fence, Place};
use weir_leases::Timing;
use weir_leases::center::Counts;
use weir_leases::limit::Levels;
use weir_leases_redis::{LeasesPlace, RedisLeasesError};

pub(crate) use database::LeaseDatabase;
use shared::SharedLeases;
pub(crate) use shared::{check, look};
use thread::LeaseThread;
use view::{LimitRow, LimitsQuery};

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeasesError {
    /// Too many calls wait.
    #[error("busy; come again")]
    Busy,
    /// What was decided could not be stored, so nothing is granted.
    #[error("the leases cannot be stored")]
    Unsaved,
    /// The Redis gives no answer.
    #[error(transparent)]
    Redis(#[from] RedisLeasesError),
}

/// How leases stand, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseTotals {
    /// What this process answered.
    pub counts: Counts,
    /// Limits and leases on them; in a Redis, those of all processes.
    pub levels: Levels,
    /// Calls that the Redis did not answer.
    pub failed: u64,
}

/// Where the center of one `weir serve` keeps its leases.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// The database.
    pub place: &'a Place,
    /// A file whose leases go on in a new database elsewhere.
    pub before: &'a Path,
    /// What its writes obey.
    pub fence: &'a Fence,
}

/// The center, for every handler.
#[derive(Clone, Debug)]
pub struct Leases(Center);

#[derive(Clone, Debug)]
enum Center {
    Here(LeaseThread),
    Shared(Arc<SharedLeases>),
}

impl Leases {
    /// Starts the center that keeps its leases at `home`. `new` says that nothing was ever kept: then nobody holds a lease.
    pub fn start(home: Home<'_>, timing: Timing, new: bool, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        LeaseThread::start(home, timing, new, clock).map(|thread| Leases(Center::Here(thread)))
    }

    /// Joins the center in a Redis. The file at `note` says that this data directory had leases there before. A Redis that
    /// does not answer is asked again with the first call.
    pub async fn join(
        place: &LeasesPlace,
        timing: Timing,
        note: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LeasesError> {
        let shared = SharedLeases::open(place, timing, note, clock)?;
        match shared.join().await {
            Err(error @ LeasesError::Redis(RedisLeasesError::Away(_))) => {
                tracing::warn!(%error, "fleet-wide limits are refused or shared until it does");
            }
            joined => joined?,
        }
        Ok(Leases(Center::Shared(Arc::new(shared))))
    }

    /// Answers a checked `POST /v1/leases`.
    pub async fn call(&self, call: Call) -> Result<Answer, LeasesError> {
        match &self.0 {
            Center::Here(thread) => thread.call(call).await,
            Center::Shared(shared) => shared.call(&call).await,
        }
    }

    /// Answers a checked `POST /v1/leases/draw`.
    pub async fn draw(&self, call: DrawCall) -> Result<DrawAnswer, LeasesError> {
        match &self.0 {
            Center::Here(thread) => thread.draw(call).await,
            Center::Shared(shared) => shared.draw(&call).await,
        }
    }

    /// The limits that a query selects.
    pub async fn view(&self, query: LimitsQuery) -> Result<Vec<LimitRow>, LeasesError> {
        match &self.0 {
            Center::Here(thread) => thread.view(query).await,
            Center::Shared(shared) => shared.view(&query).await,
        }
    }

    /// How leases stand.
    pub async fn totals(&self) -> Result<LeaseTotals, LeasesError> {
        match &self.0 {
            Center::Here(thread) => thread.totals().await,
            Center::Shared(shared) => shared.totals().await,
        }
    }
}

#[cfg(test)]
mod tests;
