//! Credits: what is granted, burnt, expired, and missing.
use weir_contract::Timestamp;
use weir_ledger::query::MeterUnits;

use super::{Part, Used};
use crate::amount::Pico;
use crate::exact::Exact;
use crate::plans::Credits;

/// The credits that usage burns.
pub fn burnt(credits: &Credits, units: &MeterUnits) -> Pico {
    let of = |(meter, rate): &(String, Pico)| rate.of_units(units.get(meter));
    credits.burn.iter().map(of).sum()
}

/// Credits that are left of grants, part after part of a tenant's billing periods.
///
/// Credits are those of one price plan. They lapse when the tenant leaves it, even if it comes back later.
#[derive(Debug, Default)]
pub(super) struct Grants<'p> {
    plan: &'p str,
    /// The billing period of the last part.
    period: Option<(Timestamp, Timestamp)>,
    /// Those that expire first go first, and of these the oldest.
    left: Vec<Grant>,
}

/// What is left of one grant.
#[derive(Debug)]
struct Grant {
    /// The billing periods that it has left, this one included.
    periods: u32,
    credits: Pico,
}

impl<'p> Grants<'p> {
    /// Takes in the next part: grants its credits, and burns what was used in it. Returns what no grant covers.
    pub(super) fn burn(&mut self, part: &Part<'p>, used: &Used) -> Pico {
        self.move_to(part);
        let Some(credits) = &part.plan.credits else {
            self.left.clear();
            return Pico::ZERO;
        };
        self.left.push(Grant { periods: credits.expires_after, credits: part.prorated(credits.grant, part.to) });
        self.left.sort_by_key(|grant| grant.periods);
        let mut missing = burnt(credits, &used.units);
        for grant in &mut self.left {
            let taken = missing.min(grant.credits);
            grant.credits -= taken;
            missing -= taken;
        }
        missing
    }

    /// Lets grants lapse that the part does not have any more.
    fn move_to(&mut self, part: &Part<'p>) {
        let (start, end) = (part.period.start, part.period.end);
        let before = self.period.replace((start, end));
        if self.plan != part.plan.name || before.is_some_and(|before| before.0 != start && before.1 != start) {
            self.left.clear();
        } else if before.is_some_and(|before| before.0 != start) {
            self.left.iter_mut().for_each(|grant| grant.periods = grant.periods.saturating_sub(1));
            self.left.retain(|grant| grant.periods > 0);
        }
        self.plan = &part.plan.name;
    }
}
