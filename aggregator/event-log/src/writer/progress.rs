//! What the writer has done, for metrics and readiness.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::{AppendError, Position};

/// The time for which a refusal (disk full, file locked) is shown as the current state.
const REFUSED_SHOWN: Duration = Duration::from_secs(30);

/// The writer's counters and state, shared with metrics and readiness.
#[derive(Debug, Default)]
pub struct Progress {
    last: AtomicU64,
    groups: AtomicU64,
    broken: OnceLock<String>,
    lost: OnceLock<String>,
    refused: Mutex<Option<Refused>>,
}

/// Appends that were refused, without one that succeeded between them.
#[derive(Debug)]
struct Refused {
    /// The first one, and the last one, in elapsed time.
    first: Duration,
    last: Duration,
    why: String,
    /// Whether the log could not be reached or is locked, which may be so from here alone. A full one is full for everybody.
    is_away: bool,
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

    /// Notes that the log lacks what was acknowledged. The first reason stays.
    pub(super) fn set_lost(&self, why: String) {
        let _ = self.lost.set(why);
    }

    /// What of the log is lost, if the writer has stopped for that.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
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
        self.lately(now, |refused| Some(refused.why.clone()))
    }

    /// For how long appends have been refused because the log cannot be reached or is locked, and why. None for a log that is full, and
    /// if the last refusal is older than [`Self::refused`] shows.
    pub fn away(&self, now: Duration) -> Option<(Duration, String)> {
        self.lately(now, |refused| refused.is_away.then(|| (now.saturating_sub(refused.first), refused.why.clone())))
    }

    fn lately<T>(&self, now: Duration, of: impl FnOnce(&Refused) -> Option<T>) -> Option<T> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref().filter(|refused| now.saturating_sub(refused.last) < REFUSED_SHOWN).and_then(of)
    }

    /// Notes that an append was refused.
    pub(super) fn refuse(&self, now: Duration, error: &AppendError) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_away = matches!(error, AppendError::Locked(_));
        let before = refused
            .as_ref()
            .filter(|before| before.is_away == is_away && now.saturating_sub(before.last) < REFUSED_SHOWN);
        let first = before.map_or(now, |before| before.first);
        *refused = Some(Refused { first, last: now, why: error.to_string(), is_away });
    }

    /// Notes that an append succeeded.
    pub(super) fn succeeded(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why the writer has stopped, if it has.
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_away_since_the_first_of_the_appends_that_did_not_reach_it() {
        let progress = Progress::at(0);
        let (second, away) = (Duration::from_secs(1), |why: &str| AppendError::Locked(why.to_owned()));
        assert_eq!(progress.away(second), None);
        progress.refuse(second, &away("gone"));
        progress.refuse(9 * second, &away("still gone"));
        let why = away("still gone").to_string();
        assert_eq!(progress.away(16 * second), Some((15 * second, why.clone())));
        assert_eq!(progress.refused(16 * second), Some(why));
        assert_eq!(progress.away(9 * second + REFUSED_SHOWN), None, "nobody has tried for a while");
        progress.refuse(17 * second, &AppendError::Full("full".to_owned()));
        assert_eq!(progress.away(17 * second), None, "full for everybody");
        assert!(progress.refused(17 * second).is_some());
        progress.refuse(20 * second, &away("gone"));
        assert_eq!(progress.away(21 * second).map(|(away, _)| away), Some(second));
        progress.succeeded();
        assert_eq!((progress.away(21 * second), progress.refused(21 * second)), (None, None));
    }
}
