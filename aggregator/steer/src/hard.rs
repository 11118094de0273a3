//! Hard budgets, as gateways are told them: for each tenant the current period and the next.
use std::collections::{BTreeMap, HashMap};

use weir_contract::Timestamp;
use weir_contract::hard::{HardBudget, HardMeasure};
use weir_contract::lease::CAPACITY_MAX;
use weir_database::Connection;
use weir_ledger::LedgerError;
use weir_ledger::amount::Pico;
use weir_ledger::periods::{self, Anchor};

use crate::budget::Budget;
use crate::calendar::Period;
use crate::engine::Rules;
use crate::file::Span;
use crate::leasable::{measure, units};
use crate::raise::{self, Raise};

/// Hard budgets in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HardInForce {
    /// By tenant, in the order of the configuration, each period after the one before it.
    pub budgets: HashMap<String, Vec<HardBudget>>,
    /// The first moment at which one of their current periods ends.
    pub next_end: Option<Timestamp>,
    /// The raises that decide about their amounts.
    pub raises: Vec<Raise>,
}

/// The hard budgets of all tenants at `now`. A paused budget is none.
pub fn in_force(db: &Connection, rules: &Rules, now: Timestamp) -> Result<HardInForce, LedgerError> {
    let mut found = HardInForce::default();
    if !rules.budgets.iter().any(|budget| budget.hard) {
        return Ok(found);
    }
    let raises = raise::active(db, now)?;
    for budget in rules.budgets.iter().filter(|budget| budget.hard) {
        let Some(of) = measure(budget.of) else { continue };
        let mut same = None;
        for tenant in tenants(budget, rules) {
            let periods = match budget.span {
                Span::BillingPeriod => periods(budget, periods::anchor_of(db, tenant)?, now),
                _ => same.get_or_insert_with(|| periods(budget, Anchor::default(), now)).clone(),
            };
            let Some(amount) = amount(budget, tenant, &raises, budget.amount(tenant)) else { continue };
            found.next_end =
                [found.next_end, periods.first().and_then(|period| period.end)].into_iter().flatten().min();
            found.budgets.entry(tenant.to_owned()).or_default().extend(told(budget, of, amount, periods));
        }
    }
    found.raises = raises;
    Ok(found)
}

/// The hard budgets of a tenant that is about to arrive, or to have another plan. `own`: its own amounts, by the budget's name.
pub fn of_arriving(
    budgets: &[Budget],
    (tenant, plan): (&str, &str),
    own: &BTreeMap<String, Pico>,
    raises: &[Raise],
    now: Timestamp,
) -> Vec<HardBudget> {
    let mut found = Vec::new();
    for budget in budgets.iter().filter(|budget| budget.hard && budget.applies(tenant, Some(plan))) {
        let Some(of) = measure(budget.of) else { continue };
        let usual = own.get(&*budget.name).copied().unwrap_or_else(|| budget.amount(tenant));
        let Some(amount) = amount(budget, tenant, raises, usual) else { continue };
        // No hard budget goes by billing periods, which only the ledger knows.
        found.extend(told(budget, of, amount, periods(budget, Anchor::default(), now)));
    }
    found
}

fn told(
    budget: &Budget,
    of: HardMeasure,
    amount: Pico,
    periods: impl IntoIterator<Item = Period>,
) -> impl Iterator<Item = HardBudget> {
    periods.into_iter().map(move |Period { start, end }| HardBudget {
        budget: budget.name.clone(),
        of,
        // Never none, and never too many: gateways would have no limit from it.
        amount: units(of, amount).clamp(1, CAPACITY_MAX),
        currency: (of == HardMeasure::Cost).then(|| budget.currency.as_str().into()),
        scope: budget.scope.clone(),
        starts: start,
        ends: end,
    })
}

fn tenants<'a>(budget: &'a Budget, rules: &'a Rules) -> Vec<&'a str> {
    let known = rules.plans.keys().map(String::as_str);
    let mut all: Vec<&str> = known.chain(budget.named_tenants()).collect();
    all.sort_unstable();
    all.dedup();
    all.retain(|tenant| budget.applies(tenant, rules.plans.get(*tenant).map(String::as_str)));
    all
}

/// The current period and the one after it.
fn periods(budget: &Budget, anchor: Anchor, now: Timestamp) -> Vec<Period> {
    let current = budget.period(|| anchor, now.hour());
    let next = current.end.map(|end| budget.period(|| anchor, end));
    std::iter::once(current).chain(next).collect()
}

/// The amount in force; None while the budget is paused.
fn amount(budget: &Budget, tenant: &str, raises: &[Raise], usual: Pico) -> Option<Pico> {
    let raise = raises.iter().rev().find(|raise| raise.subject == tenant && raise.budget == *budget.name);
    raise.map_or(Some(usual), |raise| raise.amount)
}
