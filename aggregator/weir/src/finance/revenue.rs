//! Revenue of a span: each tenant's price plan, replayed over its billing periods.
//!
//! A tenant pays from its `created_at`, or else from its first usage.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use weir_contract::Timestamp;
use weir_ledger::periods::{Anchor, Period};
use weir_ledger::query::FirstWindows;
use weir_money::amount::{Currency, Pico};
use weir_money::plans::PricePlan;
use weir_money::revenue::{self, Bill, EarlierPeriod, Part, Used, burnt};

use super::spans::{Costs, Demand, Span, Units};
use super::{Finance, FinanceError};

const DAY_MS: u64 = 24 * 3_600_000;
/// The most billing periods back to which credits are followed.
const CREDIT_PERIODS: usize = 36;

/// Revenue by tenant and currency.
pub(super) type Revenue = BTreeMap<(String, Currency), Pico>;

/// One billing period of a tenant within the span.
#[derive(Debug)]
pub(super) struct Replay<'p> {
    pub(super) tenant: String,
    pub(super) period: Period,
    pub(super) parts: Vec<Part<'p>>,
    /// Parts of the periods before this one whose credits may be left, each with its period's number, the oldest first.
    earlier: Vec<(u32, Part<'p>)>,
}

/// Billing periods that were computed before: most tenants share theirs.
#[derive(Debug, Default)]
struct Calendar(HashMap<(Anchor, Timestamp), Period>);

impl Calendar {
    fn period(&mut self, anchor: &Anchor, at: Timestamp) -> Period {
        *self.0.entry((*anchor, at)).or_insert_with(|| anchor.period(at))
    }
}

/// The sums that replays need.
#[derive(Debug)]
pub(super) struct Sums {
    units: Units,
    costs: Costs,
}

impl Finance {
    /// What tenants pay for a span.
    pub(super) fn revenue(
        &mut self,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Revenue, FinanceError> {
        let finances = Arc::clone(&self.finances);
        let mut revenue = Revenue::new();
        if finances.plans.is_empty() {
            return Ok(revenue);
        }
        let replays = self.replays(&finances.plans, tenant, from, to)?;
        let sums = self.sums(&replays, &[from, to])?;
        // Replays of a tenant follow each other.
        for of_tenant in replays.chunk_by(|a, b| a.tenant == b.tenant) {
            let mut due: BTreeMap<Currency, Pico> = BTreeMap::new();
            for replay in of_tenant {
                sums.totals(replay, to).into_iter().for_each(|(of, total)| *due.entry(of).or_default() += total);
                sums.totals(replay, from).into_iter().for_each(|(of, total)| *due.entry(of).or_default() -= total);
            }
            if let Some(replay) = of_tenant.first() {
                revenue.extend(due.into_iter().map(|(currency, due)| ((replay.tenant.to_owned(), currency), due)));
            }
        }
        Ok(revenue)
    }

    /// The billing periods that touch a span, of one tenant or of all that have a price plan.
    pub(super) fn replays<'p>(
        &mut self,
        plans: &'p weir_money::plans::PricePlans,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Replay<'p>>, FinanceError> {
        let (anchors, first) = (self.anchors()?, self.reader.first_windows(tenant)?);
        let mut calendar = Calendar::default();
        let known: BTreeSet<&str> = match tenant {
            Some(tenant) => [tenant].into(),
            None => self.tenants.plans().keys().chain(first.keys()).map(String::as_str).collect(),
        };
        let mut replays = Vec::new();
        for tenant in known {
            let Some(began) = self.began(tenant, &first) else { continue };
            let anchor = anchors.get(tenant).copied().unwrap_or_default();
            let mut period = calendar.period(&anchor, from.max(began));
            while period.start < to {
                let of = |period| begun(revenue::parts(plans, tenant, self.plan_of(tenant), period), began);
                let parts = of(period);
                if !parts.is_empty() {
                    let earlier = earlier(&parts, &anchor, period, (began, &of));
                    replays.push(Replay { tenant: tenant.to_owned(), period, parts, earlier });
                }
                period = calendar.period(&anchor, period.end);
            }
        }
        Ok(replays)
    }

    /// The moment from which a tenant pays: its creation, or its first usage if that is earlier, since it is reported as well.
    fn began(&self, tenant: &str, first: &FirstWindows) -> Option<Timestamp> {
        let (created, used) = (self.tenants.created().get(tenant), first.get(tenant));
        created.into_iter().chain(used).min().copied()
    }

    /// Reads the sums for bills up to each of `moments`.
    pub(super) fn sums(&mut self, replays: &[Replay<'_>], moments: &[Timestamp]) -> Result<Sums, FinanceError> {
        let finances = Arc::clone(&self.finances);
        let meters = finances.plans.meters();
        let (mut units, mut costs) = (Demand::default(), Demand::default());
        for replay in replays {
            for part in &replay.parts {
                for until in moments {
                    units.add(&replay.tenant, span(part, *until));
                    if part.plan.cost_plus.is_some() {
                        costs.add(&replay.tenant, span(part, *until));
                    }
                }
            }
            replay.earlier.iter().for_each(|(_, part)| units.add(&replay.tenant, (part.from, part.to)));
        }
        Ok(Sums {
            units: Units::read(&mut self.reader, &meters, &units)?,
            costs: Costs::read(&mut self.reader, &costs)?,
        })
    }
}

impl Sums {
    /// The bill of a period up to a moment, by currency.
    pub(super) fn bill(&self, replay: &Replay<'_>, until: Timestamp) -> BTreeMap<Currency, Bill> {
        let earlier = self.earlier(replay);
        let bill = |(currency, parts): (_, Vec<_>)| (currency, revenue::bill(&parts, &earlier, until));
        self.priced(replay, until).into_iter().map(bill).collect()
    }

    /// The sums of these bills.
    fn totals(&self, replay: &Replay<'_>, until: Timestamp) -> BTreeMap<Currency, Pico> {
        let earlier = self.earlier(replay);
        let total = |(currency, parts): (_, Vec<_>)| (currency, revenue::total(&parts, &earlier, until));
        self.priced(replay, until).into_iter().map(total).collect()
    }

    /// The parts of a period up to a moment, by currency: plans of several currencies in one period bill separately.
    fn priced<'p>(&self, replay: &Replay<'p>, until: Timestamp) -> BTreeMap<Currency, Vec<(Part<'p>, Used)>> {
        let mut priced: BTreeMap<Currency, Vec<(Part<'p>, Used)>> = BTreeMap::new();
        if until <= replay.period.start {
            return priced;
        }
        for part in replay.parts.iter().filter(|part| part.from < until) {
            let used = self.used(&replay.tenant, part, until);
            priced.entry(part.plan.currency).or_default().push((*part, used));
        }
        priced
    }

    fn used(&self, tenant: &str, part: &Part<'_>, until: Timestamp) -> Used {
        let span = span(part, until);
        Used { units: self.units.of(tenant, span), cost: self.costs.in_currency(tenant, span, part.plan.currency) }
    }

    fn earlier(&self, replay: &Replay<'_>) -> Vec<EarlierPeriod> {
        let of = |(period, part): &(u32, Part<'_>)| {
            let burns = |credits| burnt(credits, &self.units.of(&replay.tenant, (part.from, part.to)));
            let burnt = part.plan.credits.as_ref().map_or(Pico::ZERO, burns);
            EarlierPeriod { period: *period, granted: part.granted(), burnt }
        };
        replay.earlier.iter().map(of).collect()
    }
}

/// The span of a part up to a moment.
fn span(part: &Part<'_>, until: Timestamp) -> Span {
    (part.from, part.to.min(until))
}

/// Parts from the day on which the tenant began.
fn begun(mut parts: Vec<Part<'_>>, began: Timestamp) -> Vec<Part<'_>> {
    for part in &mut parts {
        let days = began.millis_since(part.period.start) / DAY_MS;
        part.from = part.from.max(part.period.start.plus_millis(days * DAY_MS));
    }
    parts.retain(|part| part.from < part.to);
    parts
}

/// Parts of the periods before this one whose credits may be left: none if grants end with their own period.
fn earlier<'p>(
    parts: &[Part<'p>],
    anchor: &Anchor,
    period: Period,
    (began, parts_of): (Timestamp, &dyn Fn(Period) -> Vec<Part<'p>>),
) -> Vec<(u32, Part<'p>)> {
    let lasts = |plan: &PricePlan| plan.credits.as_ref().is_some_and(|credits| credits.expires_after > 1);
    if !parts.iter().any(|part| lasts(part.plan)) {
        return Vec::new();
    }
    let mut before = Vec::new();
    let mut start = period.start;
    while start > began && before.len() < CREDIT_PERIODS {
        let period = anchor.period(Timestamp::from_millis(start.as_millis() - 1));
        before.push(period);
        start = period.start;
    }
    let numbered = (0..).zip(before.into_iter().rev());
    numbered.flat_map(|(number, period)| parts_of(period).into_iter().map(move |part| (number, part))).collect()
}
