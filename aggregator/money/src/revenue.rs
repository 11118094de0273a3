//! Revenue: what a tenant's usage costs the tenant, line by line.
//!
//! A billing period is split where the tenant's price plan changes ([`parts`]); each part is priced by its own version, its fees
//! cut to its days. [`bill`] prices a whole period, or one up to a moment: since it only grows, the revenue of any span is the
//! bill up to its end less the bill up to its start, and spans that follow each other add up to the bill of the period.
//!
//! # Days
//!
//! A period's days are counted from its start: a day has begun once its first moment is over. A period from the 3rd, 10:37 to the
//! next 3rd, 10:37 has as many days as the month that it begins in, in leap years too.
//! A tenant that is new pays fees from a day on ([`Part::since`]); its usage counts wherever it falls, as at Stripe.
//!
//! # The same numbers as Stripe
//!
//! A charge is one of Stripe's prices ([`crate::plans::Pricing::as_tiers`]). As at Stripe, a part counts its units anew and has its
//! included units and tiers whole. Lines stand as on Stripe's invoice, one for each tier and one for its flat fee, and each is
//! rounded to the currency's smallest unit by itself. Of a tiered charge the first tier's flat fee is due without usage, too.
mod credits;
mod tiers;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_ledger::periods::Period;
use weir_ledger::query::MeterUnits;

use credits::Grants;
pub use credits::burnt;

use crate::amount::{Currency, PICO, Pico};
use crate::exact::Exact;
use crate::plans::{Charge, PricePlan, PricePlans, Pricing};

const DAY_MS: u64 = 24 * 3_600_000;

/// A part of a billing period with one version of one price plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'p> {
    /// The plan.
    pub plan: &'p PricePlan,
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// The billing period.
    pub period: Period,
    /// Fees, minimum and grants are due from this moment on: the start of the part, or of a later day.
    pub fees_from: Timestamp,
}

/// What a tenant used in one part of a billing period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Billable units by meter.
    pub units: MeterUnits,
    /// Measured cost in the plan's currency.
    pub cost: Pico,
}

/// A line of a bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What the line is for.
    pub kind: LineKind,
    /// The meter, if it is for usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    /// The price plan.
    pub plan: String,
    /// Units, or days of a fee; credits are cut to whole ones.
    pub quantity: u64,
    /// The exact number of credits; absent on other lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<Pico>,
    /// The price of one.
    pub price: Pico,
    /// The exact amount.
    pub amount: Pico,
}

impl Line {
    /// The exact quantity as text: what `price` is multiplied by.
    pub fn exact_quantity(&self) -> String {
        self.credits.map_or_else(|| self.quantity.to_string(), |credits| credits.to_string())
    }
}

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// The base fee, by days.
    BaseFee,
    /// Units that are included.
    Included,
    /// Units at the price of their tier.
    Usage,
    /// The flat fee of a tier.
    Flat,
    /// Credits beyond those granted.
    Credits,
    /// Measured cost times a factor.
    CostPlus,
    /// The difference to the minimum.
    Minimum,
}

impl LineKind {
    /// The kind as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            LineKind::BaseFee => "base_fee",
            LineKind::Included => "included",
            LineKind::Usage => "usage",
            LineKind::Flat => "flat",
            LineKind::Credits => "credits",
            LineKind::CostPlus => "cost_plus",
            LineKind::Minimum => "minimum",
        }
    }
}

/// The bill of a period, or of its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The lines.
    pub lines: Vec<Line>,
    /// The exact sum.
    pub total: Pico,
}

impl Bill {
    /// The amount due in the currency's smallest unit: the sum of the rounded lines.
    pub fn minor_units(&self, currency: Currency) -> i128 {
        self.lines.iter().map(|line| line.amount.minor_units(currency)).sum()
    }
}

/// Splits a billing period where the tenant's price plan changes. Times without a plan are left out.
pub fn parts<'p>(plans: &'p PricePlans, tenant: &str, plan: Option<&str>, period: Period) -> Vec<Part<'p>> {
    let mut bounds = vec![period.start];
    bounds.extend(plans.changes(period.start, period.end));
    bounds.push(period.end);
    let mut parts: Vec<Part<'p>> = Vec::new();
    for span in bounds.windows(2) {
        let [from, to] = *span else { continue };
        let Some(plan) = plans.of(tenant, plan, from) else { continue };
        match parts.last_mut() {
            Some(last) if std::ptr::eq(last.plan, plan) && last.to == from => last.to = to,
            _ => parts.push(Part { plan, from, to, period, fees_from: from }),
        }
    }
    parts
}

/// One part for a whole period under one plan, as comparisons need it.
pub fn whole(plan: &PricePlan, period: Period) -> Part<'_> {
    Part { plan, from: period.start, to: period.end, period, fees_from: period.start }
}

/// Prices the parts of one period up to `until`, each with what was used in it by then. `earlier` are the parts of the periods
/// before it, the oldest first; only credits that outlive their period need them.
pub fn bill<'p>(parts: &[(Part<'p>, Used)], earlier: &[(Part<'p>, Used)], until: Timestamp) -> Bill {
    let lines: Vec<Line> = priced(parts, earlier, until).into_iter().map(Line::from).collect();
    let total = lines.iter().map(|line| line.amount).sum();
    Bill { lines, total }
}

/// The sum of [`bill`], without its lines.
pub fn total<'p>(parts: &[(Part<'p>, Used)], earlier: &[(Part<'p>, Used)], until: Timestamp) -> Pico {
    priced(parts, earlier, until).iter().map(|line| line.amount).sum()
}

fn priced<'p>(parts: &[(Part<'p>, Used)], earlier: &[(Part<'p>, Used)], until: Timestamp) -> Vec<Priced<'p>> {
    let (mut lines, mut grants) = (Vec::new(), Grants::default());
    for (part, used) in earlier {
        grants.burn(part, used);
    }
    for (part, used) in parts.iter().filter(|(part, _)| part.from < until || part.from == part.period.start) {
        let first = lines.len();
        part.base_fee(until, &mut lines);
        let is_due = part.is_due(until);
        for charge in &part.plan.charges {
            let units = used.units.get(&charge.meter);
            if is_due || units > 0 {
                part.charge(charge, units, &mut lines);
            }
        }
        part.credits(used, &mut grants, &mut lines);
        if is_due || used.cost != Pico::ZERO {
            part.cost_plus(used, &mut lines);
        }
        let so_far = lines.iter().skip(first).map(|line| line.amount).sum();
        part.minimum(so_far, until, &mut lines);
    }
    lines
}

/// A line that borrows its texts: sums over all tenants make a great many.
#[derive(Debug)]
struct Priced<'p> {
    kind: LineKind,
    meter: Option<&'p str>,
    plan: &'p str,
    quantity: u64,
    credits: Option<Pico>,
    price: Pico,
    amount: Pico,
}

impl From<Priced<'_>> for Line {
    fn from(line: Priced<'_>) -> Line {
        let Priced { kind, meter, plan, quantity, credits, price, amount } = line;
        Line { kind, meter: meter.map(str::to_owned), plan: plan.to_owned(), quantity, credits, price, amount }
    }
}

impl<'p> Part<'p> {
    /// The same part for a tenant that pays fees from the day of `began` on.
    #[must_use]
    pub fn since(self, began: Timestamp) -> Self {
        let days = began.millis_since(self.period.start) / DAY_MS;
        let day = self.period.start.plus_millis(days * DAY_MS);
        Part { fees_from: day.max(self.from).min(self.to), ..self }
    }

    /// False as long as no fee is due: then only what was used is charged.
    fn is_due(&self, until: Timestamp) -> bool {
        self.fees_from == self.from || until.min(self.to) > self.fees_from
    }

    /// The days with fees of the part that have begun by `until`, and the days of its period.
    fn days(&self, until: Timestamp) -> (u64, u64) {
        let first = self.fees_from;
        let begun = |at: Timestamp| at.min(self.to).max(first).millis_since(self.period.start).div_ceil(DAY_MS);
        let of = self.period.end.millis_since(self.period.start).div_ceil(DAY_MS).max(1);
        if !self.plan.prorate {
            let begun = u64::from(until > first && self.to > first);
            return (begun, 1);
        }
        (begun(until) - begun(first), of)
    }

    /// An amount cut to the days of the part that have begun by `until`.
    fn prorated(&self, amount: Pico, until: Timestamp) -> Pico {
        let (days, of) = self.days(until);
        amount.scaled(i128::from(days), i128::from(of))
    }

    fn line(&self, kind: LineKind, meter: Option<&'p str>, quantity: u64, price: Pico, amount: Pico) -> Priced<'p> {
        Priced { kind, meter, plan: &self.plan.name, quantity, credits: None, price, amount }
    }

    fn base_fee(&self, until: Timestamp, lines: &mut Vec<Priced<'p>>) {
        let (days, _) = self.days(until);
        if self.plan.base_fee != Pico::ZERO && days > 0 {
            let amount = self.prorated(self.plan.base_fee, until);
            lines.push(self.line(LineKind::BaseFee, None, days, self.plan.base_fee, amount));
        }
    }

    fn charge(&self, charge: &'p Charge, units: u64, lines: &mut Vec<Priced<'p>>) {
        let meter = Some(charge.meter.as_str());
        match &charge.pricing {
            Pricing::PerUnit { included, price } => {
                let free = units.min(*included);
                if free > 0 {
                    lines.push(self.line(LineKind::Included, meter, free, Pico::ZERO, Pico::ZERO));
                }
                let paid = units - free;
                lines.push(self.line(LineKind::Usage, meter, paid, *price, price.of_units(paid)));
            }
            Pricing::Graduated(tiers) => {
                for filled in tiers::graduated(tiers, units) {
                    self.tier(meter, filled, lines);
                }
            }
            Pricing::Volume(tiers) => {
                if let Some(filled) = tiers::volume(tiers, units) {
                    self.tier(meter, filled, lines);
                }
            }
        }
    }

    fn tier(&self, meter: Option<&'p str>, (tier, units): tiers::Filled, lines: &mut Vec<Priced<'p>>) {
        lines.push(self.line(LineKind::Usage, meter, units, tier.per_unit, tier.per_unit.of_units(units)));
        if tier.flat != Pico::ZERO {
            lines.push(self.line(LineKind::Flat, meter, 1, tier.flat, tier.flat));
        }
    }

    fn credits(&self, used: &Used, grants: &mut Grants<'p>, lines: &mut Vec<Priced<'p>>) {
        let beyond = grants.burn(self, used);
        let Some(credits) = &self.plan.credits else { return };
        if beyond > Pico::ZERO {
            let amount = beyond.scaled(credits.per_credit.0, PICO);
            let quantity = u64::try_from(beyond.0 / PICO).unwrap_or(u64::MAX);
            let line = self.line(LineKind::Credits, None, quantity, credits.per_credit, amount);
            lines.push(Priced { credits: Some(beyond), ..line });
        }
    }

    fn cost_plus(&self, used: &Used, lines: &mut Vec<Priced<'p>>) {
        if let Some(factor) = self.plan.cost_plus {
            lines.push(self.line(LineKind::CostPlus, None, 1, used.cost, used.cost.scaled(factor.0, PICO)));
        }
    }

    fn minimum(&self, so_far: Pico, until: Timestamp, lines: &mut Vec<Priced<'p>>) {
        let least = self.prorated(self.plan.minimum, until);
        if so_far < least {
            lines.push(self.line(LineKind::Minimum, None, 1, least - so_far, least - so_far));
        }
    }
}
