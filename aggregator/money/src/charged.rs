//! Compares our costs with what a provider says it charged, by day and model.
//!
//! Read are OpenAI's and Anthropic's cost reports: the JSON of their interfaces, and CSV exports with a column each for the
//! day, the model and the amount. [`read`] tells them apart; [`compare`] pairs days and models.
mod csv_text;
mod reports;

use std::collections::BTreeMap;

use serde::Serialize;
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_ledger::amount::{Currency, PICO, Pico};
use weir_ledger::view::cost::PricedRow;

pub use reports::read;

/// The most lines of a report.
pub(crate) const LINES_MAX: usize = 1_000_000;
/// Differences below this part of the larger amount are none: providers round each line.
const TOLERANCE_DIVISOR: i128 = 1_000;
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * HOUR_MS;

/// An amount that a provider charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The day, in UTC.
    pub day: Timestamp,
    /// The model; empty where the report names none.
    pub model: String,
    /// The currency.
    pub currency: Currency,
    /// The amount; negative for credits.
    pub amount: Pico,
}

/// A report that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What it is.
    pub source: &'static str,
    /// Its lines.
    pub charges: Vec<Charge>,
    /// True if the file is one page of several: the others' amounts are missing.
    pub is_partial: bool,
}

/// A day of a model, as the provider and as we have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The day, in UTC.
    pub day: Timestamp,
    /// The model.
    pub model: String,
    /// The currency.
    pub currency: Currency,
    /// What the provider charged.
    pub theirs: Pico,
    /// What we computed.
    pub ours: Pico,
    /// Theirs less ours.
    pub difference: Pico,
    /// The likely reason for a difference.
    pub reason: Reason,
    /// Units that have no price of ours.
    #[serde(skip_serializing_if = "is_zero")]
    pub unpriced: u64,
}

/// Likely reasons for a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Equal but for rounding.
    Equal,
    /// The provider charged a model that no request through the gateway used: other keys, or a route without usage.
    NotThroughGateway,
    /// We have units without a price.
    Unpriced,
    /// All days of the model differ by the same factor: the price differs, a discount say.
    Price,
    /// The days around it make up for it: the provider's day begins at another hour.
    DayBoundary,
    /// We counted a model that the provider does not charge: another name, free, or charged elsewhere.
    NotCharged,
    /// The provider charged more: requests past the gateway, or usage that was estimated too low.
    TheyCountMore,
    /// We counted more: usage that was estimated too high, or credits of the provider.
    WeCountMore,
}

impl Reason {
    /// The reason in words, with what to look at.
    pub fn words(self) -> &'static str {
        match self {
            Reason::Equal => "equal",
            Reason::NotThroughGateway => {
                "no request through the gateway used it: look for other keys, and routes without usage"
            }
            Reason::Unpriced => "some of it has no price: see `weir cost --models`",
            Reason::Price => "every day differs by the same factor: the price differs",
            Reason::DayBoundary => "the neighbouring day makes up for it: the provider's day begins at another hour",
            Reason::NotCharged => "the provider does not list it: another name, free, or on another invoice",
            Reason::TheyCountMore => {
                "the provider counts more: requests past the gateway, or estimates that are too low"
            }
            Reason::WeCountMore => "we count more: estimates that are too high, or a credit",
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One day's amounts: theirs, ours, and units without a price.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    theirs: Pico,
    ours: Pico,
    unpriced: u64,
}

type Days = BTreeMap<Timestamp, Pair>;

/// Compares a report with our rows by day. Only rows of `provider` and of the report's days count, if a provider is named.
pub fn compare(report: &Report, rows: &[PricedRow], provider: Option<&str>) -> Vec<Compared> {
    let mut models: BTreeMap<(String, Currency), Days> = BTreeMap::new();
    for charge in &report.charges {
        let model = our_name(&charge.model, rows);
        models.entry((model, charge.currency)).or_default().entry(charge.day).or_default().theirs += charge.amount;
    }
    let days: Vec<Timestamp> = report.charges.iter().map(|charge| charge.day).collect();
    let (first, last) = (days.iter().min().copied(), days.iter().max().copied());
    for row in rows.iter().filter(|row| provider.is_none_or(|provider| row.provider == provider)) {
        let Some(day) = row.start.filter(|day| Some(*day) >= first && Some(*day) <= last) else { continue };
        let currency = row.currency.unwrap_or(Currency::USD);
        let pair = models.entry((row.model.clone(), currency)).or_default().entry(day).or_default();
        pair.ours += row.cost;
        pair.unpriced += row.unpriced.values().sum::<u64>();
    }
    let mut compared: Vec<Compared> = models.iter().flat_map(|(key, days)| of_model(key, days)).collect();
    compared.sort_by(|a, b| (a.day, &a.model, a.currency).cmp(&(b.day, &b.model, b.currency)));
    compared
}

/// The name that our rows have for a provider's model: the same, or the one dated name that it begins.
fn our_name(model: &str, rows: &[PricedRow]) -> String {
    if rows.iter().any(|row| row.model == model) {
        return model.to_owned();
    }
    let begins = |row: &&PricedRow| row.model.strip_prefix(model).is_some_and(|rest| rest.starts_with(['-', '@']));
    let mut names: Vec<&str> = rows.iter().filter(begins).map(|row| row.model.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [one] if !model.is_empty() => (*one).to_owned(),
        _ => model.to_owned(),
    }
}

fn of_model((model, currency): &(String, Currency), days: &Days) -> Vec<Compared> {
    let factor = constant_factor(days);
    let compared = |(day, pair): (&Timestamp, &Pair)| Compared {
        day: *day,
        model: model.clone(),
        currency: *currency,
        theirs: pair.theirs,
        ours: pair.ours,
        difference: pair.theirs - pair.ours,
        reason: reason(days, *day, *pair, factor),
        unpriced: pair.unpriced,
    };
    days.iter().map(compared).collect()
}

fn reason(days: &Days, day: Timestamp, pair: Pair, factor: bool) -> Reason {
    let difference = pair.theirs.0 - pair.ours.0;
    if is_small(difference, pair) {
        return Reason::Equal;
    }
    if pair.unpriced > 0 {
        return Reason::Unpriced;
    }
    let all = |amount: fn(&Pair) -> Pico| days.values().all(|pair| amount(pair) == Pico::ZERO);
    if all(|pair| pair.ours) {
        return Reason::NotThroughGateway;
    }
    if all(|pair| pair.theirs) {
        return Reason::NotCharged;
    }
    if factor {
        return Reason::Price;
    }
    let neighbours = [day.as_millis().checked_sub(DAY_MS), day.as_millis().checked_add(DAY_MS)];
    let makes_up = |at: u64| {
        let other = days.get(&Timestamp::from_millis(at)).copied().unwrap_or_default();
        let sum = difference + other.theirs.0 - other.ours.0;
        is_small(sum, Pair { theirs: pair.theirs + other.theirs, ours: pair.ours + other.ours, unpriced: 0 })
    };
    match difference {
        _ if neighbours.into_iter().flatten().any(makes_up) => Reason::DayBoundary,
        difference if difference > 0 => Reason::TheyCountMore,
        _ => Reason::WeCountMore,
    }
}

/// Returns true if a difference is what rounding makes: a thousandth, or a cent at most.
fn is_small(difference: i128, pair: Pair) -> bool {
    let larger = pair.theirs.0.abs().max(pair.ours.0.abs());
    difference.abs() <= (larger / TOLERANCE_DIVISOR).max(PICO / 200)
}

/// Returns true if at least two days differ, and all by the same factor, to a thousandth.
fn constant_factor(days: &Days) -> bool {
    let both: Vec<&Pair> = days.values().filter(|pair| pair.theirs.0 > 0 && pair.ours.0 > 0).collect();
    let Some(first) = both.first() else { return false };
    // a/b = c/d, compared in millionths of a unit, so that no product overflows.
    let micro = |amount: Pico| amount.0 / 1_000_000;
    let same = |pair: &&Pair| {
        let (left, right) = (
            micro(pair.theirs).saturating_mul(micro(first.ours)),
            micro(first.theirs).saturating_mul(micro(pair.ours)),
        );
        (left - right).abs() <= left.max(right) / TOLERANCE_DIVISOR
    };
    both.len() >= 2 && both.iter().all(same) && days.len() == both.len()
}
