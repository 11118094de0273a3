//! The state that the VMs of one gateway share: data with compare-and-swap, queues, metrics.
//!
//! One [`SharedStore`] represents one process. Shared data and queues are keyed by `vm_id`, metrics are not. Every
//! operation holds one process-wide lock, as on the real hosts, so workers may be real threads.

mod data;
mod metrics;
mod queues;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub use data::{DataRules, SharedData};
pub use metrics::{Metric, Metrics};
pub use queues::Queues;

/// The state behind the lock.
#[derive(Debug, Default)]
pub struct Shared {
    /// Key-value data.
    pub data: SharedData,
    /// Message queues.
    pub queues: Queues,
    /// Counters, gauges, histograms.
    pub metrics: Metrics,
}

/// A handle to the store of one process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SharedStore(Arc<Store>);

#[derive(Debug, Default)]
struct Store {
    shared: Mutex<Shared>,
    waited_nanos: AtomicU64,
    held_nanos: AtomicU64,
}

/// Time that operations on data spend on the lock, over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockTime {
    /// Waiting for the lock.
    pub waited: Duration,
    /// Holding the lock.
    pub held: Duration,
}

impl SharedStore {
    /// Locks the store for one operation.
    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().expect("no operation on the shared store panics")
    }

    /// Runs one operation on the data under the lock, and measures its time.
    pub fn data<T>(&self, operation: impl FnOnce(&mut SharedData) -> T) -> T {
        let asked = now();
        let mut shared = self.lock();
        let given = now();
        let outcome = operation(&mut shared.data);
        drop(shared);
        add(&self.0.waited_nanos, given.duration_since(asked));
        add(&self.0.held_nanos, given.elapsed());
        outcome
    }

    /// The time that [`SharedStore::data`] has spent so far.
    pub fn lock_time(&self) -> LockTime {
        let read = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        LockTime { waited: read(&self.0.waited_nanos), held: read(&self.0.held_nanos) }
    }
}

fn add(nanos: &AtomicU64, time: Duration) {
    nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[allow(clippy::disallowed_methods, reason = "for figures only: nothing that a guest sees depends on it")]
fn now() -> Instant {
    Instant::now()
}
