//! Exact amounts: whole units and a part of one.
use serde::{Deserialize, Serialize};
use weir_contract::lease::COUNT_MAX;

/// An amount of units. The part is in fractions of one unit: how many fractions make a unit depends on the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Level {
    /// Whole units, rounded down; below 0 is a debt.
    units: i64,
    /// Fractions of a unit beyond them.
    part: u64,
}

/// The greatest amount: readers that keep doubles read it exactly.
const LARGEST: i128 = COUNT_MAX as i128;

impl Level {
    /// Whole units.
    pub(super) fn units(self) -> i64 {
        self.units
    }

    /// The amount in fractions, `scale` of which make a unit.
    pub(super) fn fractions(self, scale: u64) -> i128 {
        i128::from(self.units) * i128::from(scale) + i128::from(self.part)
    }

    /// The amount of that many fractions.
    pub(super) fn from_fractions(fractions: i128, scale: u64) -> Self {
        let units = fractions.div_euclid(scale.into());
        let part = fractions.rem_euclid(scale.into());
        Level {
            units: i64::try_from(units.clamp(-LARGEST, LARGEST)).unwrap_or_default(),
            part: u64::try_from(part).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_exact_also_as_a_debt() {
        for fractions in [-1_001, -1_000, -1, 0, 1, 999, 1_000, 12_345_i128] {
            assert_eq!(Level::from_fractions(fractions, 1_000).fractions(1_000), fractions);
        }
        assert_eq!(Level::from_fractions(-1, 1_000).units(), -1, "a debt of a fraction is no whole unit");
    }
}
