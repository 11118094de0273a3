//! What the VMs of one gateway share: data with compare-and-swap, queues, metrics.
//!
//! One [`SharedStore`] stands for one process. Shared data and queues are keyed by `vm_id`, metrics are not. Every
//! operation takes one process-wide lock for its length, as on the real hosts, so workers may be real threads.

mod data;
mod metrics;
mod queues;

use std::sync::{Arc, Mutex, MutexGuard};

pub use data::{DataRules, SharedData};
pub use metrics::{Metric, Metrics};
pub use queues::Queues;

/// Everything behind the lock.
#[derive(Debug, Default)]
pub struct Shared {
    /// Key-value data.
    pub data: SharedData,
    /// Message queues.
    pub queues: Queues,
    /// Counters, gauges, histograms.
    pub metrics: Metrics,
}

/// A handle on the store of one process. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct SharedStore(Arc<Mutex<Shared>>);

impl SharedStore {
    /// Locks the store for one operation.
    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().expect("no operation on the shared store panics")
    }
}
