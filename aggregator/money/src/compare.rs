//! The same usage under several price plans: what each brings in, what it leaves, and how steady it is.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_ledger::periods::Period;
use weir_ledger::query::MeterUnits;

use crate::amount::{Currency, Pico};
use crate::exact::divide;
use crate::margin::{Level, Unpriced};
use crate::plans::PricePlan;
use crate::ratio::Percent;
use crate::revenue::{self, EarlierPeriod, Used};

/// The most plans of one comparison.
pub const PLANS_MAX: usize = 20;

/// A tenant's usage, period by period, the oldest first. Costs are by currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The tenant.
    pub tenant: String,
    /// The name of the plan that it pays by.
    pub plan: Option<String>,
    /// Its billing periods.
    pub periods: Vec<UsedPeriod>,
}

/// What was used in one billing period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedPeriod {
    /// The period.
    pub period: Period,
    /// Billable units by meter.
    pub units: MeterUnits,
    /// Cost by currency.
    pub costs: BTreeMap<Currency, Pico>,
    /// Costs that no request causes, by currency.
    pub other_costs: BTreeMap<Currency, Pico>,
}

/// A plan in a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    /// The plan.
    pub plan: String,
    /// True if it is the plan that the tenant pays by today.
    pub current: bool,
    /// The currency of its amounts.
    pub currency: Currency,
    /// What it brings in over all periods.
    pub revenue: Pico,
    /// Measured cost in the plan's currency.
    pub cost: Pico,
    /// Costs that no request causes.
    #[serde(default)]
    pub other_cost: Pico,
    /// Revenue less both costs.
    pub margin: Pico,
    /// The same as a share of revenue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin_percent: Option<Percent>,
    /// How good the margin is.
    pub level: Level,
    /// What the tenant pays more than under its current plan; absent if there is none in this currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_than_current: Option<Pico>,
    /// The bill of each period.
    pub bills: Vec<Pico>,
    /// Greatest bill less the least, as a share of the average: 0 is the same bill each period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread_percent: Option<Percent>,
    /// True if the tenant has cost in another currency, which the margin lacks.
    #[serde(default)]
    pub other_currencies: bool,
}

/// Answer to `weir price compare`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareView {
    /// The tenant.
    pub tenant: String,
    /// The starts of the periods.
    pub periods: Vec<weir_contract::Timestamp>,
    /// The plans, the one that brings in most first.
    pub plans: Vec<PlanRow>,
    /// Usage without a price, in any currency: no sum includes its cost.
    #[serde(default, skip_serializing_if = "Unpriced::is_none")]
    pub unpriced: Unpriced,
}

/// Prices a tenant's usage under each plan.
pub fn compare(usage: &Usage, plans: &[&PricePlan]) -> CompareView {
    let mut rows: Vec<PlanRow> = plans.iter().map(|plan| row(usage, plan)).collect();
    let current = rows.iter().find(|row| row.current).map(|row| (row.currency, row.revenue));
    for row in &mut rows {
        row.more_than_current =
            current.filter(|(currency, _)| *currency == row.currency).map(|(_, revenue)| row.revenue - revenue);
    }
    rows.sort_by(|a, b| (a.currency, b.revenue, &a.plan).cmp(&(b.currency, a.revenue, &b.plan)));
    let periods = usage.periods.iter().map(|used| used.period.start).collect();
    CompareView { tenant: usage.tenant.clone(), periods, plans: rows, unpriced: Unpriced::default() }
}

fn row(usage: &Usage, plan: &PricePlan) -> PlanRow {
    let bills = bills(usage, plan);
    let cost_of = |used: &UsedPeriod| used.costs.get(&plan.currency).copied().unwrap_or_default();
    let (revenue, cost): (Pico, Pico) = (bills.iter().copied().sum(), usage.periods.iter().map(cost_of).sum());
    let other_of = |used: &UsedPeriod| used.other_costs.get(&plan.currency).copied().unwrap_or_default();
    let other_cost: Pico = usage.periods.iter().map(other_of).sum();
    let margin = revenue - cost - other_cost;
    let is_foreign = |(currency, cost): (&Currency, &Pico)| *currency != plan.currency && cost.0 != 0;
    let foreign = |used: &UsedPeriod| used.costs.iter().chain(&used.other_costs).any(is_foreign);
    PlanRow {
        plan: plan.name.clone(),
        current: usage.plan.as_deref() == Some(plan.name.as_str()),
        currency: plan.currency,
        revenue,
        cost,
        other_cost,
        margin,
        margin_percent: Percent::of(margin.0, revenue.0),
        level: Level::of(revenue, margin),
        more_than_current: None,
        spread_percent: spread(&bills),
        bills,
        other_currencies: usage.periods.iter().any(foreign),
    }
}

/// The bill of each period; the whole time is priced as the plan stands.
fn bills(usage: &Usage, plan: &PricePlan) -> Vec<Pico> {
    let mut earlier: Vec<EarlierPeriod> = Vec::new();
    let mut bills = Vec::with_capacity(usage.periods.len());
    for (period, used) in (0..).zip(&usage.periods) {
        let cost = used.costs.get(&plan.currency).copied().unwrap_or_default();
        let part = revenue::whole(plan, used.period);
        let priced = Used { units: used.units.clone(), cost };
        bills.push(revenue::bill(&[(part, priced)], &earlier, used.period.end).total);
        if let Some(credits) = &plan.credits {
            earlier.push(EarlierPeriod { period, granted: credits.grant, burnt: revenue::burnt(credits, &used.units) });
        }
    }
    bills
}

fn spread(bills: &[Pico]) -> Option<Percent> {
    let (most, least) = (bills.iter().max()?, bills.iter().min()?);
    let sum: Pico = bills.iter().copied().sum();
    Percent::of((*most - *least).0, divide(sum.0, bills.len() as i128))
}
