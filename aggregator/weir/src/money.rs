//! Questions about prices, and requests to price again: what server and commands share.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_ledger::LedgerError;
use weir_ledger::cost_query::CostError;
use weir_ledger::query::LedgerReader;
use weir_ledger::reprice::Request;
use weir_ledger::view::cost::{CostQuery, CostRow, ReadingSum, Step};
use weir_money::other::{self, OtherCost, OtherCostRow};
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
    /// How time is divided; shared costs are spread within each step.
    #[serde(default)]
    pub step: Step,
}

/// Costs that no request causes, after spreading.
pub fn other_costs(
    reader: &mut LedgerReader,
    rules: &[OtherCost],
    query: &OtherQuery,
) -> Result<Result<Vec<OtherCostRow>, CostError>, LedgerError> {
    // Shares depend on what all tenants did.
    let all = CostQuery { tenant: None, from: query.from, to: query.to, step: query.step, by: None };
    let costs = match costs_to_spread_by(reader, rules, &all)? {
        Ok(costs) => costs,
        Err(refused) => return Ok(Err(refused)),
    };
    let spread = |sums: Vec<ReadingSum>| {
        let mut rows = other::attribute(rules, &sums, &costs);
        rows.retain(|row| query.tenant.as_ref().is_none_or(|tenant| row.tenant == *tenant));
        rows
    };
    Ok(reader.reading_sums(&all)?.map(spread))
}

/// What tenants caused in each step of time; nothing if no rule spreads a cost.
fn costs_to_spread_by(
    reader: &mut LedgerReader,
    rules: &[OtherCost],
    all: &CostQuery,
) -> Result<Result<Vec<CostRow>, CostError>, LedgerError> {
    if rules.iter().all(|rule| rule.spread.is_none()) {
        return Ok(Ok(Vec::new()));
    }
    match (all.step, all.from, all.to) {
        // Sums by month answer, whatever the span.
        (Step::Total, from, Some(to)) => Ok(Ok(reader.tenant_costs(None, from.unwrap_or_default(), to)?)),
        _ => reader.cost(all),
    }
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
