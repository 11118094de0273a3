//! Sums that the rules of alerts compare, and likely reasons of what they found.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_ledger::values::ValueQuery;
use weir_money::amount::{Currency, Pico};
use weir_money::drivers::decompose;
use weir_money::ratio::Percent;
use weir_steer::alert::evaluate::{Span, Sums};

use super::{Finance, FinanceError};

/// Values that a reason names.
const NAMED: usize = 3;

impl Finance {
    /// Sums over a span by tenant, plan or another dimension; without `by`, by tenant. Refuses a dimension whose sums are not kept for all
    /// of the span.
    pub(crate) fn sums_of_span(
        &mut self,
        by: Option<&str>,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Span, FinanceError> {
        let by = by.unwrap_or("tenant");
        if !matches!(by, "tenant" | "plan") && from < self.kept_since(by, to)? {
            return Err(FinanceError::Conflict(format!("sums by {by} are not kept since {from}")));
        }
        let amounts = match by {
            "tenant" => self.by_tenant(tenant, from, to)?,
            "plan" => {
                let tenants = self.by_tenant(tenant, from, to)?;
                self.by_plan(tenants)
            }
            _ => self.by_value(by, tenant, (from, to))?,
        };
        let sums = amounts.into_iter().map(|(key, amounts)| {
            let measured = amounts.measured;
            let sums = Sums {
                revenue: Some(amounts.revenue).filter(|revenue| *revenue != Pico::ZERO),
                cost: measured.cost,
                other_cost: amounts.other_cost,
                requests: measured.requests,
                failed_requests: measured.failed_requests,
                retried_requests: measured.retried_requests,
                // Without a price book nothing has a price, and nobody expects one.
                unpriced_tokens: if self.prices.is_some() { measured.unpriced_tokens } else { 0 },
            };
            (key, sums)
        });
        Ok(sums.collect())
    }

    /// What a tenant spends most on, by feature and prompt version; None if nothing has a cost.
    pub(crate) fn spends_on(
        &mut self,
        tenant: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Option<String>, FinanceError> {
        let mut parts = Vec::new();
        for by in ["feature", "prompt_version"] {
            let mut costs: BTreeMap<String, Pico> = BTreeMap::new();
            let query = ValueQuery { tenant: Some(tenant), by: &[by], from, to, by_tenant: true };
            self.reader.value_costs(&query, &mut |_, rows| {
                for row in rows {
                    *costs.entry(row.value).or_default() += row.sums.cost;
                }
            })?;
            let named = named(costs);
            if !named.is_empty() {
                parts.push(format!("{} {named}", by.replace('_', " ")));
            }
        }
        Ok((!parts.is_empty()).then(|| parts.join("; ")))
    }

    /// The tenants that have the greatest part in a value's cost; None if nothing has a cost.
    pub(crate) fn spenders(
        &mut self,
        by: &str,
        value: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Option<String>, FinanceError> {
        let mut costs: BTreeMap<String, Pico> = BTreeMap::new();
        let query = ValueQuery { tenant: None, by: &[by], from, to, by_tenant: true };
        self.reader.value_costs(&query, &mut |tenant, rows| {
            for row in rows.into_iter().filter(|row| row.value == value) {
                *costs.entry(tenant.to_owned()).or_default() += row.sums.cost;
            }
        })?;
        let named = named(costs);
        Ok((!named.is_empty()).then(|| format!("tenant {named}")))
    }

    /// Why a tenant's cost differs between a span and the one of the same length before it.
    pub(crate) fn moved_by(
        &mut self,
        tenant: &str,
        currency: Currency,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Option<String>, FinanceError> {
        let earlier = Timestamp::from_millis(from.as_millis().saturating_sub(to.millis_since(from)));
        let before = self.models(Some(tenant), currency, (earlier, from), |_| true)?;
        let after = self.models(Some(tenant), currency, (from, to), |_| true)?;
        let words = decompose(&before, &after).words(&before, &after);
        Ok((!words.is_empty()).then_some(words))
    }
}

/// The values with the greatest costs, and their shares of all.
fn named(costs: BTreeMap<String, Pico>) -> String {
    let whole: Pico = costs.values().copied().sum();
    let mut costs: Vec<(String, Pico)> =
        costs.into_iter().filter(|(name, cost)| !name.is_empty() && *cost > Pico::ZERO).collect();
    costs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let share = |(name, cost): &(String, Pico)| {
        let share = Percent::of(cost.0, whole.0).map(|share| format!(" {share} %")).unwrap_or_default();
        format!("{name}{share}")
    };
    costs.iter().take(NAMED).map(share).collect::<Vec<_>>().join(", ")
}
