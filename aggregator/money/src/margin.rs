//! Margin: revenue less cost, by tenant, plan, model or another dimension.
//!
//! Revenue belongs to a tenant. Under another dimension, such as the model, it is spread over the tenant's values in proportion to
//! their cost, or to their tokens where nothing has a cost ([`spread`]); the row says so. Currencies are never added up: each has
//! rows of its own.
use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::amount::{Currency, Pico};
use crate::exact::{Exact, divide};
use crate::ratio::Percent;

/// A margin below this share of revenue is marked.
pub(crate) const THIN: Percent = Percent::whole(65);
/// A margin below this share of revenue is marked more strongly.
pub(crate) const LOW: Percent = Percent::whole(50);

/// What the ledger measured for one key and currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Requests of any outcome.
    pub requests: u64,
    /// Requests that failed.
    pub failed_requests: u64,
    /// Requests that repeat another.
    pub retried_requests: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Input tokens from a cache.
    pub cache_read_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Tokens without a price.
    pub unpriced_tokens: u64,
    /// Cost of all requests.
    pub cost: Pico,
    /// Cost of those that failed or repeat another; part of `cost`.
    pub wasted_cost: Pico,
    /// Cost of requests whose usage was estimated; part of `cost`.
    pub estimated_cost: Pico,
}

impl Measured {
    /// All tokens.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl AddAssign for Measured {
    fn add_assign(&mut self, other: Measured) {
        self.requests += other.requests;
        self.failed_requests += other.failed_requests;
        self.retried_requests += other.retried_requests;
        self.input_tokens += other.input_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.output_tokens += other.output_tokens;
        self.unpriced_tokens += other.unpriced_tokens;
        self.cost += other.cost;
        self.wasted_cost += other.wasted_cost;
        self.estimated_cost += other.estimated_cost;
    }
}

/// The amounts of one key in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// What the tenant pays.
    pub revenue: Pico,
    /// True if the revenue was spread over the values of a dimension.
    pub spread: bool,
    /// What the ledger measured.
    pub measured: Measured,
    /// Costs that no request causes.
    pub other_cost: Pico,
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Amounts) {
        self.revenue += other.revenue;
        self.spread |= other.spread;
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
        match Percent::of(margin.0, revenue.0) {
            _ if margin.is_negative() => Level::Negative,
            Some(percent) if percent < LOW => Level::Low,
            Some(percent) if percent < THIN => Level::Thin,
            _ => Level::Good,
        }
    }

    /// The level as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Negative => "negative",
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
    /// What providers charge.
    pub llm_cost: Pico,
    /// Costs that no request causes.
    pub other_cost: Pico,
    /// Revenue less both costs.
    pub margin: Pico,
    /// The margin as a share of revenue; absent without revenue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin_percent: Option<Percent>,
    /// Provider cost as a share of revenue: what one unit of revenue costs in inference; absent without revenue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_cost_percent: Option<Percent>,
    /// Cost of failed and repeated requests; part of `llm_cost`.
    pub wasted_cost: Pico,
    /// Requests of any outcome.
    pub requests: u64,
    /// Requests that repeat another, as a share of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_percent: Option<Percent>,
    /// Tokens without a price. Their cost is missing from the row.
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
    /// The row of a key.
    pub fn new(key: String, currency: Currency, amounts: Amounts) -> Self {
        let Amounts { revenue, spread, measured, other_cost } = amounts;
        let margin = revenue - measured.cost - other_cost;
        let tokens = i128::from(measured.tokens());
        MarginRow {
            key,
            currency,
            revenue,
            revenue_spread: spread,
            llm_cost: measured.cost,
            other_cost,
            margin,
            margin_percent: Percent::of(margin.0, revenue.0),
            llm_cost_percent: Percent::of(measured.cost.0, revenue.0),
            wasted_cost: measured.wasted_cost,
            requests: measured.requests,
            retry_percent: Percent::of(measured.retried_requests.into(), measured.requests.into()),
            unpriced_tokens: measured.unpriced_tokens,
            unpriced_percent: Percent::of(measured.unpriced_tokens.into(), tokens),
            estimated_cost: measured.estimated_cost,
            level: Level::of(revenue, margin),
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
    /// The rows, the worst margin first.
    pub rows: Vec<MarginRow>,
    /// The sum of each currency, of all rows, shown or not.
    pub totals: Vec<MarginRow>,
    /// Rows that are left out because there are too many.
    #[serde(default)]
    pub left_out: u64,
    /// Models with tokens that have no price, and how many: their cost is missing from every sum.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unpriced: BTreeMap<String, u64>,
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
        let totals =
            sums.into_iter().map(|(currency, sum)| MarginRow::new("(all)".to_owned(), currency, sum)).collect();
        let made = amounts.into_iter().map(|((key, currency), amounts)| MarginRow::new(key, currency, amounts));
        let mut rows: Vec<MarginRow> = made.collect();
        rows.sort_by(|a, b| {
            (a.level != Level::Negative, a.margin, &a.key).cmp(&(b.level != Level::Negative, b.margin, &b.key))
        });
        let left_out = rows.len().saturating_sub(ROWS_MAX) as u64;
        rows.truncate(ROWS_MAX);
        let mut view = MarginView {
            by: by.to_owned(),
            from,
            to,
            rows,
            totals,
            left_out,
            unpriced: BTreeMap::new(),
            notes: Vec::new(),
        };
        view.note();
        view
    }

    /// Says what the sums lack.
    fn note(&mut self) {
        let unpriced: u64 = self.totals.iter().map(|row| row.unpriced_tokens).sum();
        if unpriced > 0 {
            self.notes.push(format!("{unpriced} tokens have no price; their cost is missing"));
        }
        for row in self.totals.iter().filter(|row| row.estimated_cost > Pico::ZERO) {
            self.notes.push(format!("{} {} of the cost come from estimated usage", row.estimated_cost, row.currency));
        }
        if self.rows.iter().any(|row| row.revenue_spread) {
            self.notes.push(format!("revenue is spread over each {} in proportion to its cost", self.by));
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
pub(crate) fn average(amount: Pico, units: u64) -> Option<Pico> {
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
        assert_eq!(level("50"), Level::Thin);
        assert_eq!(level("49.99"), Level::Low);
        assert_eq!(level("-0.000000000001"), Level::Negative);
        assert_eq!(Level::of(Pico::ZERO, Pico::ZERO), Level::Good);
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
