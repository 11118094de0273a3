//! Credits: what is granted, burnt, expired, and missing.
use std::collections::VecDeque;

use weir_ledger::query::MeterUnits;

use crate::amount::Pico;
use crate::exact::Exact;
use crate::plans::Credits;

/// Credits of one billing period or a part of it, in 10^-12 of a credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EarlierPeriod {
    /// The number of the period, counted from the oldest.
    pub period: u32,
    /// Granted at its start, cut to its days.
    pub granted: Pico,
    /// Burnt in it.
    pub burnt: Pico,
}

/// The credits that usage burns.
pub fn burnt(credits: &Credits, units: &MeterUnits) -> Pico {
    let of = |(meter, rate): &(String, Pico)| rate.of_units(units.get(meter));
    credits.burn.iter().map(of).sum()
}

/// The credits that `now` burns beyond those that are left of its own grant and of the periods before it. The oldest grant is burnt
/// first, since it expires first.
pub(super) fn beyond(earlier: &[EarlierPeriod], now: EarlierPeriod, expires_after: u32) -> Pico {
    let mut grants: VecDeque<(u32, Pico)> = VecDeque::new();
    let mut missing = Pico::ZERO;
    for part in earlier.iter().chain([&now]) {
        grants.retain(|(period, _)| part.period < period.saturating_add(expires_after));
        grants.push_back((part.period, part.granted));
        missing = part.burnt;
        for (_, grant) in &mut grants {
            let taken = missing.min(*grant);
            *grant -= taken;
            missing -= taken;
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(period: u32, granted: i128, burnt: i128) -> EarlierPeriod {
        EarlierPeriod { period, granted: Pico(granted), burnt: Pico(burnt) }
    }

    #[test]
    fn a_grant_expires_with_its_period_unless_it_is_kept() {
        let before = [of(0, 100, 30)];
        assert_eq!(beyond(&before, of(1, 100, 150), 1), Pico(50));
        assert_eq!(beyond(&before, of(1, 100, 150), 2), Pico(0));
        assert_eq!(beyond(&before, of(1, 100, 180), 2), Pico(10));
    }

    #[test]
    fn the_oldest_grant_is_burnt_first() {
        // 100 of the first period are burnt in the second; those of the second are kept for the third.
        let before = [of(0, 100, 0), of(1, 100, 100)];
        assert_eq!(beyond(&before, of(2, 100, 200), 2), Pico(0));
        assert_eq!(beyond(&before, of(2, 100, 201), 2), Pico(1));
    }

    #[test]
    fn parts_of_a_period_burn_one_after_the_other_and_expire_together() {
        // Of the first period's two parts, the second burns what the first left.
        let before = [of(0, 40, 10), of(0, 60, 80)];
        assert_eq!(beyond(&before[..1], before[1], 1), Pico(0), "30 are left of the first, 60 are its own");
        assert_eq!(beyond(&before, of(1, 100, 111), 2), Pico(1), "10 are left of both");
        assert_eq!(beyond(&before, of(1, 100, 101), 1), Pico(1), "both have expired");
    }
}
