//! What budgets of revenue and credits have used: bills so far, and the credits that usage burns, by the price plans.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_contract::Timestamp;
use weir_ledger::steering::MeasuredUse;
use weir_money::amount::Pico;
use weir_money::revenue::burnt;
use weir_steer::budget::Budget;
use weir_steer::calendar::Period;
use weir_steer::engine::Rules;
use weir_steer::file::{Measure, Span};

use super::revenue::Replay;
use super::spans::{Demand, Units};
use super::{Finance, FinanceError};

/// The tenants of a budget, each with its current period.
type Periods = BTreeMap<String, Period>;

impl Finance {
    /// What every tenant has used of every budget of revenue and credits in its current period, by tenant.
    pub(crate) fn measured_budgets(&mut self, rules: &Rules) -> Result<Vec<MeasuredUse>, FinanceError> {
        let mut measured = Vec::new();
        for budget in rules.budgets.iter().filter(|budget| budget.of.is_charged()) {
            let periods = self.periods_of(rules, budget)?;
            let used = self.charged(budget, &periods)?;
            measured.extend(periods.into_iter().map(|(tenant, period)| MeasuredUse {
                used: used.get(&tenant).copied().unwrap_or_default(),
                subject: tenant,
                budget: budget.name.to_string(),
                start: period.start,
                end: period.end,
            }));
        }
        measured.sort_by(|a, b| (&a.subject, &a.budget).cmp(&(&b.subject, &b.budget)));
        Ok(measured)
    }

    fn periods_of(&mut self, rules: &Rules, budget: &Budget) -> Result<Periods, FinanceError> {
        let (anchors, now) = (self.anchors(None)?, self.now);
        let known = rules.plans.keys().map(String::as_str).chain(budget.named_tenants());
        let has = |tenant: &&str| budget.applies(tenant, rules.plans.get(*tenant).map(String::as_str));
        let period = |tenant: &str| {
            let anchor = anchors.get(tenant).copied().unwrap_or_default();
            (tenant.to_owned(), budget.period(|| anchor, now))
        };
        Ok(known.filter(has).map(period).collect())
    }

    fn charged(&mut self, budget: &Budget, periods: &Periods) -> Result<HashMap<String, Pico>, FinanceError> {
        let finances = Arc::clone(&self.finances);
        let now = self.now;
        let Some(from) = periods.values().map(|period| period.start).min().filter(|from| *from < now) else {
            return Ok(HashMap::new());
        };
        let mut replays = self.replays(&finances.plans, None, from, now)?;
        replays.retain(|replay| {
            let period = periods.get(&replay.tenant);
            // A budget by billing period is of that one alone.
            period.is_some_and(|period| budget.span != Span::BillingPeriod || replay.period.start == period.start)
        });
        match budget.of {
            Measure::Credits => self.credits_burnt(&replays, from),
            _ => self.due(budget, &replays, from),
        }
    }

    /// What tenants pay for the span from `from` to now, in the budget's currency.
    fn due(
        &mut self,
        budget: &Budget,
        replays: &[Replay<'_>],
        from: Timestamp,
    ) -> Result<HashMap<String, Pico>, FinanceError> {
        let now = self.now;
        // A billing period is paid from its own start on: nothing is due before.
        let is_whole = budget.span == Span::BillingPeriod;
        let moments = if is_whole { vec![now] } else { vec![from, now] };
        let sums = self.sums(replays, &moments)?;
        let mut due: HashMap<String, Pico> = HashMap::new();
        for replay in replays {
            let until = |moment| sums.totals(replay, moment).get(&budget.currency).copied().unwrap_or_default();
            let before = if is_whole { Pico::ZERO } else { until(from) };
            *due.entry(replay.tenant.clone()).or_default() += until(now) - before;
        }
        Ok(due)
    }

    /// The credits that usage has burnt since `from`, or since the start of a later billing period.
    fn credits_burnt(
        &mut self,
        replays: &[Replay<'_>],
        from: Timestamp,
    ) -> Result<HashMap<String, Pico>, FinanceError> {
        let (finances, now) = (Arc::clone(&self.finances), self.now);
        let mut demand = Demand::default();
        let span = |part: &weir_money::revenue::Part<'_>| (part.from.max(from), part.to.min(now));
        for replay in replays {
            replay.parts.iter().for_each(|part| demand.add(&replay.tenant, span(part)));
        }
        let units = Units::read(&mut self.reader, &finances.plans.meters(), &demand)?;
        let mut all: HashMap<String, Pico> = HashMap::new();
        for replay in replays {
            for part in &replay.parts {
                let Some(credits) = &part.plan.credits else { continue };
                let burnt = burnt(credits, &units.of(&replay.tenant, span(part)));
                *all.entry(replay.tenant.clone()).or_default() += burnt;
            }
        }
        Ok(all)
    }
}
