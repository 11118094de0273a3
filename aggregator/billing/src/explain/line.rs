//! Adds up one window: events, carried fractions, rows elsewhere, and so the amount billed here.
use super::books::Window;
use super::search::{Found, Sum};
use super::{WindowLine, decimal};
use weir_ledger::meters::weight::NANO;

/// The line of `window`, given the sum of its events.
pub(super) fn line(window: &Window, sum: &Sum, found: &Found) -> WindowLine {
    let nano = i128::from(NANO);
    let short = i128::from(window.counted) * nano - sum.nano;
    // Each run of events takes in less than one unit and leaves less than one. The number of runs is unknown once some
    // events are gone.
    let runs = if found.expired(window.from) { 1 } else { i128::from(sum.fractions) };
    let carried = if sum.fractions > 0 && short.abs() < nano * runs { short } else { 0 };
    let without_events = i64::try_from((short - carried).div_euclid(nano)).unwrap_or(i64::MAX);
    // Events that are gone may have carried fractions, too: attribute the rest below a whole unit to carrying.
    let carried = short - i128::from(without_events) * nano;
    WindowLine {
        window: window.from,
        window_end: window.to,
        tenant: window.tenant.clone(),
        meter: window.meter.clone(),
        events: sum.events,
        of_events: decimal(sum.nano),
        carried: decimal(carried),
        without_events,
        expired: without_events > 0 && found.expired(window.from),
        counted: window.counted,
        billed_elsewhere: window.billed_elsewhere,
        waiting: window.waiting,
        not_closed: window.not_closed,
        billed: window.billed,
    }
}
