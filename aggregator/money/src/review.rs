//! The weekly margin review: who spends, what changed, and why.
//!
//! Two spans of equal length stand beside each other. Each change of cost comes with its likely driver, by the exact split of
//! [`crate::drivers`]. A review has one currency.
mod page;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

pub use page::document;

use crate::amount::{Currency, Pico};
use crate::drivers::{Models, Shares, decompose, total};
use crate::exact::Exact;
use crate::margin::{Unpriced, average};
use crate::ratio::Percent;

/// The rows of each list.
pub(crate) const TOP: usize = 10;
/// Weeks in a row with a negative margin that make it sustained.
pub const SUSTAINED_WEEKS: usize = 3;
/// Cost per request of a new prompt version that is marked, as a share of that of the version before.
pub(crate) const DRIFT: Percent = Percent::whole(110);

/// One side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// What tenants pay.
    pub revenue: Pico,
    /// Costs that no request causes.
    pub other_cost: Pico,
    /// What models did.
    pub models: Models,
}

impl Side {
    fn cost(&self) -> Pico {
        total(&self.models).cost() + self.other_cost
    }

    fn margin(&self) -> Pico {
        self.revenue - self.cost()
    }
}

/// The week before, and the week.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// The week before.
    pub before: Side,
    /// The week.
    pub after: Side,
}

/// A prompt version of a feature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The version.
    pub version: String,
    /// The first day on which it was seen.
    pub first_seen: Timestamp,
    /// Requests.
    pub requests: u64,
    /// Their cost.
    pub cost: Pico,
}

/// A planned number and what has come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRow {
    /// The tenant.
    pub tenant: String,
    /// `cost` or `revenue`.
    pub of: String,
    /// The plan for the month.
    pub planned: Pico,
    /// The month so far.
    pub actual: Pico,
    /// The same as a share of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Percent>,
    /// The part of the month that is over.
    pub elapsed: Percent,
    /// True if cost runs ahead of the month, or revenue behind it, by more than a tenth.
    pub off: bool,
}

/// Everything that a review needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// By tenant.
    pub tenants: BTreeMap<String, Pair>,
    /// By feature.
    pub features: BTreeMap<String, Pair>,
    /// By route: the workflow that a request belongs to.
    pub workflows: BTreeMap<String, Pair>,
    /// Versions by feature, over both weeks.
    pub versions: BTreeMap<String, Vec<Version>>,
    /// Margins of the last weeks by tenant, the oldest first.
    pub weeks: BTreeMap<String, Vec<Pico>>,
    /// Planned against actual.
    pub planned: Vec<PlannedRow>,
    /// Usage of the week without a price.
    pub unpriced: Unpriced,
    /// Other currencies in which there was revenue or cost.
    pub other_currencies: Vec<Currency>,
    /// The first and the last day of the week, in its time zone.
    pub days: (String, String),
    /// The present, if the week is not over.
    pub until: Option<Timestamp>,
}

/// A change between two weeks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The tenant, feature or workflow.
    pub key: String,
    /// Revenue of the week before, and of the week.
    pub revenue: (Pico, Pico),
    /// Cost of the week before, and of the week.
    pub cost: (Pico, Pico),
    /// Margin of the week before, and of the week.
    pub margin: (Pico, Pico),
    /// Requests of the week before, and of the week.
    pub requests: (u64, u64),
    /// Cost of a request in the week before, and in the week.
    pub cost_per_request: (Option<Pico>, Option<Pico>),
    /// The shares of all drivers in the change of model cost; they add up to it.
    pub drivers: Shares,
    /// The likely driver in words.
    pub likely: String,
}

/// A new prompt version against the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The feature.
    pub feature: String,
    /// The version before.
    pub before: String,
    /// The new version.
    pub after: String,
    /// The first day of the new version.
    pub since: Timestamp,
    /// Cost of a request of each.
    pub cost_per_request: (Pico, Pico),
    /// The new cost as a share of the old.
    pub ratio: Percent,
    /// True if a request costs at least a tenth more.
    pub marked: bool,
}

/// Answer to `weir review`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewView {
    /// The start of the week.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// The currency of every amount.
    pub currency: Currency,
    /// The sum over all tenants.
    pub total: Change,
    /// The tenants that cost most.
    pub by_spend: Vec<Change>,
    /// The tenants whose margin fell most, then those whose margin rose.
    pub by_change: Vec<Change>,
    /// Cost per workflow.
    pub workflows: Vec<Change>,
    /// Cost per feature.
    pub features: Vec<Change>,
    /// The share of all cost of the largest tenant, and of the five largest.
    pub concentration: (Option<Percent>, Option<Percent>),
    /// Tenants with a negative margin in each of the last weeks.
    pub sustained_negative: Vec<String>,
    /// New prompt versions.
    pub drift: Vec<Drift>,
    /// Planned against actual.
    pub planned: Vec<PlannedRow>,
    /// Usage of the week without a price, in any currency: no sum includes its cost.
    #[serde(default, skip_serializing_if = "Unpriced::is_none")]
    pub unpriced: Unpriced,
    /// Other currencies in which there was revenue or cost in the week: this review has none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_currencies: Vec<Currency>,
    /// The first and the last day of the week, in its time zone.
    #[serde(default)]
    pub days: (String, String),
    /// The moment up to which the week was counted, if it is not over: the week before stands beside it whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Makes the review of the week from `from` to `to`.
pub fn review(input: &Input, currency: Currency, from: Timestamp, to: Timestamp) -> ReviewView {
    let mut all = Pair::default();
    input.tenants.values().for_each(|pair| add(&mut all, pair));
    let tenants = changes(&input.tenants);
    let by_spend = top(&tenants, |change| change.cost.1.0);
    let moved = |change: &Change| change.margin.0.0 - change.margin.1.0;
    let mut by_change: Vec<Change> = tenants.iter().filter(|change| moved(change) != 0).cloned().collect();
    by_change.sort_by_key(|change| (moved(change) < 0, -moved(change).abs()));
    by_change.truncate(TOP);
    let share = |count: usize| {
        let largest: i128 = by_spend.iter().take(count).map(|change| change.cost.1.0).sum();
        Percent::of(largest, all.after.cost().0)
    };
    ReviewView {
        from,
        to,
        currency,
        concentration: (share(1), share(5)),
        total: change("(all)", &all),
        by_change,
        workflows: top(&changes(&input.workflows), |change| change.cost.1.0),
        features: top(&changes(&input.features), |change| change.cost.1.0),
        sustained_negative: sustained(&input.weeks),
        drift: drift(&input.versions),
        planned: input.planned.clone(),
        unpriced: input.unpriced,
        other_currencies: input.other_currencies.clone(),
        days: input.days.clone(),
        until: input.until,
        by_spend,
    }
}

fn add(sum: &mut Pair, pair: &Pair) {
    for (sum, side) in [(&mut sum.before, &pair.before), (&mut sum.after, &pair.after)] {
        sum.revenue += side.revenue;
        sum.other_cost += side.other_cost;
        side.models.iter().for_each(|(name, model)| sum.models.entry(name.clone()).or_default().add(model));
    }
}

fn changes(pairs: &BTreeMap<String, Pair>) -> Vec<Change> {
    pairs.iter().map(|(key, pair)| change(key, pair)).collect()
}

fn change(key: &str, Pair { before, after }: &Pair) -> Change {
    let drivers = decompose(&before.models, &after.models);
    let (old, new) = (total(&before.models), total(&after.models));
    Change {
        key: key.to_owned(),
        revenue: (before.revenue, after.revenue),
        cost: (before.cost(), after.cost()),
        margin: (before.margin(), after.margin()),
        requests: (old.requests, new.requests),
        cost_per_request: (average(old.cost(), old.requests), average(new.cost(), new.requests)),
        likely: drivers.words(&before.models, &after.models),
        drivers,
    }
}

/// The first by a number, the largest first.
fn top(changes: &[Change], by: impl Fn(&Change) -> i128) -> Vec<Change> {
    let mut sorted: Vec<&Change> = changes.iter().filter(|change| by(change) > 0).collect();
    sorted.sort_by_key(|change| std::cmp::Reverse(by(change)));
    sorted.into_iter().take(TOP).cloned().collect()
}

fn sustained(weeks: &BTreeMap<String, Vec<Pico>>) -> Vec<String> {
    let is_sustained = |margins: &[Pico]| {
        let last = margins.len().checked_sub(SUSTAINED_WEEKS).and_then(|from| margins.get(from..));
        last.is_some_and(|last| last.iter().all(|margin| margin.is_negative()))
    };
    weeks.iter().filter(|(_, margins)| is_sustained(margins)).map(|(tenant, _)| tenant.clone()).collect()
}

/// Compares each version with the one that was seen before it.
fn drift(versions: &BTreeMap<String, Vec<Version>>) -> Vec<Drift> {
    let mut found = Vec::new();
    for (feature, versions) in versions {
        let mut sorted: Vec<&Version> = versions.iter().filter(|version| version.requests > 0).collect();
        sorted.sort_by_key(|version| (version.first_seen, &version.version));
        for pair in sorted.windows(2) {
            let [before, after] = pair else { continue };
            let costs = (average(before.cost, before.requests), average(after.cost, after.requests));
            let (Some(old), Some(new)) = costs else { continue };
            let Some(ratio) = Percent::of(new.0, old.0) else { continue };
            found.push(Drift {
                feature: feature.clone(),
                before: before.version.clone(),
                after: after.version.clone(),
                since: after.first_seen,
                cost_per_request: (old, new),
                ratio,
                marked: ratio >= DRIFT,
            });
        }
    }
    found.sort_by_key(|drift| std::cmp::Reverse(drift.ratio));
    found.truncate(TOP);
    found
}

impl PlannedRow {
    /// Compares a plan with the month so far; `elapsed` is the part of the month that is over.
    pub fn new(tenant: String, of: &str, planned: Pico, actual: Pico, elapsed: Percent) -> Self {
        let reached = Percent::of(actual.0, planned.0);
        let ahead = reached.map_or(0, |reached| reached.0 - elapsed.0);
        let tenth = Percent::whole(10).0;
        let off = if of == "cost" { ahead > tenth } else { ahead < -tenth };
        PlannedRow { tenant, of: of.to_owned(), planned, actual, reached, elapsed, off }
    }
}
