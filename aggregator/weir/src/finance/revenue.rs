//! Revenue of a span: each tenant's price plan, replayed over its billing periods.
//!
//! A tenant pays fees from its `created_at`, or else from its first usage. All of its usage is charged: what is reported to the provider
//! does not depend on `created_at`. Each billing period goes by the plan that the tenant had in it.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use weir_contract::Timestamp;
use weir_ledger::periods::{Anchor, Period};
use weir_ledger::tenant_plans::{PlanHistories, PlanHistory};
use weir_money::amount::{Currency, Pico};
use weir_money::plans::PricePlans;
use weir_money::revenue::{self, Bill, Part, Used};

use super::spans::{Costs, Demand, Span, Units};
use super::{Finance, FinanceError};

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
    /// Parts of the periods before this one whose credits may be left.
    earlier: Vec<Part<'p>>,
}

/// The moments from which on a tenant pays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began {
    /// Usage is charged.
    pub(super) usage: Timestamp,
    /// Fees are due.
    pub(super) fees: Timestamp,
}

/// What the replay of one tenant rests on.
struct Payer<'a, 'p> {
    plans: &'p PricePlans,
    tenant: &'a str,
    history: Option<&'a PlanHistory>,
    anchor: Anchor,
    began: Began,
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
        plans: &'p PricePlans,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Replay<'p>>, FinanceError> {
        let (anchors, first) = (self.anchors(tenant)?, self.reader.first_windows(tenant)?);
        let histories = self.plan_histories(tenant)?;
        let mut calendar = Calendar::default();
        let known: BTreeSet<&str> = match tenant {
            Some(tenant) => [tenant].into(),
            None => histories.keys().chain(first.keys()).map(String::as_str).collect(),
        };
        let mut replays = Vec::new();
        for tenant in known {
            let history = histories.get(tenant);
            let Some(began) = began(history, first.get(tenant).copied()) else { continue };
            let anchor = anchors.get(tenant).copied().unwrap_or_default();
            let payer = Payer { plans, tenant, history, anchor, began };
            let mut period = calendar.period(&anchor, from.max(began.usage));
            while period.start < to {
                let parts = payer.parts(period);
                if !parts.is_empty() {
                    let earlier = payer.earlier(&parts, period, &mut calendar);
                    replays.push(Replay { tenant: tenant.to_owned(), period, parts, earlier });
                }
                period = calendar.period(&anchor, period.end);
            }
        }
        Ok(replays)
    }

    /// The moments from which on a tenant pays; the present if it has not begun.
    pub(super) fn began(&mut self, tenant: &str) -> Result<Began, FinanceError> {
        let histories: PlanHistories = self.plan_histories(Some(tenant))?;
        let first = self.reader.first_windows(Some(tenant))?.get(tenant).copied();
        Ok(began(histories.get(tenant), first).unwrap_or(Began { usage: self.now, fees: self.now }))
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
            replay.earlier.iter().for_each(|part| units.add(&replay.tenant, (part.from, part.to)));
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
    pub(super) fn totals(&self, replay: &Replay<'_>, until: Timestamp) -> BTreeMap<Currency, Pico> {
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

    /// Costs of before do not matter: only credits need it.
    fn earlier<'p>(&self, replay: &Replay<'p>) -> Vec<(Part<'p>, Used)> {
        let units = |part: &Part<'_>| self.units.of(&replay.tenant, (part.from, part.to));
        replay.earlier.iter().map(|part| (*part, Used { units: units(part), cost: Pico::ZERO })).collect()
    }
}

/// The span of a part up to a moment.
fn span(part: &Part<'_>, until: Timestamp) -> Span {
    (part.from, part.to.min(until))
}

/// The moments from which on a tenant pays: None if it has neither a `created_at` nor usage.
fn began(history: Option<&PlanHistory>, first: Option<Timestamp>) -> Option<Began> {
    let created = history.and_then(PlanHistory::last).and_then(|entry| entry.created_at);
    let fees = created.or(first)?;
    Some(Began { usage: first.map_or(fees, |first| first.min(fees)), fees })
}

impl<'p> Payer<'_, 'p> {
    /// The parts of a billing period, by the plan that the tenant had in it.
    fn parts(&self, period: Period) -> Vec<Part<'p>> {
        let plan = self.history.and_then(|history| history.in_period(&period));
        let parts = revenue::parts(self.plans, self.tenant, plan, period);
        parts.into_iter().map(|part| part.since(self.began.fees)).collect()
    }

    /// The periods before this one whose credits may be left: none if all grants end with their own period.
    fn earlier(&self, parts: &[Part<'p>], period: Period, calendar: &mut Calendar) -> Vec<Part<'p>> {
        let lasts = |part: &&Part<'_>| self.plans.keeps_credits(&part.plan.name);
        let Some(plan) = parts.iter().find(lasts).map(|part| part.plan) else { return Vec::new() };
        let mut before: Vec<Vec<Part<'p>>> = Vec::new();
        let mut start = period.start;
        while start > self.began.usage && before.len() < CREDIT_PERIODS {
            let period = calendar.period(&self.anchor, Timestamp::from_millis(start.as_millis() - 1));
            let parts = self.parts(period);
            if !parts.iter().any(|part| part.plan.name == plan.name) {
                break;
            }
            before.push(parts);
            start = period.start;
        }
        before.into_iter().rev().flatten().collect()
    }
}
