//! Sums that the rules of alerts compare, and likely reasons of what they found.
use std::collections::BTreeMap;

use weir_contract::stage::Scope;
use weir_contract::{Timestamp, glob};
use weir_ledger::values::{ValueCost, ValueQuery};
use weir_money::amount::{Currency, PICO, Pico};
use weir_money::drivers::decompose;
use weir_money::ratio::Percent;
use weir_steer::alert::evaluate::{Span, Sums};
use weir_steer::budget::Budget;
use weir_steer::file::Measure;

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
        let amounts = self.amounts(by, tenant, from, to)?;
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

    /// Who and what has used most of a budget in a span: the tenants that share it, features and prompt versions, in its unit and of the
    /// requests that it covers; None if nothing is known of that. `names_tenants`: whether the tenants are named.
    pub(crate) fn used_most(
        &mut self,
        budget: &Budget,
        tenants: &[&str],
        (from, to): (Timestamp, Timestamp),
        names_tenants: bool,
    ) -> Result<Option<String>, FinanceError> {
        // Sums by end user are not kept.
        let Some(scope) = scope_dimension(&budget.scope).filter(|_| !budget.per_user) else { return Ok(None) };
        let mut parts = Vec::new();
        for by in ["feature", "prompt_version"].into_iter().filter(|by| Some(*by) != scope) {
            let dimensions: Vec<&str> = std::iter::once(by).chain(scope).collect();
            let (mut used, mut by_tenant) = (BTreeMap::<String, Pico>::new(), BTreeMap::<String, Pico>::new());
            for tenant in tenants {
                let query = ValueQuery { tenant: Some(*tenant), by: &dimensions, from, to, by_tenant: true };
                self.reader.value_costs(&query, &mut |tenant, rows| {
                    for row in rows.iter().filter(|row| scope.is_none() || is_covered(&budget.scope, row)) {
                        let amount = measured(budget, row);
                        let value = row.values().next().unwrap_or_default();
                        let value = if value.is_empty() {
                            format!("without a {}", by.replace('_', " "))
                        } else {
                            value.to_owned()
                        };
                        *used.entry(value).or_default() += amount;
                        *by_tenant.entry(tenant.to_owned()).or_default() += amount;
                    }
                })?;
            }
            if names_tenants && parts.is_empty() && !by_tenant.is_empty() {
                parts.push(format!("tenant {}", named(by_tenant)));
            }
            // That everything lacks a name says nothing.
            if used.iter().any(|(name, amount)| *amount > Pico::ZERO && !name.starts_with("without a ")) {
                parts.push(format!("{} {}", by.replace('_', " "), named(used)));
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

/// The dimension by which a scope chooses requests, None of all of them; no answer for what no sums are kept by.
fn scope_dimension(scope: &Scope) -> Option<Option<&'static str>> {
    match scope {
        Scope::Tenant => Some(None),
        Scope::Feature(_) => Some(Some("feature")),
        Scope::Route(_) => Some(Some("route")),
        Scope::Class(_) => Some(Some("class")),
        Scope::Model(_) => Some(Some("model")),
        Scope::Key(_) | Scope::Keys(_) => Some(Some("credential")),
        Scope::User(_) => None,
    }
}

/// Whether a scope covers a row, whose last value is that of the scope's dimension.
fn is_covered(scope: &Scope, row: &ValueCost) -> bool {
    let value = row.values().last().unwrap_or_default();
    match scope {
        Scope::Tenant => true,
        Scope::Feature(one) | Scope::Route(one) | Scope::Key(one) => **one == *value,
        Scope::Class(class) => class.as_str() == value,
        Scope::Model(model) => glob::matches(model, value),
        Scope::Keys(keys) => keys.iter().any(|key| **key == *value),
        Scope::User(_) => false,
    }
}

/// What a budget counts of a row; of what tenants pay, which follows from no single request, its cost.
fn measured(budget: &Budget, row: &ValueCost) -> Pico {
    let sums = &row.sums;
    let whole = |count: u64| Pico(i128::from(count) * PICO);
    match budget.of {
        Measure::Cost | Measure::Revenue if row.currency == Some(budget.currency) => sums.cost,
        Measure::Cost | Measure::Revenue => Pico::ZERO,
        Measure::Tokens | Measure::Credits => whole(sums.input_tokens) + whole(sums.output_tokens),
        Measure::InputTokens => whole(sums.input_tokens),
        Measure::OutputTokens => whole(sums.output_tokens),
        Measure::Requests => whole(sums.requests),
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
