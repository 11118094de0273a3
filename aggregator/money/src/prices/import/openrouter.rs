//! OpenRouter's list of models, `/api/v1/models`: `data`, each with `pricing` of single tokens and units as texts in dollars.
use serde_json::value::RawValue;
use weir_ledger::cost::Kind;

use super::super::entry::{Entry, TokenKind};
use super::{Fields, Imported, number, object, text};

/// Fields of `pricing` for tokens.
const TOKENS: [(&str, Kind); 6] = [
    ("prompt", Kind::Input),
    ("completion", Kind::Output),
    ("input_cache_read", Kind::CacheRead),
    ("input_cache_write", Kind::CacheWrite),
    ("internal_reasoning", Kind::Reasoning),
    ("audio", Kind::AudioInput),
];
/// The provider's name in events.
const OPENROUTER: &str = "openrouter";

pub(super) fn read(list: &Fields<'_>) -> Result<Imported, String> {
    let mut imported = Imported { source: "OpenRouter", ..Imported::default() };
    let data = list.get("data").map_or("[]", |data| data.get());
    let models: Vec<&RawValue> = serde_json::from_str(data).map_err(|error| format!("data: {error}"))?;
    for (number, value) in models.into_iter().enumerate() {
        let fields = object(value).unwrap_or_default();
        let Some(id) = fields.get("id").and_then(|id| text(id)) else {
            imported.note(&format!("data[{number}]"), "no id");
            continue;
        };
        match entry(&id, &fields, &mut imported) {
            Some(entry) => imported.entries.push(entry),
            None => imported.note(&id, "no fixed prices"),
        }
    }
    Ok(imported)
}

/// None for models whose prices vary: their numbers are negative.
fn entry(id: &str, fields: &Fields<'_>, imported: &mut Imported) -> Option<Entry> {
    let pricing = object(fields.get("pricing")?)?;
    let mut entry = Entry::named(Some(OPENROUTER), id);
    for (name, kind) in TOKENS {
        let Some(value) = pricing.get(name) else { continue };
        let (price, exact) = number::per_token(value.get())?;
        if !exact && price.value() == weir_ledger::amount::Pico::ZERO {
            imported.note(id, format!("{name} is so small that it would be rounded to nothing; it is left out"));
            continue;
        }
        if !exact {
            imported.note(id, format!("{name} has more digits than a price can have; it is rounded"));
        }
        // Zero stands for units that the model does not have; reasoning and caches then cost as their parents.
        if price.value() > weir_ledger::amount::Pico::ZERO || matches!(kind, Kind::Input | Kind::Output) {
            entry.per_million.insert(TokenKind(kind), price);
        }
    }
    if pricing
        .get("image")
        .and_then(|price| number::per_unit(price.get()))
        .is_some_and(|(price, _)| price.value().0 > 0)
    {
        imported.note(id, "a price of images sent, which weir does not count; it is left out");
    }
    let unit = |name: &str| {
        let (price, _) = number::per_unit(pricing.get(name)?.get())?;
        (price.value() > weir_ledger::amount::Pico::ZERO).then_some(price)
    };
    (entry.per_request, entry.per_search) = (unit("request"), unit("web_search"));
    (!entry.per_million.is_empty()).then_some(entry)
}
