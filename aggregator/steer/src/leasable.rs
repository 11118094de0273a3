//! What of a budget gateways can lease, and in which units.
use weir_contract::hard::HardMeasure;
use weir_contract::lease::CAPACITY_MAX;
use weir_ledger::amount::{PICO, Pico};

use crate::file::Measure;

/// What gateways can lease of a measured quantity.
pub(crate) fn measure(of: Measure) -> Option<HardMeasure> {
    match of {
        Measure::Tokens => Some(HardMeasure::Tokens),
        Measure::Requests => Some(HardMeasure::Requests),
        Measure::Cost => Some(HardMeasure::Cost),
        Measure::InputTokens | Measure::OutputTokens | Measure::Revenue | Measure::Credits => None,
    }
}

/// Whether a lease can hold an amount.
pub(crate) fn is_leasable(of: HardMeasure, amount: Pico) -> bool {
    (1..=CAPACITY_MAX).contains(&units(of, amount))
}

/// Units of a measure, rounded down.
pub(crate) fn units(of: HardMeasure, amount: Pico) -> u64 {
    let of_one = match of {
        HardMeasure::Tokens | HardMeasure::Requests => PICO,
        HardMeasure::Cost => PICO / 1_000_000,
    };
    u64::try_from(amount.0 / of_one).unwrap_or(0)
}
