//! Credits: what is granted, burnt, expired, and missing.
use std::collections::{BTreeMap, VecDeque};

use crate::amount::Pico;
use crate::exact::Exact;
use crate::plans::Credits;

/// Credits of one billing period, in 10^-12 of a credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EarlierPeriod {
    /// Granted at its start.
    pub granted: Pico,
    /// Burnt in it.
    pub burnt: Pico,
}

/// The credits that usage burns.
pub fn burnt(credits: &Credits, units: &BTreeMap<String, u64>) -> Pico {
    let of = |(meter, rate): &(String, Pico)| rate.of_units(units.get(meter).copied().unwrap_or(0));
    credits.burn.iter().map(of).sum()
}

/// The credits that `now` burns beyond those that are left of its own grant and of the periods before it. The oldest grant is burnt
/// first, since it expires first.
pub(super) fn beyond(earlier: &[EarlierPeriod], now: EarlierPeriod, expires_after: u32) -> Pico {
    let mut grants: VecDeque<Pico> = VecDeque::new();
    let mut missing = Pico::ZERO;
    for period in earlier.iter().chain([&now]) {
        if grants.len() >= expires_after as usize {
            grants.pop_front();
        }
        grants.push_back(period.granted);
        missing = period.burnt;
        for grant in &mut grants {
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

    fn period(granted: i128, burnt: i128) -> EarlierPeriod {
        EarlierPeriod { granted: Pico(granted), burnt: Pico(burnt) }
    }

    #[test]
    fn a_grant_expires_with_its_period_unless_it_is_kept() {
        let before = [period(100, 30)];
        assert_eq!(beyond(&before, period(100, 150), 1), Pico(50));
        assert_eq!(beyond(&before, period(100, 150), 2), Pico(0));
        assert_eq!(beyond(&before, period(100, 180), 2), Pico(10));
    }

    #[test]
    fn the_oldest_grant_is_burnt_first() {
        // 100 of the first period are burnt in the second; those of the second are kept for the third.
        let before = [period(100, 0), period(100, 100)];
        assert_eq!(beyond(&before, period(100, 200), 2), Pico(0));
        assert_eq!(beyond(&before, period(100, 201), 2), Pico(1));
    }
}
