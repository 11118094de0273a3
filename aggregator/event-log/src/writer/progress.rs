//! What the writer has done, for metrics and readiness.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::Position;

/// The time for which a refusal (disk full, file locked) is shown as the current state.
const REFUSED_SHOWN: Duration = Duration::from_secs(30);

/// The writer's counters and state, shared with metrics and readiness.
#[derive(Debug, Default)]
pub struct Progress {
    last: AtomicU64,
    groups: AtomicU64,
    broken: OnceLock<String>,
    refused: Mutex<Option<(Duration, String)>>,
}

impl Progress {
    /// The progress of a writer whose log ends at `last`.
    pub(super) fn at(last: Position) -> Self {
        Progress { last: AtomicU64::new(last), ..Progress::default() }
    }

    /// Notes a committed group.
    pub(super) fn add_group(&self, last: Position) {
        self.last.store(last, Ordering::Release);
        self.groups.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the log is broken. The first reason stays.
    pub(super) fn set_broken(&self, why: String) {
        let _ = self.broken.set(why);
    }

    /// The last synced position.
    pub fn last(&self) -> Position {
        self.last.load(Ordering::Acquire)
    }

    /// Committed groups.
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Why the last append was refused, if that was less than [`REFUSED_SHOWN`] before `now` (elapsed time). An older refusal
    /// says nothing about the current state.
    pub fn refused(&self, now: Duration) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref().filter(|(at, _)| now.saturating_sub(*at) < REFUSED_SHOWN).map(|(_, why)| why.clone())
    }

    pub(super) fn set_refused(&self, refused: Option<(Duration, String)>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }

    /// Why the writer has stopped, if it has.
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }
}
