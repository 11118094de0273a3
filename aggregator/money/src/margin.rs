//! Margin: revenue less cost, by tenant, plan, model or another dimension.
//!
//! Revenue belongs to a tenant. Under another dimension, such as the model, it is spread over the tenant's values in proportion to
//! their cost, or to their tokens where nothing has a cost ([`spread`]); the row says so. Currencies are never added up: each has
//! rows of its own.
mod measured;

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

pub use measured::{Measured, Unpriced};

use crate::amount::{Currency, Pico};
use crate::exact::{Exact, divide};
use crate::ratio::Percent;

/// A margin below this share of revenue is marked.
pub(crate) const THIN: Percent = Percent::whole(65);
/// A margin below this share of revenue is marked more strongly.
pub(crate) const LOW: Percent = Percent::whole(50);
/// From this share of tokens without a price on, no margin is called good: most of its cost may be missing.
pub(crate) const UNPRICED: Percent = Percent::whole(50);

/// The amounts of one key in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// What the tenant pays.
    pub revenue: Pico,
    /// True if the revenue was spread over the values of a dimension.
    pub spread: bool,
    /// True if it is some usage of tenants whose revenue belongs to several rows, or their revenue: no row has both.
    pub unattributed: bool,
    /// What the ledger measured.
    pub measured: Measured,
    /// Costs that no request causes.
    pub other_cost: Pico,
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Amounts) {
        self.revenue += other.revenue;
        self.spread |= other.spread;
        self.unattributed |= other.unattributed;
        self.measured += other.measured;
        self.other_cost += other.other_cost;
    }
}

/// How good a margin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Cost exceeds revenue.
    Negative,
    /// Nobody knows: revenue of the same usage is in another row.
    Unattributed,
    /// Most of the cost is missing, as it has no price: the margin is no better than it looks, and may be far worse.
    Unpriced,
    /// Below 50 % of revenue.
    Low,
    /// Below 65 % of revenue.
    Thin,
    /// At least 65 %, or neither revenue nor cost.
    Good,
}

impl Level {
    /// The level of a margin.
    pub fn of(revenue: Pico, margin: Pico) -> Self {
        match revenue > Pico::ZERO {
            _ if margin.is_negative() => Level::Negative,
            true if LOW.is_above(margin.0, revenue.0) => Level::Low,
            true if THIN.is_above(margin.0, revenue.0) => Level::Thin,
            _ => Level::Good,
        }
    }

    /// The place of its rows: losses first, then those of which nobody knows whether they are.
    fn place(self) -> u8 {
        match self {
            Level::Negative => 0,
            Level::Unattributed | Level::Unpriced => 1,
            Level::Low | Level::Thin | Level::Good => 2,
        }
    }

    /// The level of a margin over measured usage: a good one is not called good where most of the cost is missing.
    fn of_measured(revenue: Pico, margin: Pico, measured: &Measured) -> Self {
        match Level::of(revenue, margin) {
            Level::Good if measured.is_unpriced() => Level::Unpriced,
            level => level,
        }
    }

    /// The level as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Negative => "negative",
            Level::Unattributed => "revenue not attributable",
            Level::Unpriced => "unpriced",
            Level::Low => "below 50 %",
            Level::Thin => "below 65 %",
            Level::Good => "good",
        }
    }
}

/// A row of `weir margin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarginRow {
    /// The tenant, plan or value.
    pub key: String,
    /// The currency of every amount of the row.
    pub currency: Currency,
    /// What tenants pay.
    pub revenue: Pico,
    /// True if revenue was spread over the values of a dimension, in proportion to cost.
    pub revenue_spread: bool,
    /// True if revenue and usage of the same tenants stand in different rows: then `margin` is a difference without a meaning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revenue_unattributed: bool,
    /// What providers charge.
    pub llm_cost: Pico,
    /// Costs that no request causes.
    pub other_cost: Pico,
    /// Revenue less both costs.
    pub margin: Pico,
    /// The margin as a share of revenue; absent without revenue, and where it is not attributable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin_percent: Option<Percent>,
    /// Provider cost as a share of revenue: what one unit of revenue costs in inference; absent without revenue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_cost_percent: Option<Percent>,
    /// Cost of failed and repeated requests; part of `llm_cost`.
    pub wasted_cost: Pico,
    /// Requests of any outcome.
    pub requests: u64,
    /// Requests that failed, as a share of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_percent: Option<Percent>,
    /// Requests that repeat another, as a share of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_percent: Option<Percent>,
    /// Requests that used something without a price. Its cost is missing from the row.
    #[serde(default)]
    pub unpriced_requests: u64,
    /// Tokens without a price.
    pub unpriced_tokens: u64,
    /// The same as a share of all tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced_percent: Option<Percent>,
    /// Cost of requests whose usage was estimated; part of `llm_cost`.
    pub estimated_cost: Pico,
    /// How good the margin is.
    pub level: Level,
}

impl MarginRow {
    /// The usage that the row lacks the cost of.
    pub fn unpriced(&self) -> Unpriced {
        Unpriced { requests: self.unpriced_requests, tokens: self.unpriced_tokens }
    }

    /// The row of a key.
    pub fn new(key: String, currency: Currency, amounts: Amounts) -> Self {
        let Amounts { revenue, spread, unattributed, measured, other_cost } = amounts;
        let margin = revenue - measured.cost - other_cost;
        let tokens = i128::from(measured.tokens());
        let share = |part: Pico| Percent::of(part.0, revenue.0).filter(|_| !unattributed);
        let level = if unattributed { Level::Unattributed } else { Level::of_measured(revenue, margin, &measured) };
        MarginRow {
            key,
            currency,
            revenue,
            revenue_spread: spread,
            revenue_unattributed: unattributed,
            llm_cost: measured.cost,
            other_cost,
            margin,
            margin_percent: share(margin),
            llm_cost_percent: share(measured.cost),
            wasted_cost: measured.wasted_cost,
            requests: measured.requests,
            failed_percent: Percent::of(measured.failed_requests.into(), measured.requests.into()),
            retry_percent: Percent::of(measured.retried_requests.into(), measured.requests.into()),
            unpriced_requests: measured.unpriced_requests,
            unpriced_tokens: measured.unpriced_tokens,
            unpriced_percent: Percent::of(measured.unpriced_tokens.into(), tokens),
            estimated_cost: measured.estimated_cost,
            level,
        }
    }
}

/// Answer to `weir margin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarginView {
    /// What rows stand for: `tenant`, `plan`, `model`, …
    pub by: String,
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// The first hour of the sums that the rows come from, where they do not reach back as far as the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The rows: negative margins first, then unpriced ones; within each, the worst first.
    pub rows: Vec<MarginRow>,
    /// The sum of each currency, of all rows, shown or not.
    pub totals: Vec<MarginRow>,
    /// Rows that are left out because there are too many.
    #[serde(default)]
    pub left_out: u64,
    /// Models with tokens that have no price, and how many: their cost is missing from every sum.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unpriced: BTreeMap<String, u64>,
    /// Requests that used something without a price, by model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unpriced_requests: BTreeMap<String, u64>,
    /// What the reader should know about these numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The most rows of one answer.
pub(crate) const ROWS_MAX: usize = 10_000;

impl MarginView {
    /// Makes the rows, the worst margin first, and their sums.
    pub fn new(by: &str, from: Timestamp, to: Timestamp, amounts: BTreeMap<(String, Currency), Amounts>) -> Self {
        let mut sums: BTreeMap<Currency, Amounts> = BTreeMap::new();
        for ((_, currency), amounts) in &amounts {
            *sums.entry(*currency).or_default() += *amounts;
        }
        // Revenue is spread among rows, or in one of its own; all of them have all of it.
        let whole = |sum| Amounts { spread: false, unattributed: false, ..sum };
        let total = |(currency, sum)| MarginRow::new("(all)".to_owned(), currency, whole(sum));
        let totals = sums.into_iter().map(total).collect();
        let made = amounts.into_iter().map(|((key, currency), amounts)| MarginRow::new(key, currency, amounts));
        let mut rows: Vec<MarginRow> = made.collect();
        rows.sort_by(|a, b| (a.level.place(), a.margin, &a.key).cmp(&(b.level.place(), b.margin, &b.key)));
        let left_out = rows.len().saturating_sub(ROWS_MAX) as u64;
        rows.truncate(ROWS_MAX);
        let mut view = MarginView {
            by: by.to_owned(),
            from,
            to,
            since: None,
            rows,
            totals,
            left_out,
            unpriced: BTreeMap::new(),
            unpriced_requests: BTreeMap::new(),
            notes: Vec::new(),
        };
        view.note();
        view
    }

    /// Says what the sums lack.
    fn note(&mut self) {
        let unpriced: Unpriced = self.totals.iter().map(MarginRow::unpriced).sum();
        self.notes.extend(unpriced.words());
        for row in self.totals.iter().filter(|row| row.estimated_cost > Pico::ZERO) {
            self.notes.push(format!("{} {} of the cost come from estimated usage", row.estimated_cost, row.currency));
        }
        if self.rows.iter().any(|row| row.revenue_spread) {
            self.notes.push(format!("revenue is spread over each {} in proportion to its cost", self.by));
        }
        if self.rows.iter().any(|row| row.revenue_unattributed) {
            self.notes.push(format!(
                "tenants with several values have rows of their own: what they pay belongs to no {} alone, so these rows have cost and \
                 failures to compare, and no margin",
                self.by
            ));
        }
        if self.totals.len() > 1 {
            self.notes.push(
                "amounts in different currencies are kept apart, so a margin may lack cost in another".to_owned(),
            );
        }
    }
}

/// Spreads an amount in proportion to weights, exactly: the parts add up to it. Without any weight nothing is spread.
pub fn spread(amount: Pico, weights: &[u128]) -> Vec<Pico> {
    // Weights beyond 2^60 are cut, so that no product overflows; what is lost is less than any amount can show.
    let whole: u128 = weights.iter().sum();
    let shift = (128 - whole.leading_zeros()).saturating_sub(60);
    let weights: Vec<i128> = weights.iter().map(|weight| (weight >> shift).cast_signed()).collect();
    let whole: i128 = weights.iter().sum();
    if whole == 0 {
        return vec![Pico::ZERO; weights.len()];
    }
    let (mut below, mut given) = (0, Pico::ZERO);
    weights
        .iter()
        .map(|weight| {
            below += weight;
            let due = if below == whole { amount } else { amount.scaled(below, whole) };
            let part = due - given;
            given = due;
            part
        })
        .collect()
}

/// An average of an amount over units, half away from zero.
pub fn average(amount: Pico, units: u64) -> Option<Pico> {
    (units > 0).then(|| Pico(divide(amount.0, i128::from(units))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pico(text: &str) -> Pico {
        Pico::parse(text).expect("an amount")
    }

    #[test]
    fn margins_at_their_thresholds() {
        let level = |margin: &str| Level::of(pico("100"), pico(margin));
        assert_eq!(level("65"), Level::Good);
        assert_eq!(level("64.99"), Level::Thin);
        assert_eq!(level("64.999999999999"), Level::Thin, "though it is shown as 65.00");
        assert_eq!(level("49.999999999999"), Level::Low);
        assert_eq!(level("50"), Level::Thin);
        assert_eq!(level("49.99"), Level::Low);
        assert_eq!(level("-0.000000000001"), Level::Negative);
        assert_eq!(Level::of(Pico::ZERO, Pico::ZERO), Level::Good);
    }

    #[test]
    fn a_row_whose_cost_is_missing_is_never_good() {
        let level = |revenue: &str, cost: &str, unpriced: u64| {
            let measured = Measured {
                cost: pico(cost),
                input_tokens: 100,
                unpriced_tokens: unpriced,
                unpriced_requests: u64::from(unpriced > 0),
                ..Measured::default()
            };
            MarginRow::new(
                String::new(),
                Currency::USD,
                Amounts { revenue: pico(revenue), measured, ..Amounts::default() },
            )
            .level
        };
        assert_eq!(level("100", "0", 100), Level::Unpriced);
        assert_eq!(level("0", "0", 100), Level::Unpriced, "without revenue too");
        assert_eq!(level("100", "1", 50), Level::Unpriced, "half of it");
        assert_eq!(level("100", "1", 49), Level::Good);
        assert_eq!(level("100", "0", 0), Level::Good, "nothing was used that costs");
        assert_eq!(level("100", "60", 99), Level::Low, "what is known already says more");
        assert_eq!(level("1", "2", 99), Level::Negative);
    }

    #[test]
    fn the_worst_margin_stands_first() {
        let eur = Currency::parse("EUR").expect("a currency");
        let of = |revenue, cost| Amounts {
            revenue: pico(revenue),
            measured: Measured { cost: pico(cost), ..Measured::default() },
            ..Amounts::default()
        };
        let amounts =
            [("thin", of("100", "40")), ("bad", of("10", "30")), ("good", of("1000", "1")), ("worst", of("0", "90"))];
        let amounts = amounts.map(|(key, amounts)| ((key.to_owned(), eur), amounts));
        let view = MarginView::new("tenant", Timestamp::default(), Timestamp::default(), amounts.into());
        let keys: Vec<&str> = view.rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["worst", "bad", "thin", "good"]);
        assert_eq!(view.totals[0].margin, pico("949"));
    }

    #[test]
    fn a_spread_amount_adds_up_to_itself() {
        for weights in [vec![1, 1, 1], vec![0, 7, 0, 3], vec![u128::MAX / 4, 1, u128::MAX / 4]] {
            let parts = spread(pico("100"), &weights);
            assert_eq!(parts.iter().copied().sum::<Pico>(), pico("100"));
            assert!(parts.iter().all(|part| !part.is_negative()));
        }
        assert_eq!(spread(pico("1"), &[0, 0]), vec![Pico::ZERO; 2]);
    }
}
