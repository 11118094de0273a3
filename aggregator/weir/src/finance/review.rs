//! `weir review`.
mod used;

use std::collections::{BTreeMap, BTreeSet};

use weir_contract::Timestamp;
use weir_ledger::periods::Period;
use weir_money::amount::{Currency, Pico};
use weir_money::other::Purpose;
use weir_money::ratio::Percent;
use weir_money::review::{self, Input, Pair, PlannedRow, ReviewView, SUSTAINED_WEEKS, Side};
use weir_money::weeks::Week;

use super::query::ReviewQuery;
use super::revenue::Revenue;
use super::{Finance, FinanceError};
use crate::config::finances::Month;

impl Finance {
    /// The review of a week.
    pub fn review(&mut self, query: &ReviewQuery) -> Result<ReviewView, FinanceError> {
        let zone = query.timezone.as_deref().unwrap_or("UTC");
        let week = match &query.week {
            Some(week) => Week::parse(week, zone)?,
            None => Week::current(self.now, zone)?.earlier(1),
        };
        let (whole, before) = (week.period(), week.earlier(1).period());
        if whole.start >= self.now {
            let (first, last) = week.days();
            return Err(FinanceError::Conflict(format!(
                "the week from {first} to {last} has not begun: it is {}",
                self.now
            )));
        }
        // Fees of days to come would stand beside no cost.
        let until = (whole.end > self.now).then_some(self.now);
        let now = Period { end: until.unwrap_or(whole.end), ..whole };
        let currency = self.currency(query.currency.as_deref(), None, before.start, now.end)?;
        let used = self.used(currency, [before, now])?;
        let book = self.rate_book(&used.models(), &[(before.start, before.end), (now.start, now.end)])?;
        let mut input = Input {
            tenants: used.tenants(currency, &book),
            features: used.features(currency, &book),
            workflows: used.workflows(currency, &book),
            versions: used.versions(),
            weeks: self.weeks(&week, currency)?,
            planned: self.planned(currency, now.end)?,
            unpriced: self.unpriced_usage(None, now.start, now.end)?,
            other_currencies: self.other_currencies(currency, now)?,
            days: week.days(),
            until,
        };
        self.add_revenue(&mut input.tenants, currency, before, now)?;
        Ok(review::review(&input, currency, whole.start, whole.end))
    }

    /// Currencies beside the review's in which there was revenue or cost.
    fn other_currencies(&mut self, currency: Currency, now: Period) -> Result<Vec<Currency>, FinanceError> {
        let costs = self.reader.tenant_costs(None, now.start, now.end)?;
        let mut found: BTreeSet<Currency> = costs.iter().filter_map(|row| row.currency).collect();
        let revenue = self.revenue(None, now.start, now.end)?;
        let other = self.other(None, now.start, now.end, Purpose::Running)?;
        let there = revenue.into_iter().chain(other).filter(|(_, amount)| *amount != Pico::ZERO);
        found.extend(there.map(|((_, currency), _)| currency));
        found.remove(&currency);
        Ok(found.into_iter().collect())
    }

    /// Adds what tenants pay, and costs that no request causes.
    fn add_revenue(
        &mut self,
        tenants: &mut BTreeMap<String, Pair>,
        currency: Currency,
        before: Period,
        now: Period,
    ) -> Result<(), FinanceError> {
        for (later, span) in [(false, before), (true, now)] {
            let mut add = |tenant: String, revenue: Pico, other_cost: Pico| {
                let pair = tenants.entry(tenant).or_default();
                let side: &mut Side = if later { &mut pair.after } else { &mut pair.before };
                side.revenue += revenue;
                side.other_cost += other_cost;
            };
            for ((tenant, _), revenue) in of_currency(self.revenue(None, span.start, span.end)?, currency) {
                add(tenant, revenue, Pico::ZERO);
            }
            let other = self.other(None, span.start, span.end, Purpose::Running)?;
            for ((tenant, _), cost) in of_currency(other, currency) {
                add(tenant, Pico::ZERO, cost);
            }
        }
        Ok(())
    }

    /// Each tenant's margin in the last weeks, the oldest first.
    fn weeks(&mut self, last: &Week, currency: Currency) -> Result<BTreeMap<String, Vec<Pico>>, FinanceError> {
        let mut margins: BTreeMap<String, Vec<Pico>> = BTreeMap::new();
        for number in 0..SUSTAINED_WEEKS {
            let week = last.earlier(i64::try_from(SUSTAINED_WEEKS - 1 - number).unwrap_or(0)).period();
            let week = Period { end: week.end.min(self.now), ..week };
            let mut of_week: BTreeMap<String, Pico> = BTreeMap::new();
            for row in self
                .reader
                .tenant_costs(None, week.start, week.end)?
                .into_iter()
                .filter(|row| row.currency == Some(currency))
            {
                *of_week.entry(row.tenant).or_default() -= row.sums.cost;
            }
            for ((tenant, _), revenue) in of_currency(self.revenue(None, week.start, week.end)?, currency) {
                *of_week.entry(tenant).or_default() += revenue;
            }
            let other = self.other(None, week.start, week.end, Purpose::Running)?;
            for ((tenant, _), cost) in of_currency(other, currency) {
                *of_week.entry(tenant).or_default() -= cost;
            }
            for (tenant, margin) in of_week {
                margins.entry(tenant).or_default().push(margin);
            }
        }
        Ok(margins)
    }

    /// Planned numbers of the month in which the week ends, against the month so far.
    fn planned(&mut self, currency: Currency, until: Timestamp) -> Result<Vec<PlannedRow>, FinanceError> {
        let last = Timestamp::from_millis(until.as_millis().saturating_sub(1));
        let (month, finances) = (Month::of(last), std::sync::Arc::clone(&self.finances));
        let Period { start, end } = month.period();
        let elapsed =
            Percent::of(until.min(end).millis_since(start).into(), end.millis_since(start).into()).unwrap_or_default();
        let mut rows = Vec::new();
        for planned in finances.planned.iter().filter(|planned| planned.month == month && planned.currency == currency)
        {
            let tenant = planned.tenant.as_str();
            if let Some(cost) = planned.cost {
                let sums = self
                    .reader
                    .tenant_costs(Some(tenant), start, until)?
                    .into_iter()
                    .filter(|row| row.currency == Some(currency));
                let actual = sums.map(|row| row.sums.cost).sum();
                rows.push(PlannedRow::new(tenant.to_owned(), "cost", cost, actual, elapsed));
            }
            if let Some(revenue) = planned.revenue {
                let actual = self
                    .revenue(Some(tenant), start, until)?
                    .remove(&(tenant.to_owned(), currency))
                    .unwrap_or_default();
                rows.push(PlannedRow::new(tenant.to_owned(), "revenue", revenue, actual, elapsed));
            }
        }
        Ok(rows)
    }
}

/// Amounts in a currency that are not nothing.
fn of_currency(amounts: Revenue, currency: Currency) -> impl Iterator<Item = ((String, Currency), Pico)> {
    amounts.into_iter().filter(move |((_, of), amount)| *of == currency && *amount != Pico::ZERO)
}
