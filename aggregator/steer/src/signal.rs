//! What the engine, on the ledger's thread, tells the server.
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use weir_contract::Timestamp;
use weir_ledger::steering::Moment;

/// What the engine tells others.
#[derive(Debug, Default)]
pub struct Signal {
    changes: AtomicU64,
    position: AtomicU64,
    at: AtomicU64,
    unwritten: AtomicU64,
    left_out: AtomicU64,
    unpriced: AtomicU64,
    /// Wakes the one task that tells gateways.
    changed: Notify,
}

impl Signal {
    /// Returns once a stage in force has changed since it was called last.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A number that rises with each change of a stage in force.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The position of the log up to which budgets are evaluated.
    pub fn evaluated_through(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// How often an end user was not counted, since too many were already.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Acquire)
    }

    /// How many requests the amounts of budgets of cost lack, since the start: they had no price, or one in another currency.
    pub fn unpriced(&self) -> u64 {
        self.unpriced.load(Ordering::Acquire)
    }

    pub(crate) fn note_left_out(&self) {
        self.left_out.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn note_unwritten(&self, rows: usize) {
        self.unwritten.store(rows as u64, Ordering::Release);
    }

    /// How many rows are behind what is known; writing them needs no event.
    pub fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Acquire)
    }

    /// When the last evaluated record was received; None before the first.
    pub fn evaluated_at(&self) -> Option<Timestamp> {
        Some(self.at.load(Ordering::Acquire)).filter(|at| *at > 0).map(Timestamp::from_millis)
    }

    /// The moment up to which is evaluated: what happens without an event evaluates nothing further.
    pub(crate) fn last(&self, moment: Moment) -> Moment {
        Moment { position: self.evaluated_through(), now: self.evaluated_at().unwrap_or(moment.now) }
    }

    pub(crate) fn note(&self, followed: Followed) {
        self.position.store(followed.moment.position, Ordering::Release);
        self.at.fetch_max(followed.moment.now.as_millis(), Ordering::AcqRel);
        self.unpriced.fetch_add(followed.unpriced, Ordering::AcqRel);
        if followed.changed {
            self.changes.fetch_add(1, Ordering::AcqRel);
            self.changed.notify_one();
        }
    }
}

/// What a transaction did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    pub(crate) moment: Moment,
    /// A stage in force has changed.
    pub(crate) changed: bool,
    /// Requests that amounts of cost lack, for each budget that covers them.
    pub(crate) unpriced: u64,
}
