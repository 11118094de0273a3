//! The arithmetic of one token bucket: integers only, in billionths of a unit.
use weir_config::rate::UNITS_MAX;
use weir_contract::Timestamp;

/// Billionths of a unit: fine enough that a bucket touched a thousand times a second loses less than a unit in ten days.
const NANO: i64 = 1_000_000_000;

/// How far the clock may run backwards before it counts as reset: workers read it at slightly different moments, and
/// credited time must not be credited again.
const CLOCK_SKEW_MS: u64 = 1_000;

/// A bucket's size and refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    capacity: u64,
    refill: u64,
    period_ms: u64,
}

/// A capacity that no bucket can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a bucket holds 1 to {UNITS_MAX} units and refills by 1 to {UNITS_MAX} in a period above 0")]
pub struct CapacityError;

/// What a bucket holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Billionths of a unit; below 0 is a debt.
    pub nano: i64,
    /// The time until which refill has been credited.
    pub at: Timestamp,
}

impl Level {
    /// Whole units, at no moment.
    pub(crate) fn of_units(units: u64) -> Self {
        Level { nano: units_nano(units), at: Timestamp::default() }
    }
}

impl Bucket {
    /// A bucket of `capacity` units that refills by `refill` units in `period_ms`.
    pub fn new(capacity: u64, refill: u64, period_ms: u64) -> Result<Self, CapacityError> {
        let fits = |units: u64| (1..=UNITS_MAX).contains(&units);
        if fits(capacity) && fits(refill) && period_ms > 0 {
            Ok(Bucket { capacity, refill, period_ms })
        } else {
            Err(CapacityError)
        }
    }

    /// A bucket that never refills. Its size is exact beyond what other buckets may hold, as leases count whole units.
    pub(crate) fn fixed(capacity: u64, period_ms: u64) -> Self {
        Bucket { capacity, refill: 0, period_ms }
    }

    /// What it holds at most, in units.
    pub fn capacity(self) -> u64 {
        self.capacity
    }

    /// Units that refill in [`Bucket::period_ms`].
    pub fn refill(self) -> u64 {
        self.refill
    }

    /// The period of the refill, in milliseconds.
    pub fn period_ms(self) -> u64 {
        self.period_ms
    }

    /// A full bucket.
    pub fn full(self, now: Timestamp) -> Level {
        Level { nano: self.capacity_nano(), at: now }
    }

    /// The level with the refill up to `now`, at most the capacity (which a new configuration may have lowered).
    pub fn refilled(self, level: Level, now: Timestamp) -> Level {
        if now < level.at {
            let skew = level.at.millis_since(now) <= CLOCK_SKEW_MS;
            let at = if skew { level.at } else { now };
            return Level { nano: level.nano.min(self.capacity_nano()), at };
        }
        let credit = self.credit_nano(now.millis_since(level.at));
        Level { nano: level.nano.saturating_add(credit).min(self.capacity_nano()), at: now }
    }

    /// Whole units in a level; 0 in debt.
    pub fn units(level: Level) -> u64 {
        u64::try_from(level.nano / NANO).unwrap_or(0)
    }

    /// The level after `cost` units were drawn. It may become a debt.
    pub fn drawn(level: Level, cost: u64) -> Level {
        Level { nano: level.nano.saturating_sub(units_nano(cost)), ..level }
    }

    /// The level after `cost` units came back, at most the capacity.
    pub fn returned(self, level: Level, cost: u64) -> Level {
        Level { nano: level.nano.saturating_add(units_nano(cost)).min(self.capacity_nano()), ..level }
    }

    /// Whether a level has `cost` units.
    pub fn has(level: Level, cost: u64) -> bool {
        level.nano >= units_nano(cost)
    }

    /// Milliseconds, rounded up, until a level has `cost` units; `u64::MAX` if it never has.
    pub fn wait_ms(self, level: Level, cost: u64) -> u64 {
        let missing = units_nano(cost.min(self.capacity)).saturating_sub(level.nano);
        let Ok(missing) = u64::try_from(missing) else { return 0 };
        let per_ms = units_nano(self.refill).unsigned_abs();
        if per_ms == 0 {
            return if missing == 0 { 0 } else { u64::MAX };
        }
        // WebAssembly divides 64 bits at a time, which suffices for most waits.
        if (missing | self.period_ms) >> 32 == 0 {
            return (missing * self.period_ms).div_ceil(per_ms);
        }
        let wait = (u128::from(missing) * u128::from(self.period_ms)).div_ceil(per_ms.into());
        u64::try_from(wait).unwrap_or(u64::MAX)
    }

    /// The refill of that many milliseconds, in billionths of a unit.
    fn credit_nano(self, elapsed_ms: u64) -> i64 {
        if (elapsed_ms | self.refill) >> 32 == 0 && elapsed_ms * self.refill <= u64::MAX / NANO.unsigned_abs() {
            let credit = elapsed_ms * self.refill * NANO.unsigned_abs() / self.period_ms;
            return i64::try_from(credit).unwrap_or(i64::MAX);
        }
        let units = u128::from(elapsed_ms) * u128::from(self.refill);
        let credit = units * NANO.unsigned_abs() as u128 / u128::from(self.period_ms);
        i64::try_from(credit).unwrap_or(i64::MAX)
    }

    fn capacity_nano(self) -> i64 {
        units_nano(self.capacity)
    }
}

/// Saturates at `i64::MAX`, without a checked multiplication, which takes 128 bits.
fn units_nano(units: u64) -> i64 {
    match i64::try_from(units) {
        Ok(units) if units <= i64::MAX / NANO => units * NANO,
        _ => i64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    fn bucket(capacity: u64, refill: u64, period_ms: u64) -> Bucket {
        Bucket::new(capacity, refill, period_ms).expect("a bucket")
    }

    #[test]
    fn it_refills_evenly_up_to_its_capacity() {
        let bucket = bucket(10, 60, 60_000);
        let empty = Level { nano: 0, at: at(0) };
        assert_eq!(Bucket::units(bucket.refilled(empty, at(999))), 0);
        assert_eq!(Bucket::units(bucket.refilled(empty, at(1_000))), 1);
        assert_eq!(Bucket::units(bucket.refilled(empty, at(3_600_000))), 10);
    }

    #[test]
    fn the_wait_is_exact_to_the_millisecond() {
        let bucket = bucket(10, 3, 1_000);
        let empty = Level { nano: 0, at: at(0) };
        let wait = bucket.wait_ms(empty, 1);
        assert_eq!(wait, 334);
        assert!(Bucket::has(bucket.refilled(empty, at(wait)), 1));
        assert!(!Bucket::has(bucket.refilled(empty, at(wait - 1)), 1));
    }

    #[test]
    fn a_debt_recovers_by_refill() {
        let bucket = bucket(10, 10, 1_000);
        let debt = Bucket::drawn(bucket.full(at(0)), 15);
        assert_eq!((Bucket::units(debt), bucket.wait_ms(debt, 1)), (0, 600));
        assert!(Bucket::has(bucket.refilled(debt, at(600)), 1));
    }

    #[test]
    fn a_lowered_capacity_holds_at_once_and_a_raised_one_fills_by_refill() {
        let full = bucket(100, 1, 1_000).full(at(0));
        assert_eq!(Bucket::units(bucket(10, 1, 1_000).refilled(full, at(0))), 10);
        assert_eq!(Bucket::units(bucket(200, 1, 1_000).refilled(full, at(5_000))), 105);
    }

    #[test]
    fn time_is_credited_once_though_workers_clocks_differ_and_a_set_clock_is_believed() {
        let bucket = bucket(1_000, 1_000, 1_000);
        let later = bucket.refilled(Level { nano: 0, at: at(0) }, at(100));
        let earlier = bucket.refilled(later, at(95));
        assert_eq!(Bucket::units(bucket.refilled(earlier, at(100))), 100, "5 ms are not credited twice");
        let far = Level { nano: 0, at: at(86_400_000) };
        assert_eq!(Bucket::units(bucket.refilled(bucket.refilled(far, at(0)), at(500))), 500, "no day of starving");
    }

    proptest! {
        #[test]
        fn what_is_admitted_never_exceeds_capacity_plus_refill(
            capacity in 1_u64..1_000, refill in 1_u64..10_000, period_ms in 1_u64..100_000,
            steps in proptest::collection::vec((0_u64..5_000, 1_u64..20), 1..200),
        ) {
            let bucket = bucket(capacity, refill, period_ms);
            let (mut level, mut now, mut admitted) = (bucket.full(at(0)), 0, 0);
            for (pause, cost) in steps {
                now += pause;
                level = bucket.refilled(level, at(now));
                let cost = cost.min(capacity);
                if Bucket::has(level, cost) {
                    level = Bucket::drawn(level, cost);
                    admitted += cost;
                } else {
                    let wait = bucket.wait_ms(level, cost);
                    prop_assert!(Bucket::has(bucket.refilled(level, at(now + wait)), cost));
                    prop_assert!(!Bucket::has(bucket.refilled(level, at(now + wait - 1)), cost));
                }
                prop_assert!(u128::from(admitted) * u128::from(period_ms)
                    <= u128::from(capacity) * u128::from(period_ms) + u128::from(now) * u128::from(refill));
            }
        }
    }
}
