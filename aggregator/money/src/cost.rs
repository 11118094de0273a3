//! What an event cost, line by line. The ledger divides its usage into units ([`quantities`]); a book prices them.
mod lines;

pub use lines::{CostLine, CostLines, explain};
pub use weir_ledger::cost::quantities;

use std::sync::Arc;

use weir_contract::{Timestamp, UsageData};
use weir_ledger::amount::Pico;
use weir_ledger::cost::{EventCost, Kind, KindSet, Pricing, Quantities, Tariff};

use crate::prices::Book;
use crate::prices::Rates;

/// The model that served: the one that answered, or the one that was sent where the provider names none.
pub fn model<'a>(data: &'a UsageData<'_>) -> &'a str {
    data.response_model.as_deref().or(data.request_model.as_deref()).unwrap_or_default()
}

/// Reads a book that the ledger kept as text.
pub fn read_book(text: &str) -> Result<Arc<dyn Pricing>, String> {
    Ok(Arc::new(Book::read(text)?))
}

impl Pricing for Book {
    fn cost(&self, time: Timestamp, data: &UsageData<'_>) -> EventCost {
        of_event(self, time, data)
    }

    fn cost_of(&self, time: Timestamp, provider: &str, model: &str, tariff: &Tariff, sums: &Quantities) -> EventCost {
        of_sums(self, time, (provider, model), tariff, sums)
    }

    fn text(&self) -> &str {
        Book::text(self)
    }
}

/// What an event cost by `book`.
fn of_event(book: &Book, time: Timestamp, data: &UsageData<'_>) -> EventCost {
    let (quantities, tariff) = (quantities(data), Tariff::of(data));
    if !data.paid_by.is_house() {
        // The tenant's own contract: nothing is charged to the operator, and nothing lacks a price.
        return EventCost { quantities, tariff, ..EventCost::default() };
    }
    let input = data.usage.input_tokens.unwrap_or(0);
    let Some(applied) = book.apply(data.provider.as_deref(), model(data), time, (&tariff.tier, input)) else {
        return EventCost { unpriced: used(&quantities, &|_| true), quantities, tariff, ..EventCost::default() };
    };
    let (begins, rates) = applied.rates.map_or((0, None), |(begins, rates)| (begins, Some(rates)));
    let (cost, unpriced) = charge(&quantities, rates);
    let tariff = Tariff { over: tariff.over.max(begins), ..tariff };
    EventCost { currency: rates.map(|_| applied.currency), cost, quantities, unpriced, tariff }
}

/// What the sums of an hour cost by `book`: exact, because its prices change at full hours only.
fn of_sums(
    book: &Book,
    time: Timestamp,
    (provider, model): (&str, &str),
    tariff: &Tariff,
    sums: &Quantities,
) -> EventCost {
    let provider = Some(provider).filter(|provider| !provider.is_empty());
    // One token more than the step that they exceed: their single sizes are not known any more.
    let input = if tariff.over == 0 { 0 } else { tariff.over + 1 };
    let Some(applied) = book.apply(provider, model, time, (&tariff.tier, input)) else {
        return EventCost {
            unpriced: used(sums, &|_| true),
            quantities: *sums,
            tariff: tariff.clone(),
            ..EventCost::default()
        };
    };
    let rates = applied.rates.map(|(_, rates)| rates);
    let (cost, unpriced) = charge(sums, rates);
    EventCost { currency: rates.map(|_| applied.currency), cost, quantities: *sums, unpriced, tariff: tariff.clone() }
}

/// The amount for quantities, and the kinds among them without a price.
fn charge(quantities: &Quantities, rates: Option<&Rates>) -> (Pico, KindSet) {
    let rate = |kind| rates.and_then(|rates| rates.of(kind));
    let amounts = quantities.each().filter_map(|(kind, quantity)| rate(kind)?.times(quantity));
    (amounts.sum(), used(quantities, &|kind| rate(kind).is_none()))
}

/// The kinds that were used and that `lacks` chooses. A request is free where it has no price; images, seconds and
/// characters are where tokens were counted for them.
fn used(quantities: &Quantities, lacks: &dyn Fn(Kind) -> bool) -> KindSet {
    let tokens = quantities.each().any(|(kind, _)| kind.is_token());
    let mut kinds = KindSet::default();
    for (kind, _) in quantities.each() {
        let free = kind == Kind::Request || tokens && matches!(kind, Kind::Image | Kind::Second | Kind::Character);
        if !free && lacks(kind) {
            kinds.insert(kind);
        }
    }
    kinds
}
