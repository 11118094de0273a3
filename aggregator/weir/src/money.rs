//! Questions about prices, and requests to price again: what server and commands share.
use std::collections::btree_map::{self, BTreeMap};

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_ledger::LedgerError;
use weir_ledger::cost_query::CostError;
use weir_ledger::periods::Anchor;
use weir_ledger::query::LedgerReader;
use weir_ledger::reprice::Request;
use weir_ledger::view::cost::{CostQuery, ReadingSum, Step};
use weir_money::other::{self, Caused, OtherCost, OtherCostRow, month_of};
use weir_money::prices::Book;
use weir_money::prices::entry::Entry;

/// The most entries of one answer.
pub(crate) const PRICES_SHOWN: usize = 5_000;

/// Which prices are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceQuery {
    /// The model, as the provider answers with. Absent: every entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider, as events name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The moment. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// An entry of the price book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceView {
    /// Where the entry stands.
    pub layer: String,
    /// Whether it answers for the model at the moment asked for; absent where no model was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<bool>,
    /// The entry.
    pub entry: Entry,
}

/// The entries that a query asks for: those that could answer for its model, the best first, or all.
pub fn prices(book: &Book, query: &PriceQuery, now: Timestamp) -> Vec<PriceView> {
    let provider = query.provider.as_deref();
    let Some(model) = query.model.as_deref() else {
        let all = book.layers().iter().flat_map(|layer| layer.entries.iter().map(move |entry| (layer, entry)));
        let chosen = all.filter(|(_, entry)| provider.is_none_or(|of| entry.provider.as_deref() == Some(of)));
        let view = |(layer, entry): (&weir_money::prices::Layer, &Entry)| PriceView {
            layer: layer.name.clone(),
            in_force: None,
            entry: entry.clone(),
        };
        return chosen.take(PRICES_SHOWN).map(view).collect();
    };
    let at = query.at.unwrap_or(now);
    match provider {
        Some(provider) => of_provider(book, Some(provider), model, at),
        None => {
            let found = of_provider(book, None, model, at);
            if !found.is_empty() {
                return found;
            }
            // Several providers have the model, and each has its own price.
            let each = book.providers(model).into_iter().flat_map(|of| of_provider(book, Some(of), model, at));
            each.take(PRICES_SHOWN).collect()
        }
    }
}

fn of_provider(book: &Book, provider: Option<&str>, model: &str, at: Timestamp) -> Vec<PriceView> {
    let in_force = book.find(provider, model, at).and_then(|found| book.entry(&found));
    let view = |(layer, entry): (&weir_money::prices::Layer, &Entry)| PriceView {
        layer: layer.name.clone(),
        in_force: Some(in_force.is_some_and(|(_, found)| std::ptr::eq(found, entry))),
        entry: entry.clone(),
    };
    book.history(provider, model).into_iter().take(PRICES_SHOWN).map(view).collect()
}

/// Which other costs are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherQuery {
    /// Only this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only windows from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Windows that start before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// How time is divided. Shared costs are spread within each calendar month, whatever the step.
    #[serde(default)]
    pub step: Step,
}

/// Costs that no request causes, after spreading.
pub fn other_costs(
    reader: &mut LedgerReader,
    rules: &[OtherCost],
    query: &OtherQuery,
) -> Result<Result<Vec<OtherCostRow>, CostError>, LedgerError> {
    let spreads = rules.iter().any(|rule| rule.spread.is_some());
    // A shared cost is spread within its calendar month.
    let step = if spreads && query.step == Step::Total { Step::Month } else { query.step };
    // Shares depend on what all tenants did.
    let all = CostQuery { tenant: None, from: query.from, to: query.to, step, by: None };
    let sums = match reader.reading_sums(&all)? {
        Ok(sums) => sums,
        Err(refused) => return Ok(Err(refused)),
    };
    let (before, caused) = match spread_by(reader, rules, &all, &sums)? {
        Ok(known) => known,
        Err(refused) => return Ok(Err(refused)),
    };
    let mut rows = other::attribute(rules, &sums, &before, &caused);
    rows.retain(|row| query.tenant.as_ref().is_none_or(|tenant| row.tenant == *tenant));
    Ok(Ok(if step == query.step { rows } else { over_all_time(rows) }))
}

/// What shared costs are spread by: readings of the first month that the span leaves out, and what tenants caused in each month.
fn spread_by(
    reader: &mut LedgerReader,
    rules: &[OtherCost],
    all: &CostQuery,
    sums: &[ReadingSum],
) -> Result<Result<(Vec<ReadingSum>, Caused), CostError>, LedgerError> {
    let is_shared = |sum: &&ReadingSum| rules.iter().any(|rule| rule.reading == sum.name && rule.shares(sum).is_some());
    let mut caused = Caused::new();
    for sum in sums.iter().filter(is_shared) {
        let month = Anchor::default().period(sum.start.unwrap_or_default());
        if let btree_map::Entry::Vacant(unread) = caused.entry(month.start) {
            unread.insert(reader.tenant_costs(None, month.start, month.end)?);
        }
    }
    let Some(from) = all.from.filter(|_| !caused.is_empty()) else { return Ok(Ok((Vec::new(), caused))) };
    let first = CostQuery { from: Some(month_of(from)), to: Some(from), step: Step::Month, ..all.clone() };
    let before = reader.reading_sums(&first)?;
    Ok(before.map(|before| (before.into_iter().filter(|sum| is_shared(&sum)).collect(), caused)))
}

/// The sums of rows of several months.
fn over_all_time(rows: Vec<OtherCostRow>) -> Vec<OtherCostRow> {
    let mut sums: BTreeMap<(String, String, bool), OtherCostRow> = BTreeMap::new();
    for row in rows {
        let key = (row.name.clone(), row.tenant.clone(), row.shared);
        match sums.get_mut(&key) {
            Some(sum) => sum.amount += row.amount,
            None => drop(sums.insert(key, OtherCostRow { start: None, ..row })),
        }
    }
    sums.into_values().collect()
}

/// Body of `POST /v1/prices/reprice`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepriceRequest {
    /// Windows that begin at this moment or later.
    pub from: Timestamp,
    /// Why; it is kept.
    pub why: String,
    /// Change nothing, and say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

impl RepriceRequest {
    /// The request, by a person or token of this name.
    pub fn by(self, who: impl Into<String>) -> Request {
        Request { from: self.from, who: who.into(), why: self.why, dry_run: self.dry_run }
    }
}
