//! `weir margin`.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use weir_contract::{Timestamp, flags};
use weir_ledger::analysis::{DIMENSIONS, OTHER};
use weir_ledger::flags::FlagQuery;
use weir_ledger::values::{ValueCost, ValueQuery};
use weir_ledger::view::cost::{CostRow, CostSums};
use weir_money::amount::{Currency, Pico};
use weir_money::margin::{Amounts, MarginRow, MarginView, Measured, spread};
use weir_money::other::Purpose;

use super::query::MarginQuery;
use super::revenue::Revenue;
use super::{Finance, FinanceError};
use crate::money::{OtherQuery, other_costs};

/// Amounts by key and currency.
pub(super) type Keyed = BTreeMap<(String, Currency), Amounts>;
/// Counts by model.
type ByModel = BTreeMap<String, u64>;
/// Tenants that a note names.
const TENANTS_NAMED: usize = 5;
/// The word for feature flags in `by`.
const FLAG: &str = "flag";
/// The key of tenants without a plan.
const NO_PLAN: &str = "(no plan)";
/// The key of costs that no request causes: they belong to no value of a dimension.
const NO_REQUEST: &str = "(no request)";
/// What follows a value in the key of usage of tenants that have usage with other values, too.
const OF_SEVERAL: &str = "(tenants with several values)";
/// The key of revenue that belongs to several values.
const NOT_ATTRIBUTABLE: &str = "(not attributable)";
/// The key of requests without a value of the dimension.
const NO_VALUE: &str = "(none)";

impl Finance {
    /// Revenue, cost and margin over a span.
    pub fn margin(&mut self, query: &MarginQuery) -> Result<MarginView, FinanceError> {
        let (mut from, to) = self.span(query.from, query.to)?;
        let tenant = query.tenant.as_deref();
        if let Some(tenant) = tenant {
            self.check_tenant(tenant)?;
        }
        let by = query.by.as_deref().unwrap_or("tenant");
        let flag = flag(by, query.flag.as_deref())?;
        let mut notes: Vec<String> = self.note_future(query.to).into_iter().collect();
        let since = if matches!(by, "tenant" | "plan") { None } else { Some(self.kept_since(by, to)?) };
        if let Some(since) = since.filter(|since| from < *since) {
            from = since;
            notes.push(format!("sums by {by} are kept since {since}: the span begins there"));
        }
        let amounts = match flag {
            Some(flag) => self.by_flag(flag, tenant, (from, to), &mut notes)?,
            None => self.amounts(by, tenant, from, to)?,
        };
        let mut view = MarginView { since, ..MarginView::new(by, from, to, amounts) };
        if view.totals.iter().any(|row| !row.unpriced().is_none()) {
            (view.unpriced, view.unpriced_requests) = self.unpriced(tenant, from, to)?;
        }
        if self.finances.plans.is_empty() {
            view.notes.push("there are no `price_plans` in the configuration, so there is no revenue".to_owned());
        } else if by == "tenant" {
            notes.extend(self.note_without_plan(&view.rows));
        }
        view.notes.append(&mut notes);
        Ok(view)
    }

    /// Names tenants that no price plan applies to: their revenue is none, whatever they use.
    fn note_without_plan(&self, rows: &[MarginRow]) -> Option<String> {
        let has_none = |row: &&MarginRow| row.revenue == Pico::ZERO && self.price_plan(&row.key).is_none();
        let tenants: BTreeSet<&str> = rows.iter().filter(has_none).map(|row| row.key.as_str()).collect();
        let named: Vec<&str> = tenants.iter().copied().take(TENANTS_NAMED).collect();
        let others = match tenants.len().saturating_sub(TENANTS_NAMED) {
            0 => String::new(),
            others => format!(" and {others} others"),
        };
        (!named.is_empty())
            .then(|| format!("no price plan applies to {}{others}: they bring no revenue", named.join(", ")))
    }

    /// Revenue and costs by tenant, plan or another dimension.
    pub(super) fn amounts(
        &mut self,
        by: &str,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Keyed, FinanceError> {
        match by {
            "tenant" => self.by_tenant(tenant, from, to),
            "plan" => {
                let tenants = self.by_tenant(tenant, from, to)?;
                Ok(self.by_plan(tenants))
            }
            _ => self.by_value(by, tenant, (from, to)),
        }
    }

    /// The moment from which sums by a dimension are kept. Refuses a dimension that does not exist, and a span before that moment.
    pub(super) fn kept_since(&self, by: &str, to: Timestamp) -> Result<Timestamp, FinanceError> {
        if by != FLAG && !dimensions(by).iter().all(|dimension| DIMENSIONS.contains(dimension)) {
            let known = DIMENSIONS.join(", ");
            return Err(FinanceError::Question(format!("`by` is tenant, plan, {FLAG}, or some of {known}")));
        }
        let mut since = self.reader.values_since()?;
        if by == FLAG {
            since = since.max(self.reader.flags_since()?);
        }
        if since < to {
            return Ok(since);
        }
        Err(FinanceError::Conflict(format!("sums by {by} are kept since {since}, and the span ends before")))
    }

    /// Costs by value, among which each tenant's revenue is spread.
    fn by_value(
        &mut self,
        by: &str,
        tenant: Option<&str>,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Keyed, FinanceError> {
        let revenue = self.revenue(tenant, from, to)?;
        let other = self.other(tenant, from, to, Purpose::Running)?;
        let mut values = ByValue::new(revenue, Share::ByCost);
        let query = ValueQuery { tenant, by: &dimensions(by), from, to, by_tenant: true };
        self.reader.value_costs(&query, &mut |tenant, costs| values.add(tenant, &costs))?;
        Ok(values.finish(&other))
    }

    /// Costs by value of a feature flag. The revenue of a tenant that saw one value only is that value's; spread by cost it would give both
    /// sides the same margin.
    fn by_flag(
        &mut self,
        flag: &str,
        tenant: Option<&str>,
        (from, to): (Timestamp, Timestamp),
        notes: &mut Vec<String>,
    ) -> Result<Keyed, FinanceError> {
        let revenue = self.revenue(tenant, from, to)?;
        let other = self.other(tenant, from, to, Purpose::Running)?;
        let mut values = ByValue::new(revenue, Share::WholeOnly);
        let query = FlagQuery { flag, tenant, from, to };
        let found = self.reader.flag_costs(&query, &mut |tenant, costs| values.add(tenant, &costs))?;
        if !found.seen {
            notes.push(format!("no request of the span saw the flag {flag}"));
        }
        if found.folded {
            notes.push(format!(
                "some tenants saw more flags and values in an hour than are kept apart: what exceeds them is under {NO_VALUE}"
            ));
        }
        Ok(values.finish(&other))
    }

    /// Revenue and costs of each tenant.
    pub(super) fn by_tenant(
        &mut self,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Keyed, FinanceError> {
        let revenue = self.revenue(tenant, from, to)?;
        let other = self.other(tenant, from, to, Purpose::Running)?;
        Ok(by_tenant(&self.reader.tenant_costs(tenant, from, to)?, &revenue, &other))
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
        for row in other_costs(&mut self.reader, &self.other_costs, &query)?? {
            if row.purpose == purpose {
                *costs.entry((row.tenant, row.currency)).or_default() += row.amount;
            }
        }
        Ok(costs)
    }

    /// Tokens without a price, and requests that used something without one, by model.
    fn unpriced(
        &mut self,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<(ByModel, ByModel), FinanceError> {
        let (mut tokens, mut requests) = (ByModel::new(), ByModel::new());
        let query = ValueQuery { tenant, by: &["model"], from, to, by_tenant: true };
        self.reader.value_costs(&query, &mut |_, costs| {
            for cost in costs.into_iter().filter(|cost| cost.sums.unpriced_requests > 0) {
                *tokens.entry(cost.value.clone()).or_default() += cost.sums.unpriced_tokens;
                *requests.entry(cost.value).or_default() += cost.sums.unpriced_requests;
            }
        })?;
        Ok((tokens, requests))
    }
}

/// The view's sums of the ledger's.
pub(super) fn measured(sums: &CostSums) -> Measured {
    Measured {
        requests: sums.requests,
        failed_requests: sums.failed_requests,
        retried_requests: sums.retried_requests,
        unpriced_requests: sums.unpriced_requests,
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
fn currency_of(known: Option<Currency>, tenant: &str, revenue: &Revenue) -> Currency {
    let of_revenue = || {
        let first = (tenant.to_owned(), Currency::parse("AAA")?);
        revenue.range(first..).next().filter(|((of, _), _)| of == tenant).map(|((_, currency), _)| *currency)
    };
    known.or_else(of_revenue).unwrap_or(Currency::USD)
}

fn by_tenant(rows: &[CostRow], revenue: &Revenue, other: &Revenue) -> Keyed {
    let mut keyed = Keyed::new();
    for row in rows {
        let amounts = Amounts { measured: measured(&row.sums), ..Amounts::default() };
        *keyed.entry((row.tenant.clone(), currency_of(row.currency, &row.tenant, revenue))).or_default() += amounts;
    }
    for (key, amount) in revenue.iter().filter(|(_, amount)| **amount != Pico::ZERO) {
        *keyed.entry(key.clone()).or_default() += Amounts { revenue: *amount, ..Amounts::default() };
    }
    for (key, amount) in other {
        *keyed.entry(key.clone()).or_default() += Amounts { other_cost: *amount, ..Amounts::default() };
    }
    keyed
}

/// The flag whose values are asked for, if `by` asks for one.
fn flag<'q>(by: &str, flag: Option<&'q str>) -> Result<Option<&'q str>, FinanceError> {
    match (by, flag) {
        (FLAG, Some(flag)) if flags::is_name(flag) => Ok(Some(flag)),
        (FLAG, Some(flag)) => Err(FinanceError::Question(format!("{flag:?} is no name of a flag"))),
        (FLAG, None) => Err(FinanceError::Conflict("`flag` names the feature flag to compare by".to_owned())),
        (_, Some(_)) => Err(FinanceError::Conflict(format!("`flag` goes with `by` = {FLAG}"))),
        (_, None) => Ok(None),
    }
}

/// The dimensions that `by` names.
fn dimensions(by: &str) -> Vec<&str> {
    by.split(',').map(str::trim).collect()
}

/// The most values of one answer, over all tenants; further ones are summed under [`OTHER`].
const VALUES_MAX: usize = 200_000;

/// What becomes of a tenant's revenue among its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// It is spread in proportion to their cost.
    ByCost,
    /// It belongs to the value of a tenant that has only one, and else to none.
    WholeOnly,
}

/// Sums by value over all tenants, with their revenue.
struct ByValue {
    share: Share,
    /// The revenue of tenants that are still to come.
    revenue: Revenue,
    keyed: BTreeMap<Currency, BTreeMap<String, Amounts>>,
    /// Keys in all currencies.
    keys: usize,
}

impl ByValue {
    fn new(revenue: Revenue, share: Share) -> Self {
        ByValue { share, revenue, keyed: BTreeMap::new(), keys: 0 }
    }

    fn add(&mut self, tenant: &str, costs: &[ValueCost]) {
        let mut keys: Vec<Cow<'_, str>> = costs.iter().map(key).collect();
        let used = keys.iter().zip(costs).filter(|(_, cost)| cost.sums.requests > 0).map(|(key, _)| key);
        let used: BTreeSet<String> = used.map(ToString::to_string).collect();
        let unattributed = self.share == Share::WholeOnly && used.len() > 1 && self.pays(tenant);
        if unattributed {
            keys.iter_mut().for_each(|key| *key = format!("{key} {OF_SEVERAL}").into());
        }
        for (key, cost) in keys.iter().zip(costs) {
            let amounts = Amounts { measured: measured(&cost.sums), unattributed, ..Amounts::default() };
            self.put(key, currency_of(cost.currency, tenant, &self.revenue), amounts);
        }
        for (currency, amount) in self.take_revenue(tenant) {
            if self.share == Share::WholeOnly {
                let key = if unattributed { NOT_ATTRIBUTABLE } else { used.first().map_or(NO_VALUE, String::as_str) };
                self.put(key, currency, Amounts { revenue: amount, unattributed, ..Amounts::default() });
                continue;
            }
            let parts = spread(amount, &weights(costs, currency));
            let left = amount - parts.iter().copied().sum();
            for (key, part) in keys.iter().zip(parts) {
                self.put(key, currency, Amounts { revenue: part, spread: true, ..Amounts::default() });
            }
            if left != Pico::ZERO {
                self.put(NO_VALUE, currency, Amounts { revenue: left, ..Amounts::default() });
            }
        }
    }

    /// The revenue of a tenant that is still to come.
    fn of_tenant(&self, tenant: &str) -> impl Iterator<Item = (Currency, Pico)> {
        let first = Currency::parse("AAA").map(|first| (tenant.to_owned(), first));
        let from = first.into_iter().flat_map(|first| self.revenue.range(first..));
        from.take_while(move |((of, _), _)| of == tenant).map(|((_, currency), amount)| (*currency, *amount))
    }

    /// Whether a tenant that is still to come brings revenue.
    fn pays(&self, tenant: &str) -> bool {
        self.of_tenant(tenant).any(|(_, amount)| amount != Pico::ZERO)
    }

    fn take_revenue(&mut self, tenant: &str) -> Vec<(Currency, Pico)> {
        let taken: Vec<(Currency, Pico)> = self.of_tenant(tenant).collect();
        for (currency, _) in &taken {
            self.revenue.remove(&(tenant.to_owned(), *currency));
        }
        taken.into_iter().filter(|(_, amount)| *amount != Pico::ZERO).collect()
    }

    fn put(&mut self, key: &str, currency: Currency, amounts: Amounts) {
        let of_currency = self.keyed.entry(currency).or_default();
        // Most keys are there already, and need no new text.
        if let Some(known) = of_currency.get_mut(key) {
            *known += amounts;
        } else if self.keys < VALUES_MAX {
            of_currency.insert(key.to_owned(), amounts);
            self.keys += 1;
        } else {
            *of_currency.entry(OTHER.to_owned()).or_default() += amounts;
        }
    }

    /// Adds the revenue of tenants without requests, and costs that no request causes: they belong to no value.
    fn finish(mut self, other: &Revenue) -> Keyed {
        for ((_, currency), amount) in std::mem::take(&mut self.revenue) {
            if amount != Pico::ZERO {
                self.put(NO_VALUE, currency, Amounts { revenue: amount, ..Amounts::default() });
            }
        }
        for ((_, currency), amount) in other {
            self.put(NO_REQUEST, *currency, Amounts { other_cost: *amount, ..Amounts::default() });
        }
        let with = |(currency, keys): (Currency, BTreeMap<String, Amounts>)| {
            keys.into_iter().map(move |(key, amounts)| ((key, currency), amounts))
        };
        self.keyed.into_iter().flat_map(with).collect()
    }
}

/// The values of a row as its key.
fn key(cost: &ValueCost) -> Cow<'_, str> {
    let mut named = cost.values().map(|value| if value.is_empty() { NO_VALUE } else { value });
    match (named.next(), named.next()) {
        (Some(only), None) => only.into(),
        _ => cost
            .values()
            .map(|value| if value.is_empty() { NO_VALUE } else { value })
            .collect::<Vec<_>>()
            .join(", ")
            .into(),
    }
}

/// Cost in the currency of the revenue; tokens where no request has a cost in it.
fn weights(costs: &[ValueCost], currency: Currency) -> Vec<u128> {
    let cost = |cost: &ValueCost| if cost.currency == Some(currency) { cost.sums.cost.0.unsigned_abs() } else { 0 };
    let in_currency: Vec<u128> = costs.iter().map(cost).collect();
    if in_currency.iter().any(|cost| *cost > 0) {
        return in_currency;
    }
    costs.iter().map(|cost| u128::from(cost.sums.input_tokens) + u128::from(cost.sums.output_tokens)).collect()
}
