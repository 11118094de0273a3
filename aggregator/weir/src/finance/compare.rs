//! `weir price compare`.
use std::collections::BTreeSet;

use weir_contract::Timestamp;
use weir_ledger::periods::{Anchor, Period};
use weir_money::compare::{self, CompareView, PLANS_MAX, Usage, UsedPeriod};
use weir_money::other::Purpose;
use weir_money::plans::PricePlan;

use super::query::CompareQuery;
use super::spans::{Costs, Demand, Units};
use super::{Finance, FinanceError};

/// The billing periods that are compared where the question does not say.
const PERIODS: usize = 3;
/// The most billing periods of one comparison.
const PERIODS_MAX: usize = 60;

impl Finance {
    /// A tenant's usage under several price plans.
    pub fn compare(&mut self, query: &CompareQuery) -> Result<CompareView, FinanceError> {
        let tenant = query.tenant.as_str();
        self.check_tenant(tenant)?;
        let finances = std::sync::Arc::clone(&self.finances);
        let plans = chosen(&finances.plans, query.plans.as_deref(), self.now)?;
        let anchor = self.anchors(Some(tenant))?.get(tenant).copied().unwrap_or_default();
        let began = self.began(tenant)?;
        let periods = periods(&anchor, query, self.now, began.usage)?;
        let mut demand = Demand::default();
        periods.iter().for_each(|period| demand.add(tenant, (period.start, period.end)));
        let (units, costs) = (
            Units::read(&mut self.reader, &finances.plans.meters(), &demand)?,
            Costs::read(&mut self.reader, &demand)?,
        );
        let mut used = Vec::with_capacity(periods.len());
        for period in &periods {
            let span = (period.start, period.end);
            let other = self.other(Some(tenant), period.start, period.end, Purpose::Running)?;
            let other_costs = other.into_iter().map(|((_, currency), cost)| (currency, cost)).collect();
            let (units, costs) = (units.of(tenant, span), costs.of(tenant, span));
            used.push(UsedPeriod { period: *period, units, costs, other_costs });
        }
        let current = finances.plans.of(tenant, self.plan_of(tenant), self.now).map(|plan| plan.name.clone());
        let usage = Usage { tenant: tenant.to_owned(), plan: current, began: began.fees, periods: used };
        let mut view = compare::compare(&usage, &plans);
        if let (Some(first), Some(last)) = (periods.first(), periods.last()) {
            view.unpriced = self.unpriced_usage(Some(tenant), first.start, last.end)?;
        }
        Ok(view)
    }
}

/// The plans of a question, as they are now.
fn chosen<'p>(
    plans: &'p weir_money::plans::PricePlans,
    named: Option<&str>,
    now: Timestamp,
) -> Result<Vec<&'p PricePlan>, FinanceError> {
    let known = plans.names();
    let names: BTreeSet<&str> =
        named.map_or_else(|| known.iter().copied().collect(), |names| names.split(',').map(str::trim).collect());
    if names.is_empty() {
        return Err(FinanceError::Conflict("there are no `price_plans` in the configuration".to_owned()));
    }
    if names.len() > PLANS_MAX {
        return Err(FinanceError::Question(format!("{} price plans; at most {PLANS_MAX} are compared", names.len())));
    }
    let find = |name: &&str| {
        let unknown = || {
            FinanceError::Unknown(format!("there is no price plan {name:?} in force; there are {}", known.join(", ")))
        };
        plans.named(name, now).ok_or_else(unknown)
    };
    names.iter().map(find).collect()
}

/// The periods of a question, from that on in which the tenant began.
fn periods(
    anchor: &Anchor,
    query: &CompareQuery,
    now: Timestamp,
    began: Timestamp,
) -> Result<Vec<Period>, FinanceError> {
    let before = |at: Timestamp| anchor.period(Timestamp::from_millis(at.as_millis().saturating_sub(1)));
    let end = query.to.unwrap_or(now);
    let mut period = anchor.period(end);
    let mut found = Vec::new();
    while period.start > Timestamp::default() {
        period = before(period.start);
        let wanted = match query.from {
            Some(from) => period.end > from,
            None => found.len() < PERIODS,
        };
        if !wanted || period.end <= began {
            break;
        }
        found.push(period);
        if found.len() > PERIODS_MAX {
            return Err(FinanceError::Conflict(format!(
                "more than {PERIODS_MAX} billing periods; choose a later `from`"
            )));
        }
    }
    found.reverse();
    if found.is_empty() {
        let from = query.from.unwrap_or(began);
        let told = format!("no whole billing period of the tenant lies between {from} and {end}");
        return Err(FinanceError::Conflict(told));
    }
    Ok(found)
}
