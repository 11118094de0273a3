//! What was used in both weeks of a review, read once: by tenant from the sums by model; by workflow, feature and prompt version from the
//! hours, which alone know which model served which feature.
use std::collections::{BTreeMap, BTreeSet};

use weir_contract::Timestamp;
use weir_ledger::periods::Period;
use weir_ledger::values::{ValueCost, ValueQuery};
use weir_ledger::view::cost::CostSums;
use weir_money::amount::Currency;
use weir_money::review::{Pair, Side, Version};

use crate::finance::models::RateBook;
use crate::finance::{Finance, FinanceError};

const DAY_MS: u64 = 24 * 3_600_000;
/// The dimensions that are read together.
const TOGETHER: [&str; 4] = ["feature", "route", "prompt_version", "model"];

/// Sums by model of the week before, and of the week.
type Weeks = [BTreeMap<String, CostSums>; 2];

/// What was used in both weeks.
#[derive(Debug, Default)]
pub(super) struct Used {
    tenants: BTreeMap<String, Weeks>,
    features: BTreeMap<String, Weeks>,
    workflows: BTreeMap<String, Weeks>,
    /// By feature and version.
    versions: BTreeMap<(String, String), Version>,
}

impl Finance {
    /// Reads what was used in a currency in the week before and in the week.
    pub(super) fn used(&mut self, currency: Currency, weeks: [Period; 2]) -> Result<Used, FinanceError> {
        let mut used = Used::default();
        for (week, span) in weeks.into_iter().enumerate() {
            let query = ValueQuery { tenant: None, by: &["model"], from: span.start, to: span.end, by_tenant: true };
            self.reader.value_costs(&query, &mut |tenant, costs| {
                for cost in costs.iter().filter(|cost| cost.currency == Some(currency)) {
                    add(&mut used.tenants, tenant, week, &cost.value, &cost.sums);
                }
            })?;
            let mut from = span.start;
            while from < span.end {
                let day = Timestamp::from_millis(from.as_millis() - from.as_millis() % DAY_MS);
                let to = day.plus_millis(DAY_MS).min(span.end);
                let query = ValueQuery { tenant: None, by: &TOGETHER, from, to, by_tenant: false };
                self.reader.value_costs(&query, &mut |_, costs| {
                    costs
                        .iter()
                        .filter(|cost| cost.currency == Some(currency))
                        .for_each(|cost| used.note(cost, week, day));
                })?;
                from = to;
            }
        }
        Ok(used)
    }
}

impl Used {
    /// Adds what a combination of values cost on a day.
    fn note(&mut self, cost: &ValueCost, week: usize, day: Timestamp) {
        let values: Vec<&str> = cost.values().collect();
        // Combinations beyond the bound are one value that stands for every dimension.
        let [feature, route, version, model] = match values.as_slice() {
            [feature, route, version, model] => [*feature, *route, *version, *model],
            _ => [cost.value.as_str(); 4],
        };
        add(&mut self.features, feature, week, model, &cost.sums);
        add(&mut self.workflows, route, week, model, &cost.sums);
        if version.is_empty() {
            return;
        }
        let known = self.versions.entry((feature.to_owned(), version.to_owned())).or_insert_with(|| Version {
            version: version.to_owned(),
            first_seen: day,
            ..Version::default()
        });
        known.first_seen = known.first_seen.min(day);
        known.requests += cost.sums.requests;
        known.cost += cost.sums.cost;
    }

    /// The models of both weeks.
    pub(super) fn models(&self) -> BTreeSet<String> {
        self.tenants.values().flatten().flat_map(|models| models.keys().cloned()).collect()
    }

    pub(super) fn tenants(&self, currency: Currency, book: &RateBook) -> BTreeMap<String, Pair> {
        pairs(&self.tenants, currency, book)
    }

    pub(super) fn features(&self, currency: Currency, book: &RateBook) -> BTreeMap<String, Pair> {
        pairs(&self.features, currency, book)
    }

    pub(super) fn workflows(&self, currency: Currency, book: &RateBook) -> BTreeMap<String, Pair> {
        pairs(&self.workflows, currency, book)
    }

    /// Prompt versions by feature, with the first day on which each was seen.
    pub(super) fn versions(&self) -> BTreeMap<String, Vec<Version>> {
        let mut versions: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        for ((feature, _), version) in &self.versions {
            versions.entry(feature.clone()).or_default().push(version.clone());
        }
        versions
    }
}

fn add(keyed: &mut BTreeMap<String, Weeks>, key: &str, week: usize, model: &str, sums: &CostSums) {
    if !keyed.contains_key(key) {
        keyed.insert(key.to_owned(), Weeks::default());
    }
    if let Some(models) = keyed.get_mut(key).and_then(|weeks| weeks.get_mut(week)) {
        models.entry(model.to_owned()).or_default().add(sums);
    }
}

/// Splits the cost of each model by kind of token.
fn pairs(keyed: &BTreeMap<String, Weeks>, currency: Currency, book: &RateBook) -> BTreeMap<String, Pair> {
    let side = |models: &BTreeMap<String, CostSums>| {
        let split = |(model, sums): (&String, &CostSums)| (model.clone(), book.split(model, currency, sums));
        Side { models: models.iter().map(split).collect(), ..Side::default() }
    };
    keyed
        .iter()
        .map(|(key, [before, after])| (key.clone(), Pair { before: side(before), after: side(after) }))
        .collect()
}
