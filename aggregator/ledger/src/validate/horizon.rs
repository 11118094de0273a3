//! Decides which days' ids are forgotten.
//!
//! A day is forgotten [`DEDUPE_DAYS`] after it is past by two clocks, ours and the one of the events: a clock that jumps ahead
//! and back makes nothing forgotten, and one that jumps back brings nothing back. It is decided here, when a body comes in, and
//! written into its log record, so that the ledger comes to the same verdict whenever it reads the log.
use std::sync::{Mutex, PoisonError};
use weir_fault::{self as fault, Point};

use weir_contract::Timestamp;

use super::{DEDUPE_DAYS, day};

/// The latest days, since 1970-01-01.
#[derive(Clone, Copy, Debug)]
struct Days {
    clock: u64,
    events: u64,
}

/// The horizon of one log. It only moves on.
#[derive(Debug)]
pub struct Horizon(Mutex<Days>);

impl Horizon {
    /// Goes on where the last record of a log stood: ids of days before `forgotten_before` are not known.
    pub fn resume(forgotten_before: u64) -> Self {
        // Both clocks were at least there; before the first record nothing is forgotten.
        let latest = if forgotten_before == 0 { 0 } else { forgotten_before + DEDUPE_DAYS };
        Horizon(Mutex::new(Days { clock: latest, events: latest }))
    }

    /// Ids of days before this one are forgotten at `now`: days since 1970-01-01.
    pub fn at(&self, now: Timestamp) -> u64 {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        days.clock = days.clock.max(day(now));
        let today = days.clock.min(days.events);
        let today = if fault::hit(Point::ForgottenByTheClock) { days.clock } else { today };
        today.saturating_sub(DEDUPE_DAYS)
    }

    /// An event whose id is of `day` was accepted.
    pub fn saw(&self, day: u64) {
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
