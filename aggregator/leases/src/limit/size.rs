//! The size and refill in force, where gateways may differ about them.
use serde::{Deserialize, Serialize};
use weir_contract::lease::Definition;
use weir_fault::{Point, hit};

/// All gateways together hold one of so many parts of a budget.
const BUDGET_PARTS: u64 = 32;
/// Each gateway holds at least so many of the largest reservations of a budget, so that few requests have to ask.
const BUDGET_LARGEST: u64 = 4;

/// The strictest definition that a live gateway has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Size {
    /// The definition in force.
    pub(super) definition: Definition,
    /// When a gateway last had this capacity or a smaller one.
    capacity_ms: u64,
    /// When a gateway last had this refill or a slower one.
    refill_ms: u64,
    /// When a gateway last had these tiers.
    tiers_ms: u64,
}

/// What a gateway's definition changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    Same,
    /// Size or refill.
    Changed,
    /// Everything, because the tiers are others.
    OtherTiers,
    /// Nothing: live gateways have other tiers, so this one is refused.
    Conflict,
}

impl Size {
    pub(super) fn new(definition: Definition, now: u64) -> Self {
        Size { definition, capacity_ms: now, refill_ms: now, tiers_ms: now }
    }

    /// How many fractions make a unit: refill by the millisecond and tiers by the percent are whole numbers of them.
    pub(super) fn scale(&self) -> u64 {
        self.definition.period_ms * 100
    }

    /// When a gateway last named the limit.
    pub(super) fn heard_ms(&self) -> u64 {
        self.tiers_ms
    }

    /// How many times a gateway's own definition exceeds its tier's percentage of the one in force, rounded up: a gateway
    /// computes its share from its own.
    pub(super) fn times_too_large(&self, own: &Definition, percent: u8) -> u64 {
        let current = &self.definition;
        let percent = u128::from(percent.max(1));
        let rate = u128::from(own.refill) * u128::from(current.period_ms) * 100;
        let rate = rate.div_ceil((u128::from(current.refill) * u128::from(own.period_ms) * percent).max(1));
        let capacity = (u128::from(own.capacity) * 100).div_ceil(u128::from(current.capacity) * percent);
        u64::try_from(rate.max(capacity).max(1)).unwrap_or(u64::MAX)
    }

    /// How many of `lent` units each of `holders` gateways is to hold, of a tier of `capacity`. What a gateway that dies still held
    /// of a budget never comes back, so there it holds little.
    pub(super) fn target(&self, (lent, capacity): (u64, u64), holders: u64, largest: u64) -> u64 {
        let part = lent / holders;
        let target = match self.definition.refill {
            0 => part.min((capacity / (BUDGET_PARTS * holders)).max(BUDGET_LARGEST.saturating_mul(largest))),
            _ => part,
        };
        target.max(1)
    }

    /// Takes a gateway's definition into account. One that was heard before `live_since` holds no longer.
    pub(super) fn hear(&mut self, heard: &Definition, now: u64, live_since: u64) -> Heard {
        let current = &self.definition;
        if heard.tiers != current.tiers {
            if self.tiers_ms >= live_since {
                return Heard::Conflict;
            }
            *self = Size::new(heard.clone(), now);
            return Heard::OtherTiers;
        }
        self.tiers_ms = now;
        let before = current.clone();
        let smaller = if hit(Point::LargestCapacityHolds) {
            heard.capacity >= current.capacity
        } else {
            heard.capacity <= current.capacity
        };
        if smaller || self.capacity_ms < live_since {
            self.definition.capacity = heard.capacity;
            self.capacity_ms = now;
        }
        if is_slower_or_equal(heard, &before) || self.refill_ms < live_since {
            (self.definition.refill, self.definition.period_ms) = (heard.refill, heard.period_ms);
            self.refill_ms = now;
        }
        if self.definition == before { Heard::Same } else { Heard::Changed }
    }
}

fn is_slower_or_equal(one: &Definition, other: &Definition) -> bool {
    u128::from(one.refill) * u128::from(other.period_ms) <= u128::from(other.refill) * u128::from(one.period_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(capacity: u64, refill: u64) -> Definition {
        Definition { capacity, refill, period_ms: 1_000, tiers: Vec::new() }
    }

    #[test]
    fn the_smallest_capacity_and_the_slowest_refill_hold() {
        let mut size = Size::new(definition(10, 5), 0);
        assert_eq!(size.hear(&definition(5, 10), 1, 0), Heard::Changed);
        assert_eq!(size.definition, definition(5, 5));
    }

    #[test]
    fn a_raised_limit_holds_once_no_live_gateway_has_the_old_one() {
        let mut size = Size::new(definition(10, 5), 0);
        assert_eq!(size.hear(&definition(20, 9), 100, 0), Heard::Same, "the old one may be alive");
        assert_eq!(size.hear(&definition(20, 9), 200, 101), Heard::Changed);
        assert_eq!(size.definition, definition(20, 9));
    }

    #[test]
    fn other_tiers_wait_for_those_in_force() {
        let tiers = vec![weir_contract::lease::Tier { name: "pro".into(), percent: 50 }];
        let pool = Definition { tiers, ..definition(10, 5) };
        let mut size = Size::new(definition(10, 5), 0);
        assert_eq!(size.hear(&pool, 1, 0), Heard::Conflict);
        assert_eq!(size.hear(&pool, 9, 5), Heard::OtherTiers);
    }
}
