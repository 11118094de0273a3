//! Long polls: when a call may ask the aggregator to hold it until something changes, and when the next call is due.
//!
//! Three servers look alike before the first answer: one that holds calls, one that does not know how to or has no room
//! (it answers at once), and one behind a proxy that breaks off calls that are silent for too long. The first is asked
//! again at once, the second at the ordinary interval, the third without waiting, for ever longer.
use weir_contract::Timestamp;

/// The longest wait that is asked for, in milliseconds; the aggregator allows little more.
pub(crate) const WAIT_MAX_MS: u64 = 50_000;
/// The least time between the beginnings of two calls, in milliseconds: changes in quick succession are one answer.
const BETWEEN_MS: u64 = 500;
/// A call that fails sooner, in milliseconds, was not held: the server is away.
const HELD_MS: u64 = 2_000;
/// The longest time without waiting after waits that were broken off, in milliseconds.
const WITHOUT_MAX_MS: u64 = 600_000;

/// What is known of the server's patience.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// When the last call began.
    asked: Timestamp,
    /// How long that call asked to wait; 0 is not at all.
    wait_ms: u64,
    /// Waits that were broken off, with none in between that ended well.
    broken: u32,
    /// Whether the next call does not ask to wait.
    skips_one: bool,
    /// Calls before that do not ask to wait.
    without_until: Timestamp,
}

/// What a good answer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The same state.
    Same,
    /// A difference.
    Difference,
    /// A whole state.
    Whole,
}

impl Default for Patience {
    fn default() -> Self {
        let never = Timestamp::from_millis(0);
        Patience { asked: never, wait_ms: 0, broken: 0, skips_one: false, without_until: never }
    }
}

impl Patience {
    /// Whether the next call may ask to wait.
    pub(crate) fn may_wait(&self, now: Timestamp) -> bool {
        !self.skips_one && now >= self.without_until
    }

    /// A call begins that asks to wait for so long.
    pub(crate) fn asks(&mut self, wait_ms: u64, now: Timestamp) {
        (self.asked, self.wait_ms, self.skips_one) = (now, wait_ms, false);
    }

    /// After a good answer: the pause until the next call, in milliseconds; None is the ordinary interval.
    pub(crate) fn ended(&mut self, ended: Ended, now: Timestamp) -> Option<u64> {
        let took_ms = now.millis_since(self.asked);
        let was_held = match ended {
            // At once though asked to wait: the server holds no calls.
            Ended::Same => self.wait_ms > 0 && took_ms >= self.wait_ms / 2,
            // A server that sends everything at once to whoever asks for a difference would be asked without end.
            Ended::Whole => self.wait_ms == 0 || took_ms >= self.wait_ms / 2,
            Ended::Difference => true,
        };
        if was_held && self.wait_ms > 0 {
            self.broken = 0;
        }
        let asks_again = was_held || (ended == Ended::Same && self.wait_ms == 0 && self.broken > 0);
        (asks_again && self.may_wait(now)).then(|| BETWEEN_MS.saturating_sub(took_ms))
    }

    /// After a call without a good answer. The first broken wait may be a restart, so that one call without waiting
    /// follows; the next ones have a cause that stays.
    pub(crate) fn failed(&mut self, refresh_ms: u64, now: Timestamp) {
        if self.wait_ms == 0 {
            // It is not for the waiting.
            (self.broken, self.without_until) = (0, now);
        } else if now.millis_since(self.asked) >= HELD_MS {
            self.broken = self.broken.saturating_add(1);
            self.skips_one = true;
            if self.broken > 1 {
                let without_ms = refresh_ms.saturating_mul(1 << self.broken.min(10)).min(WITHOUT_MAX_MS);
                self.without_until = now.plus_millis(without_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn after(ms: u64) -> Timestamp {
        NOW.plus_millis(ms)
    }

    #[test]
    fn a_server_that_holds_calls_is_asked_again_at_once_and_others_at_the_interval() {
        let mut patience = Patience::default();
        patience.asks(25_000, NOW);
        assert_eq!(patience.ended(Ended::Same, after(25_000)), Some(0));
        patience.asks(25_000, NOW);
        assert_eq!(patience.ended(Ended::Same, after(20)), None, "it does not wait");
        patience.asks(25_000, NOW);
        assert_eq!(patience.ended(Ended::Difference, after(20)), Some(480), "changes are gathered");
        patience.asks(25_000, NOW);
        assert_eq!(patience.ended(Ended::Whole, after(20)), None, "it would send everything without end");
        patience.asks(25_000, NOW);
        assert_eq!(patience.ended(Ended::Whole, after(20_000)), Some(0), "held, and then too much for a difference");
        patience.asks(0, NOW);
        assert_eq!(patience.ended(Ended::Whole, after(20)), Some(480), "the first state");
    }

    #[test]
    fn waits_that_are_broken_off_again_and_again_become_rare() {
        let mut patience = Patience::default();
        let mut without = Vec::new();
        for _ in 0..8 {
            patience.asks(25_000, NOW);
            patience.failed(10_000, after(15_000));
            without.push(patience.without_until.millis_since(after(15_000)));
        }
        assert_eq!(without, [0, 40_000, 80_000, 160_000, 320_000, 600_000, 600_000, 600_000]);
        patience.asks(0, after(20_000));
        assert_eq!(patience.ended(Ended::Same, after(20_010)), None, "not yet");
        patience.asks(25_000, after(700_000));
        assert_eq!(patience.ended(Ended::Difference, after(700_100)), Some(400));
        assert_eq!(patience.broken, 0);
    }

    #[test]
    fn a_restart_costs_one_call_that_does_not_wait() {
        let mut patience = Patience::default();
        patience.asks(25_000, NOW);
        patience.failed(10_000, after(13_000));
        assert!(!patience.may_wait(after(14_000)));
        patience.asks(0, after(14_000));
        assert_eq!(patience.ended(Ended::Same, after(14_010)), Some(490), "and the next one waits again");
        assert!(patience.may_wait(after(14_500)));
    }

    #[test]
    fn an_outage_is_not_held_against_waiting() {
        let mut patience = Patience::default();
        for at in 0..20 {
            patience.asks(25_000, after(at * 1_000));
            patience.failed(10_000, after(at * 1_000 + 5));
        }
        assert!(patience.may_wait(after(20_000)), "refused at once");
        for at in 1..20 {
            let (from, wait_ms) = (after(at * 60_000), if patience.may_wait(after(at * 60_000)) { 25_000 } else { 0 });
            patience.asks(wait_ms, from);
            patience.failed(10_000, from.plus_millis(wait_ms + 5_000));
        }
        assert!(patience.without_until <= after(1_200_000), "calls that do not wait time out as well");
    }
}
