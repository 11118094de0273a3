//! The cost of a single event, explained.
use serde::Serialize;
use weir_contract::{Timestamp, UsageData};
use weir_ledger::amount::{Currency, Pico};
use weir_ledger::cost::{Kind, Tariff};

use super::{charge, model, quantities};
use crate::prices::{Book, Rates};

/// The cost of one kind of unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CostLine {
    /// The kind.
    pub kind: Kind,
    /// Units of it.
    pub quantity: u64,
    /// The price of one unit; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Pico>,
    /// Quantity times price; absent if it has no price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Pico>,
}

/// The cost of an event, and where its prices stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CostLines {
    /// The provider; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model that served.
    pub model: String,
    /// The service tier; empty for the usual one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tier: String,
    /// Input tokens above which the context tier begins; 0 for the first.
    pub over: u64,
    /// Where the prices stand: layer and entry. Absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The currency; absent if nothing has a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// By kind.
    pub lines: Vec<CostLine>,
    /// The sum of all lines.
    pub cost: Pico,
}

/// Explains what an event cost by `book`.
pub fn explain(book: &Book, time: Timestamp, data: &UsageData<'_>) -> CostLines {
    let quantities = quantities(data);
    let (tier, input) = (Tariff::of(data).tier, data.usage.input_tokens.unwrap_or(0));
    let provider = data.provider.as_deref();
    let applied = book.apply(provider, model(data), time, (&tier, input));
    let rates: Option<(u64, &Rates)> = applied.and_then(|applied| applied.rates);
    let price = |kind| rates.and_then(|(_, rates)| rates.of(kind));
    let line = |(kind, quantity): (Kind, u64)| {
        let price = price(kind);
        CostLine { kind, quantity, price, amount: price.and_then(|price| price.times(quantity)) }
    };
    // A request without a price is free, and no line of its own.
    let lines = quantities.each().filter(|(kind, _)| *kind != Kind::Request || price(*kind).is_some());
    let entry = applied.and_then(|applied| {
        let (layer, entry) = book.entry(&applied.found)?;
        Some(format!("{}: entries[{}] {}", layer.name, applied.found.entry, entry.model))
    });
    CostLines {
        provider: provider.map(str::to_owned),
        model: model(data).to_owned(),
        over: rates.map_or(0, |(over, _)| over),
        tier: tier.into(),
        entry,
        currency: rates.and(applied.map(|applied| applied.currency)),
        lines: lines.map(line).collect(),
        cost: charge(&quantities, rates.map(|(_, rates)| rates)).0,
    }
}
