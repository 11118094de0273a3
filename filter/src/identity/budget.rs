//! Bounds the time that a worker spends on signatures.
//!
//! A remembered token costs nothing. A new one costs microseconds to milliseconds of the one thread that serves
//! everyone else too, and forging tokens is free: so all new tokens share one budget.
use weir_contract::Timestamp;

/// The largest share of a worker's time that goes to signatures, in microseconds per second: a quarter.
pub(crate) const BUDGET_US_PER_SEC: u64 = 250_000;

/// A bucket of microseconds that holds one second's budget.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left_us: u64,
    refilled: Timestamp,
}

impl Budget {
    /// A full budget.
    pub fn new(now: Timestamp) -> Self {
        Budget { left_us: BUDGET_US_PER_SEC, refilled: now }
    }

    /// Takes `cost_us`; false if the budget does not hold that much.
    pub fn take(&mut self, cost_us: u64, now: Timestamp) -> bool {
        let grown = now.millis_since(self.refilled).saturating_mul(BUDGET_US_PER_SEC / 1000);
        self.left_us = self.left_us.saturating_add(grown).min(BUDGET_US_PER_SEC);
        self.refilled = self.refilled.max(now);
        match self.left_us.checked_sub(cost_us) {
            Some(left) => {
                self.left_us = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_is_spent_comes_back_with_time_up_to_a_seconds_worth() {
        let start = Timestamp::from_secs(1_800_000_000);
        let mut budget = Budget::new(start);
        let verified = (0..1_000).filter(|_| budget.take(7_000, start)).count();
        assert_eq!(verified, 35);
        assert!(!budget.take(7_000, start.plus_millis(1)));
        assert!(budget.take(7_000, start.plus_millis(28)));
        let verified = (0..1_000).filter(|_| budget.take(7_000, start.plus_millis(3_600_000))).count();
        assert_eq!(verified, 35);
    }
}
