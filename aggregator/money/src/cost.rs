//! What an event cost, line by line.
//!
//! `input_tokens` holds every input token and `output_tokens` every output token, so that each is divided into parts that
//! do not overlap: first what was written to a cache and read from one, then audio, images and video, as the provider counts
//! them in `details`, and the rest is text. Where the counts contradict each other, a part is cut so that the parts are
//! together what the whole is.
mod lines;
mod quantities;

pub use lines::{CostLine, CostLines, explain};
pub use quantities::quantities;

use weir_contract::{Class, Outcome, Timestamp, UsageData, UsageStatus};
use weir_ledger::amount::Pico;
use weir_ledger::cost::{EventCost, Kind, KindSet, Quantities, TIER_MAX_BYTES, Tariff};

use crate::prices::Book;
use crate::prices::rates::{BATCH, Rates, tier_name};

/// The model that served: the one that answered, or the one that was sent where the provider names none.
pub fn model<'a>(data: &'a UsageData<'_>) -> &'a str {
    data.response_model.as_deref().or(data.request_model.as_deref()).unwrap_or_default()
}

/// The tier that a request is charged under.
fn tier(data: &UsageData<'_>) -> String {
    if data.class == Class::Batch {
        return BATCH.to_owned();
    }
    let mut name = tier_name(data.service_tier.as_deref().unwrap_or_default());
    let end = (0..=TIER_MAX_BYTES.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    name.truncate(end.unwrap_or(0));
    name
}

/// What an event cost by `book`.
pub(crate) fn of_event(book: &Book, time: Timestamp, data: &UsageData<'_>) -> EventCost {
    let quantities = quantities(data);
    let (tier, input) = (tier(data), data.usage.input_tokens.unwrap_or(0));
    let Some(applied) = book.apply(data.provider.as_deref(), model(data), time, (&tier, input)) else {
        let tariff = Tariff { tier: tier.into(), over: 0 };
        return EventCost { unpriced: used(&quantities, &|_| true), quantities, tariff, ..EventCost::default() };
    };
    let (over, rates) = applied.rates.map_or((0, None), |(over, rates)| (over, Some(rates)));
    let (cost, unpriced) = charge(&quantities, rates.as_ref());
    EventCost {
        currency: rates.map(|_| applied.currency),
        cost,
        quantities,
        unpriced,
        tariff: Tariff { tier: tier.into(), over },
    }
}

/// What the sums of an hour cost by `book`: exact, because its prices change at full hours only.
pub(crate) fn of_sums(
    book: &Book,
    time: Timestamp,
    (provider, model): (&str, &str),
    tariff: &Tariff,
    sums: &Quantities,
) -> EventCost {
    let provider = Some(provider).filter(|provider| !provider.is_empty());
    // The context tier that the requests were charged under then: their single sizes are not known any more.
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
    let (cost, unpriced) = charge(sums, rates.as_ref());
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

/// Returns true for requests that a provider charges a price of `per_request` for.
fn is_charged(data: &UsageData<'_>) -> bool {
    data.usage.status != UsageStatus::None || matches!(data.outcome, Outcome::Ok | Outcome::ClientClosed)
}
