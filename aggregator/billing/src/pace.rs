//! Paces all calls to the provider: reports, verifications and comparisons share its limit.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_clock::Clock;

/// Spreads calls evenly.
#[derive(Debug)]
pub struct Pacer {
    clock: Arc<dyn Clock>,
    /// When the next call may start.
    next: Mutex<Duration>,
}

impl Pacer {
    /// A pacer whose first call may start at once.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Pacer { clock, next: Mutex::default() })
    }

    /// Reserves the next slot at `per_second` calls a second. Returns how long the call must wait.
    pub fn slot(&self, per_second: u32) -> Duration {
        let now = self.clock.elapsed();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*next).max(now);
        *next = at + Duration::from_secs(1) / per_second.max(1);
        at - now
    }

    /// Delays all further calls by `pause`.
    pub fn pause(&self, pause: Duration) {
        let until = self.clock.elapsed() + pause;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_clock::ManualClock;
    use weir_contract::Timestamp;

    fn pacer() -> (Arc<ManualClock>, Arc<Pacer>) {
        let clock = ManualClock::at(Timestamp::from_secs(5));
        (Arc::clone(&clock), Pacer::new(clock))
    }

    #[test]
    fn calls_are_spread_over_the_second() {
        let (clock, pacer) = pacer();
        assert_eq!(pacer.slot(10), Duration::ZERO);
        assert_eq!(pacer.slot(10), Duration::from_millis(100));
        clock.advance(Duration::from_secs(9));
        assert_eq!(pacer.slot(10), Duration::ZERO, "a pause saves nothing up");
    }

    #[test]
    fn all_calls_wait_when_the_provider_says_so() {
        let (_, pacer) = pacer();
        pacer.pause(Duration::from_secs(2));
        assert_eq!(pacer.slot(10), Duration::from_secs(2));
        assert_eq!(pacer.slot(10), Duration::from_millis(2_100));
    }

    #[test]
    fn rows_of_a_stream_take_a_part_of_a_call_each() {
        let (_, pacer) = pacer();
        assert_eq!((pacer.slot(1_000), pacer.slot(1_000)), (Duration::ZERO, Duration::from_millis(1)));
        assert_eq!(pacer.slot(10), Duration::from_millis(2), "a comparison comes after them");
        assert_eq!(pacer.slot(1_000), Duration::from_millis(102));
    }
}
