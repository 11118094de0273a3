//! Costs that no request causes: GPU hours, a vector database, storage, support, acquisition.
//!
//! They arrive as readings. A rule gives a reading its price, and says whose cost it is: the reading's own tenant's, or that
//! of all tenants, spread by what they caused. Shares are exact: together they are the whole, to the last trillionth.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::{TenantId, Timestamp};
use weir_ledger::amount::{Currency, Pico};
use weir_ledger::reading;
use weir_ledger::view::cost::{CostRow, ReadingSum};

use crate::prices::decimal::Decimal;

/// The most rules.
pub const RULES_MAX: usize = 64;
/// Millionths in one unit of a reading.
const MICRO: i128 = 1_000_000;

/// The price of one unit of a reading: six decimals of the reading and six of the price make an exact amount.
pub type ReadingPrice = Decimal<6>;

/// A cost that no request causes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherCost {
    /// The name of the readings, as `weir readings import` brings them; such readings need no meter.
    pub reading: String,
    /// The price of one unit. Absent: 1, for readings that are amounts of money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<ReadingPrice>,
    /// The currency. Absent: `USD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub currency: Option<Currency>,
    /// How the readings of one tenant, that stands for all, are spread. Absent: each is the cost of its own tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// What the cost is for. Absent: `running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
}

/// What an amount is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Serving tenants: it lowers their margin.
    #[default]
    Running,
    /// Winning the tenant: it is compared with the tenant's lifetime value, and lowers no margin.
    Acquisition,
    /// No cost: what the tenant is worth over its lifetime. It takes the place of the margin that was measured so far.
    LifetimeValue,
}

/// How a shared cost is spread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The tenant that the shared readings name; it need not be in the tenants file.
    pub from: TenantId,
    /// By what the tenants caused in the same step of time; in the whole span where no step is asked for.
    pub by: Basis,
}

/// What a shared cost is spread by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The cost of their requests, in the currency of the shared cost.
    Cost,
    /// Their tokens, input and output.
    Tokens,
    /// Their requests.
    Requests,
}

/// A cost of a tenant that no request causes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherCostRow {
    /// Where the step begins; absent over all time asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// The tenant.
    pub tenant: String,
    /// The name of the readings.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The currency.
    pub currency: Currency,
    /// The amount.
    pub amount: Pico,
    /// Whether it is a share of a cost of all.
    pub shared: bool,
}

/// Why rules cannot be used: the number of the rule, the field, the problem with its remedy.
pub type RuleError = (usize, &'static str, String);

/// Checks rules.
pub fn check(rules: &[OtherCost]) -> Result<(), RuleError> {
    if rules.len() > RULES_MAX {
        return Err((RULES_MAX, "reading", format!("more than {RULES_MAX} other costs")));
    }
    for (number, rule) in rules.iter().enumerate() {
        if !reading::is_name(&rule.reading) {
            return Err((number, "reading", format!("{:?} is not 1 to 64 of a-z 0-9 _", rule.reading)));
        }
        if rules.iter().take(number).any(|other| other.reading == rule.reading) {
            return Err((number, "reading", format!("{:?} is there twice; each reading has one price", rule.reading)));
        }
    }
    Ok(())
}

/// The costs of `readings` by `rules`. Shared ones are spread over the tenants of `costs`, which have the same steps; where
/// nobody caused anything, they stay with the tenant that stands for all.
pub fn attribute(rules: &[OtherCost], readings: &[ReadingSum], costs: &[CostRow]) -> Vec<OtherCostRow> {
    let mut rows = Vec::new();
    for sum in readings {
        let Some(rule) = rules.iter().find(|rule| rule.reading == sum.name) else { continue };
        let whole = row(rule, sum, sum.tenant.clone(), amount(rule, sum.micro), false);
        match &rule.spread {
            Some(spread) if spread.from.as_str() == sum.tenant => {
                rows.extend(spread_row(rule, spread, sum, whole, costs));
            }
            _ => rows.push(whole),
        }
    }
    rows
}

/// Millionths of units times the price of a unit: both have six decimals.
fn amount(rule: &OtherCost, micro: u128) -> Pico {
    let price = rule.price.map_or(weir_ledger::amount::PICO, |price| price.value().0);
    Pico(i128::try_from(micro).unwrap_or(i128::MAX).saturating_mul(price / MICRO))
}

fn row(rule: &OtherCost, sum: &ReadingSum, tenant: String, amount: Pico, shared: bool) -> OtherCostRow {
    OtherCostRow {
        start: sum.start,
        tenant,
        name: sum.name.clone(),
        purpose: rule.purpose.unwrap_or_default(),
        currency: rule.currency.unwrap_or(Currency::USD),
        amount,
        shared,
    }
}

fn spread_row(
    rule: &OtherCost,
    spread: &Spread,
    sum: &ReadingSum,
    whole: OtherCostRow,
    costs: &[CostRow],
) -> Vec<OtherCostRow> {
    let mut weights: BTreeMap<&str, u128> = BTreeMap::new();
    for cost in costs.iter().filter(|cost| cost.start == sum.start && cost.tenant != sum.tenant) {
        let weight = match spread.by {
            Basis::Cost if cost.currency == Some(whole.currency) => cost.sums.cost.0.unsigned_abs(),
            Basis::Cost => 0,
            Basis::Tokens => u128::from(cost.sums.input_tokens) + u128::from(cost.sums.output_tokens),
            Basis::Requests => u128::from(cost.sums.requests),
        };
        *weights.entry(&cost.tenant).or_default() += weight;
    }
    weights.retain(|_, weight| *weight > 0);
    if weights.is_empty() {
        return vec![whole];
    }
    let weights: Vec<(&str, u128)> = weights.into_iter().collect();
    let shares = shares(whole.amount, &weights.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
    weights.iter().zip(shares).map(|((tenant, _), share)| row(rule, sum, (*tenant).to_owned(), share, true)).collect()
}

/// Divides an amount in proportion to weights. The last share ends where the whole ends, so nothing is lost to rounding.
pub fn shares(amount: Pico, weights: &[u128]) -> Vec<Pico> {
    let (whole, total) = (amount.0.unsigned_abs(), weights.iter().sum::<u128>());
    // Very large numbers lose low bits of their weights, so that the product fits; no real amount comes near.
    let cut = 128_u32.saturating_sub(whole.leading_zeros() + total.leading_zeros());
    let (mut passed, mut given, mut shares) = (0_u128, 0_u128, Vec::with_capacity(weights.len()));
    for weight in weights {
        passed += weight;
        let end = if passed == total { whole } else { whole * (passed >> cut) / (total >> cut).max(1) };
        // Both stay below the amount itself.
        let share = i128::try_from(end.saturating_sub(given)).unwrap_or(i128::MAX);
        shares.push(Pico(if amount.0 < 0 { -share } else { share }));
        given = end;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_ledger::view::cost::CostSums;

    fn cost(tenant: &str, requests: u64, cost: i128) -> CostRow {
        let sums = CostSums { requests, cost: Pico(cost), ..CostSums::default() };
        CostRow { tenant: tenant.to_owned(), currency: Some(Currency::USD), sums, ..CostRow::default() }
    }

    fn reading(tenant: &str, name: &str, micro: u128) -> ReadingSum {
        ReadingSum { start: None, tenant: tenant.to_owned(), name: name.to_owned(), micro }
    }

    fn rule(spread: Option<Basis>) -> OtherCost {
        let from = TenantId::new("shared").expect("an id");
        OtherCost {
            reading: "gpu_hours".to_owned(),
            price: ReadingPrice::parse("2.5").ok(),
            currency: None,
            spread: spread.map(|by| Spread { from, by }),
            purpose: None,
        }
    }

    #[test]
    fn a_reading_is_the_cost_of_its_tenant() {
        let rows =
            attribute(&[rule(None)], &[reading("acme", "gpu_hours", 1_500_000), reading("acme", "other", 1)], &[]);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].tenant.as_str(), rows[0].amount.to_string(), rows[0].shared),
            ("acme", "3.75".to_owned(), false)
        );
    }

    #[test]
    fn a_shared_reading_is_spread_to_the_last_trillionth() {
        let costs = [cost("a", 1, 10), cost("b", 1, 20), cost("c", 1, 0)];
        let spread = |by| attribute(&[rule(Some(by))], &[reading("shared", "gpu_hours", 1_000_000)], &costs);
        let by_requests = spread(Basis::Requests);
        assert_eq!(by_requests.len(), 3);
        assert_eq!(by_requests.iter().map(|row| row.amount).sum::<Pico>().to_string(), "2.5");
        let by_cost: Vec<_> =
            spread(Basis::Cost).iter().map(|row| (row.tenant.clone(), row.amount.to_string())).collect();
        assert_eq!(
            by_cost,
            [("a".to_owned(), "0.833333333333".to_owned()), ("b".to_owned(), "1.666666666667".to_owned())]
        );
        assert_eq!(spread(Basis::Tokens)[0].tenant, "shared", "where nobody used anything, it stays");
    }

    #[test]
    fn shares_of_large_amounts_are_still_the_whole() {
        let amount = Pico(123_456_789_012_345 * weir_ledger::amount::PICO);
        let shares = shares(amount, &[u128::from(u64::MAX), 1, 7 << 80]);
        assert_eq!(shares.iter().copied().sum::<Pico>(), amount);
        assert!(shares.iter().all(|share| share.0 >= 0));
    }
}
