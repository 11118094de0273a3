//! Decides which days' ids are forgotten; the ledger's `dedupe` then drops them.
//!
//! A day is forgotten [`DEDUPE_DAYS`] after it ended by two clocks, the aggregator's and that of the events: a clock
//! that jumps ahead and back makes nothing forgotten, and one that jumps back brings nothing back. It is decided here
//! when a body comes in, and stored in the log record, so that the ledger reaches the same verdict whenever it reads
//! the log.
use std::sync::{Mutex, PoisonError};
use weir_fault::{self as fault, Point};

use weir_contract::Timestamp;

use super::{DEDUPE_DAYS, day};

/// The latest days seen, since 1970-01-01.
#[derive(Clone, Copy, Debug)]
struct Days {
    clock: u64,
    events: u64,
}

/// The horizon of one log. It never moves back.
#[derive(Debug)]
pub(crate) struct Horizon(Mutex<Days>);

impl Horizon {
    /// Resumes from the last record of a log: ids of days before `forgotten_before` are forgotten.
    pub(crate) fn resume(forgotten_before: u64) -> Self {
        // Both clocks had reached at least this day. Before the first record nothing is forgotten.
        let latest = if forgotten_before == 0 { 0 } else { forgotten_before + DEDUPE_DAYS };
        Horizon(Mutex::new(Days { clock: latest, events: latest }))
    }

    /// The first remembered day at `now`: days since 1970-01-01.
    pub(crate) fn at(&self, now: Timestamp) -> u64 {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        days.clock = days.clock.max(day(now));
        let today = days.clock.min(days.events);
        let today = if fault::hit(Point::ForgottenByTheClock) { days.clock } else { today };
        today.saturating_sub(DEDUPE_DAYS)
    }

    /// Notes that an event with an id of `day` was accepted.
    pub(crate) fn saw(&self, day: u64) {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        days.events = days.events.max(day);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64) -> Timestamp {
        Timestamp::from_secs(day * 24 * 3600)
    }

    #[test]
    fn a_day_is_forgotten_when_both_clocks_are_past_it() {
        let horizon = Horizon::resume(0);
        assert_eq!(horizon.at(at(1_000)), 0, "nothing is known of events");
        horizon.saw(1_000);
        assert_eq!(horizon.at(at(1_000)), 960);
        assert_eq!(horizon.at(at(1_070)), 960, "the clock alone says nothing");
        horizon.saw(1_001);
        assert_eq!(horizon.at(at(900)), 961, "and it does not go back");
    }

    #[test]
    fn it_goes_on_after_a_restart() {
        assert_eq!(Horizon::resume(960).at(at(0)), 960);
    }
}
