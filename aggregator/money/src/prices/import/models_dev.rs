//! models.dev's `api.json`: an object by provider, each with `models`, each with `cost` for a million tokens in dollars.
use weir_ledger::amount::Pico;
use weir_ledger::cost::Kind;

use super::super::entry::{Above, Entry, TokenKind};
use super::{Fields, Imported, number, object, provider};
use std::collections::BTreeMap;

use super::super::decimal::PerMillion;

/// The fields of `cost`.
const COSTS: [(&str, Kind); 7] = [
    ("input", Kind::Input),
    ("output", Kind::Output),
    ("cache_read", Kind::CacheRead),
    ("cache_write", Kind::CacheWrite),
    ("reasoning", Kind::Reasoning),
    ("input_audio", Kind::AudioInput),
    ("output_audio", Kind::AudioOutput),
];
/// The field of `cost` for requests with more than 200,000 tokens of input.
const LONG: (&str, u64) = ("context_over_200k", 200_000);

pub(super) fn read(providers: &Fields<'_>) -> Imported {
    let mut imported = Imported { source: "models.dev", ..Imported::default() };
    for (name, value) in providers {
        let models = object(value).and_then(|of| of.get("models").copied().and_then(object));
        let Some(models) = models else {
            imported.note(name, "a provider without models");
            continue;
        };
        for (model, value) in &models {
            match entry(name, model, object(value).unwrap_or_default(), &mut imported) {
                Some(entry) => imported.entries.push(entry),
                None => imported.note(&format!("{name}/{model}"), "no cost"),
            }
        }
    }
    imported
}

fn entry(of: &str, model: &str, fields: Fields<'_>, imported: &mut Imported) -> Option<Entry> {
    let cost = object(fields.get("cost")?)?;
    let mut entry = Entry::named(Some(provider(of)), model);
    entry.per_million = prices(model, &cost, imported);
    if let Some(long) = cost.get(LONG.0).and_then(|long| object(long)) {
        let per_million = prices(model, &long, imported);
        if !per_million.is_empty() {
            entry.above.push(Above { input_tokens_over: LONG.1, per_million });
        }
    }
    (!entry.per_million.is_empty()).then_some(entry)
}

fn prices(model: &str, cost: &Fields<'_>, imported: &mut Imported) -> BTreeMap<TokenKind, PerMillion> {
    let mut prices = BTreeMap::new();
    for (name, kind) in COSTS {
        let Some(value) = cost.get(name).filter(|value| value.get() != "null") else { continue };
        match number::per_million(value.get()) {
            None => imported.note(model, format!("{name} is negative, too large or no number; it is left out")),
            Some((price, false)) if price.value() == Pico::ZERO => {
                imported.note(model, format!("{name} is so small that it would be rounded to nothing; it is left out"));
            }
            Some((price, exact)) => {
                if !exact {
                    imported.note(model, format!("{name} has more digits than a price can have; it is rounded"));
                }
                prices.insert(TokenKind(kind), price);
            }
        }
    }
    prices
}
