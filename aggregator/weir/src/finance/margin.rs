//! `weir margin`.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_ledger::view::cost::{CostRow, CostSums};
use weir_money::amount::{Currency, Pico};
use weir_money::margin::{Amounts, MarginView, Measured, spread};
use weir_money::other::Purpose;

use super::query::MarginQuery;
use super::revenue::Revenue;
use super::{Finance, FinanceError};
use crate::money::{OtherQuery, other_costs};

/// Amounts by key and currency.
type Keyed = BTreeMap<(String, Currency), Amounts>;
/// The key of tenants without a plan.
const NO_PLAN: &str = "(no plan)";
/// The key of requests without a value of the dimension.
const NO_VALUE: &str = "(none)";

impl Finance {
    /// Revenue, cost and margin over a span.
    pub fn margin(&mut self, query: &MarginQuery) -> Result<MarginView, FinanceError> {
        let (from, to) = self.span(query.from, query.to)?;
        let tenant = query.tenant.as_deref();
        if let Some(tenant) = tenant {
            self.check_tenant(tenant)?;
        }
        let by = query.by.as_deref().unwrap_or("tenant");
        let revenue = self.revenue(tenant, from, to)?;
        let by_dimension = !matches!(by, "tenant" | "plan");
        let rows = self.costs(tenant, if by_dimension { by } else { "" }, from, to)?;
        let other = self.other(tenant, from, to, Purpose::Running)?;
        let amounts = match by {
            "tenant" => by_tenant(&rows, &revenue, &other),
            "plan" => self.by_plan(by_tenant(&rows, &revenue, &other)),
            _ => by_value(&rows, &revenue, &other),
        };
        let mut view = MarginView::new(by, from, to, amounts);
        if view.totals.iter().any(|row| row.unpriced_tokens > 0) {
            view.unpriced = self.unpriced(tenant, from, to)?;
        }
        if self.finances.plans.is_empty() {
            view.notes.push("there are no `price_plans` in the configuration, so there is no revenue".to_owned());
        }
        Ok(view)
    }

    fn by_plan(&self, tenants: Keyed) -> Keyed {
        let mut plans = Keyed::new();
        for ((tenant, currency), amounts) in tenants {
            let plan = self.plan_of(&tenant).unwrap_or(NO_PLAN).to_owned();
            *plans.entry((plan, currency)).or_default() += amounts;
        }
        plans
    }

    /// Costs that no request causes, by tenant and currency.
    pub(super) fn other(
        &mut self,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
        purpose: Purpose,
    ) -> Result<Revenue, FinanceError> {
        let query =
            OtherQuery { tenant: tenant.map(str::to_owned), from: Some(from), to: Some(to), ..OtherQuery::default() };
        let mut costs = Revenue::new();
        if self.other_costs.is_empty() {
            return Ok(costs);
        }
        for row in other_costs(&mut self.reader, &self.other_costs, &query)? {
            if row.purpose == purpose {
                *costs.entry((row.tenant, row.currency)).or_default() += row.amount;
            }
        }
        Ok(costs)
    }

    /// Tokens without a price, by model.
    fn unpriced(
        &mut self,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<BTreeMap<String, u64>, FinanceError> {
        let mut models = BTreeMap::new();
        for row in self.costs(tenant, "model", from, to)? {
            if row.sums.unpriced_tokens > 0 {
                *models.entry(row.values.concat()).or_default() += row.sums.unpriced_tokens;
            }
        }
        Ok(models)
    }
}

/// The view's sums of the ledger's.
pub(super) fn measured(sums: &CostSums) -> Measured {
    Measured {
        requests: sums.requests,
        failed_requests: sums.failed_requests,
        retried_requests: sums.retried_requests,
        input_tokens: sums.input_tokens,
        cache_read_tokens: sums.cache_read_tokens,
        output_tokens: sums.output_tokens,
        unpriced_tokens: sums.unpriced_tokens,
        cost: sums.cost,
        wasted_cost: sums.failed_cost + sums.retried_cost,
        estimated_cost: sums.estimated_cost,
    }
}

/// The currency under which requests without any price are listed: that of the tenant's revenue.
fn currency_of(row: &CostRow, revenue: &Revenue) -> Currency {
    let of_revenue = || {
        let first = (row.tenant.clone(), Currency::parse("AAA")?);
        revenue
            .range(first..)
            .next()
            .filter(|((tenant, _), _)| *tenant == row.tenant)
            .map(|((_, currency), _)| *currency)
    };
    row.currency.or_else(of_revenue).unwrap_or(Currency::USD)
}

fn by_tenant(rows: &[CostRow], revenue: &Revenue, other: &Revenue) -> Keyed {
    let mut keyed = Keyed::new();
    for row in rows {
        let amounts = Amounts { measured: measured(&row.sums), ..Amounts::default() };
        *keyed.entry((row.tenant.clone(), currency_of(row, revenue))).or_default() += amounts;
    }
    for (key, amount) in revenue.iter().filter(|(_, amount)| **amount != Pico::ZERO) {
        *keyed.entry(key.clone()).or_default() += Amounts { revenue: *amount, ..Amounts::default() };
    }
    for (key, amount) in other {
        *keyed.entry(key.clone()).or_default() += Amounts { other_cost: *amount, ..Amounts::default() };
    }
    keyed
}

/// Spreads each tenant's revenue over its values. Costs that no request causes belong to none of them.
fn by_value(rows: &[CostRow], revenue: &Revenue, other: &Revenue) -> Keyed {
    let key = |row: &CostRow| {
        let named = row.values.iter().map(|value| if value.is_empty() { NO_VALUE } else { value.as_str() });
        named.collect::<Vec<_>>().join(", ")
    };
    let mut keyed = Keyed::new();
    let mut tenants: BTreeMap<&str, Vec<&CostRow>> = BTreeMap::new();
    for ((_, currency), amount) in other {
        *keyed.entry((NO_VALUE.to_owned(), *currency)).or_default() +=
            Amounts { other_cost: *amount, ..Amounts::default() };
    }
    for row in rows {
        let amounts = Amounts { measured: measured(&row.sums), ..Amounts::default() };
        *keyed.entry((key(row), currency_of(row, revenue))).or_default() += amounts;
        tenants.entry(&row.tenant).or_default().push(row);
    }
    for ((tenant, currency), amount) in revenue.iter().filter(|(_, amount)| **amount != Pico::ZERO) {
        let rows = tenants.get(tenant.as_str()).map_or(&[][..], Vec::as_slice);
        let parts = spread(*amount, &weights(rows, *currency));
        let left = *amount - parts.iter().copied().sum();
        for (row, part) in rows.iter().zip(parts) {
            *keyed.entry((key(row), *currency)).or_default() +=
                Amounts { revenue: part, spread: true, ..Amounts::default() };
        }
        if left != Pico::ZERO {
            *keyed.entry((NO_VALUE.to_owned(), *currency)).or_default() +=
                Amounts { revenue: left, ..Amounts::default() };
        }
    }
    keyed
}

/// Cost in the currency of the revenue; tokens where no request has a cost in it.
fn weights(rows: &[&CostRow], currency: Currency) -> Vec<u128> {
    let cost = |row: &&CostRow| if row.currency == Some(currency) { row.sums.cost.0.unsigned_abs() } else { 0 };
    let costs: Vec<u128> = rows.iter().map(cost).collect();
    if costs.iter().any(|cost| *cost > 0) {
        return costs;
    }
    rows.iter().map(|row| u128::from(row.sums.input_tokens) + u128::from(row.sums.output_tokens)).collect()
}
