//! Bounds how many attempts beyond the first a worker makes: a share of its routed requests of the last ten seconds, or of those under
//! way where these are more. The latter counts where a provider falls silent: the requests that fail then came long ago.
//!
//! The gateway tries each provider of a chain once for a request, so retries never multiply the load of one provider. They add up
//! where several fail at once: then every request costs several attempts, each with a prompt that a provider may charge. Envoy's own
//! retry budget (`circuit_breakers.retry_budget`) counts what is under way at this moment at the first provider alone: where that
//! fails at once and the next one answers for half a minute, nothing is under way at the first, and nearly every retry is refused.
//!
//! The upstream role asks where an attempt fails, so that the client gets that answer; where there is none it asks before the next
//! attempt. What was granted once and is not used after all stays counted: the bound holds either way.
use std::rc::Rc;

use weir_config::routing::RetryBudget;
use weir_contract::Timestamp;

/// How long requests and retries count, in seconds.
pub(crate) const WINDOW_SECS: usize = 10;

/// Routed requests of a worker, and their attempts beyond the first, by second.
#[derive(Debug, Default)]
pub struct Retries {
    slots: [Slot; WINDOW_SECS],
    /// Shared by all requests that are under way.
    under_way: Rc<()>,
}

/// What a request has while it is under way.
#[derive(Debug)]
pub(crate) struct UnderWay(#[expect(dead_code, reason = "it counts by being there")] Rc<()>);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    second: u64,
    requests: u32,
    retries: u32,
}

impl Retries {
    /// Counts a request, which is under way until what is returned is dropped.
    pub(crate) fn request(&mut self, now: Timestamp) -> UnderWay {
        if let Some(slot) = self.slot(now) {
            slot.requests = slot.requests.saturating_add(1);
        }
        UnderWay(Rc::clone(&self.under_way))
    }

    /// Takes a further attempt from the budget; false if nothing is left.
    pub(crate) fn draw(&mut self, budget: RetryBudget, now: Timestamp) -> bool {
        let second = now.as_millis() / 1000;
        let counts = |slot: &&Slot| second.checked_sub(slot.second).is_some_and(|age| age < WINDOW_SECS as u64);
        let sums = self.slots.iter().filter(counts).fold((0_u64, 0_u64), |(requests, retries), slot| {
            (requests.saturating_add(slot.requests.into()), retries.saturating_add(slot.retries.into()))
        });
        let under_way = u64::try_from(Rc::strong_count(&self.under_way).saturating_sub(1)).unwrap_or(u64::MAX);
        let share = sums.0.max(under_way).saturating_mul(budget.percent.into()) / 100;
        if sums.1 >= share.max(budget.floor.into()) {
            return false;
        }
        if let Some(slot) = self.slot(now) {
            slot.retries = slot.retries.saturating_add(1);
        }
        true
    }

    /// The slot of this second, emptied if it was another's.
    fn slot(&mut self, now: Timestamp) -> Option<&mut Slot> {
        let second = now.as_millis() / 1000;
        let slot = self.slots.get_mut((second % WINDOW_SECS as u64) as usize)?;
        if slot.second != second {
            *slot = Slot { second, ..Slot::default() };
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const AT: u64 = 1_800_000_000_000;

    proptest! {
        /// Whatever comes when, retries of the last ten seconds never exceed the larger of floor and share; and none is refused that
        /// stays within.
        #[test]
        fn retries_stay_within_the_share_of_the_requests_of_ten_seconds(
            percent in 0_u16..=300, floor in 0_u32..20,
            steps in prop::collection::vec((0_u64..4_000, any::<bool>(), any::<bool>()), 1..400),
        ) {
            let budget = RetryBudget { percent, floor };
            let (mut retries, mut now) = (Retries::default(), AT);
            let (mut requests, mut granted): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
            let mut under_way = Vec::new();
            for (passes_ms, is_request, ends) in steps {
                if ends {
                    under_way.pop();
                }
                now += passes_ms;
                let since = |times: &[u64]| times.iter().filter(|at| now / 1000 - *at / 1000 < 10).count() as u64;
                if is_request {
                    under_way.push(retries.request(Timestamp::from_millis(now)));
                    requests.push(now);
                    continue;
                }
                let base = since(&requests).max(under_way.len() as u64);
                let most = (base * u64::from(percent) / 100).max(floor.into());
                let is_granted = retries.draw(budget, Timestamp::from_millis(now));
                prop_assert_eq!(is_granted, since(&granted) < most);
                granted.extend(is_granted.then_some(now));
                prop_assert!(!is_granted || since(&granted) <= most);
            }
        }
    }

    #[test]
    fn requests_that_wait_for_a_silent_provider_may_all_go_to_another() {
        let mut retries = Retries::default();
        let waiting: Vec<_> = (0..200).map(|_| retries.request(Timestamp::from_millis(AT))).collect();
        let later = Timestamp::from_millis(AT + 60_000);
        let granted = (0..300).filter(|_| retries.draw(RetryBudget::default(), later)).count();
        assert_eq!(granted, 200, "none of them has left a provider before");
        drop(waiting);
        assert!(!retries.draw(RetryBudget::default(), later), "they have ended");
    }

    #[test]
    fn a_clock_that_goes_back_grants_no_more_than_the_floor() {
        let mut retries = Retries::default();
        for _ in 0..100 {
            drop(retries.request(Timestamp::from_millis(AT)));
        }
        let before = Timestamp::from_millis(AT - 60_000);
        let granted = (0..100).filter(|_| retries.draw(RetryBudget::default(), before)).count();
        assert_eq!(granted, 10);
    }
}
