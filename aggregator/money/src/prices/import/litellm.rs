//! LiteLLM's price map, `model_prices_and_context_window.json`: an object by model, with prices of single tokens.
//!
//! A field's name is a unit, `input_cost_per_token` say, then `_above_200k_tokens` for a context tier, then `_flex`,
//! `_priority` or `_batches` for a service tier.
use std::collections::BTreeMap;

use weir_ledger::amount::Pico;
use weir_ledger::cost::Kind;

use super::super::decimal::{PerMillion, PerUnit};
use super::super::entry::{Above, Entry, Prices, TierPrices, TokenKind};
use super::{Fields, Imported, number, object, provider, text};

/// Units of tokens.
const TOKENS: [(&str, Kind); 14] = [
    ("input_cost_per_token", Kind::Input),
    ("output_cost_per_token", Kind::Output),
    ("cache_read_input_token_cost", Kind::CacheRead),
    ("cache_creation_input_token_cost", Kind::CacheWrite),
    ("cache_creation_input_token_cost_above_1hr", Kind::CacheWrite1h),
    ("input_cost_per_audio_token", Kind::AudioInput),
    ("cache_read_input_audio_token_cost", Kind::AudioCacheRead),
    ("input_cost_per_image_token", Kind::ImageInput),
    ("cache_read_input_image_token_cost", Kind::ImageCacheRead),
    ("input_cost_per_video_token", Kind::VideoInput),
    ("output_cost_per_reasoning_token", Kind::Reasoning),
    ("output_cost_per_audio_token", Kind::AudioOutput),
    ("output_cost_per_image_token", Kind::ImageOutput),
    ("output_cost_per_video_token", Kind::VideoOutput),
];
/// Other units.
const UNITS: [(&str, Kind); 6] = [
    ("input_cost_per_request", Kind::Request),
    ("output_cost_per_image", Kind::Image),
    ("input_cost_per_query", Kind::Search),
    ("ocr_cost_per_page", Kind::Page),
    ("input_cost_per_second", Kind::Second),
    ("input_cost_per_character", Kind::Character),
];
/// Suffixes of service tiers, with the tier's name.
const TIERS: [(&str, &str); 3] = [("_batches", "batch"), ("_flex", "flex"), ("_priority", "priority")];
/// The entry that explains the fields.
const SAMPLE: &str = "sample_spec";
/// Providers of whose models the list has several, for regions or sizes of images: `eu/gpt-4o`. Elsewhere a `/` is part of the name
/// that an answer has, as in `meta-llama/Llama-3.3-70B-Instruct`.
const BY_PLACE: [&str; 8] =
    ["azure", "azure_ai", "azure_text", "bedrock", "bedrock_converse", "bedrock_mantle", "openai", "xai"];
/// Of Google's second platform, whose names in the list say where they are asked for.
const VERTEX: &str = "vertex_ai";
/// What stands before names of models there. Those of Anthropic are asked for, and named in events, without it: `claude-sonnet-4@20250514`.
const AT_VERTEX: &str = "vertex_ai/";
/// What the list calls Anthropic's models there.
const ANTHROPIC_AT_VERTEX: &str = "vertex_ai-anthropic_models";

/// What a field's name means.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    tier: &'static str,
    over: u64,
    kind: Kind,
}

pub(super) fn read(models: &Fields<'_>) -> Imported {
    let mut imported = Imported { source: "LiteLLM", ..Imported::default() };
    // Of Google's two platforms, the one with keys comes first.
    let later = |fields: &Fields<'_>| fields.get("litellm_provider").is_some_and(|of| of.get().contains("vertex"));
    let mut all: Vec<(&String, Fields<'_>)> = Vec::new();
    for (name, value) in models.iter().filter(|(name, _)| *name != SAMPLE) {
        match object(value) {
            Some(fields) => all.push((name, fields)),
            None => imported.note(name, "not an object"),
        }
    }
    all.sort_by_key(|(_, fields)| later(fields));
    for (name, fields) in all {
        match entry(name, &fields, &mut imported) {
            Ok(entry) => imported.entries.push(entry),
            Err(reason) => imported.note(name, reason),
        }
    }
    imported
}

fn entry(name: &str, fields: &Fields<'_>, imported: &mut Imported) -> Result<Entry, &'static str> {
    let of = fields.get("litellm_provider").and_then(|value| text(value)).ok_or("no provider")?;
    let short = name.strip_prefix(&format!("{of}/")).unwrap_or(name);
    let short = short.strip_prefix(&format!("{}/", provider(&of))).unwrap_or(short);
    let short = if of == ANTHROPIC_AT_VERTEX { short.strip_prefix(AT_VERTEX).unwrap_or(short) } else { short };
    if short.contains('/') && (BY_PLACE.contains(&of.as_str()) || of.starts_with(VERTEX)) {
        return Err("a name with a region or a size, which no answer has");
    }
    let mut tiers: BTreeMap<&str, BTreeMap<u64, BTreeMap<Kind, String>>> = BTreeMap::new();
    for (field, value) in fields {
        if let Some(Name { tier, over, kind }) = parse(field) {
            tiers.entry(tier).or_default().entry(over).or_default().insert(kind, value.get().to_owned());
        }
    }
    if let Some(search) = fields.get("search_context_cost_per_query").and_then(|value| object(value))
        && let Some(price) = search.get("search_context_size_medium")
    {
        tiers.entry("").or_default().entry(0).or_default().insert(Kind::Search, price.get().to_owned());
    }
    let mut entry = Entry::named(Some(provider(&of)), short);
    let mut own = prices(name, tiers.remove("").unwrap_or_default(), imported);
    if own.per_million.contains_key(&TokenKind(Kind::ImageOutput)) {
        // The same price in another unit: images whose tokens are counted would be charged twice.
        own.per_image = None;
    }
    entry.set_prices(own);
    if entry.prices().is_empty() {
        return Err("no price in a unit that weir counts");
    }
    for (tier, given) in tiers {
        let prices = prices(name, given, imported);
        match tier {
            _ if prices.is_empty() => {}
            "batch" => entry.batch = Some(TierPrices::Prices(Box::new(prices))),
            _ => _ = entry.service_tier.insert(tier.to_owned(), TierPrices::Prices(Box::new(prices))),
        }
    }
    Ok(entry)
}

/// Reads a field's name. None if it is no price that weir knows.
fn parse(field: &str) -> Option<Name> {
    let with_tier = TIERS.iter().find_map(|(suffix, tier)| Some((field.strip_suffix(suffix)?, *tier)));
    let (rest, tier) = with_tier.unwrap_or((field, ""));
    let with_context = rest.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_"));
    let (unit, over) = match with_context {
        Some((unit, thousands)) => (unit, thousands.parse::<u64>().ok()? * 1_000),
        None => (rest, 0),
    };
    let tokens = TOKENS.iter().find(|(name, _)| *name == unit);
    let units = UNITS.iter().find(|(name, _)| *name == unit && over == 0);
    let (_, kind) = tokens.or(units)?;
    Some(Name { tier, over, kind: *kind })
}

fn prices(model: &str, given: BTreeMap<u64, BTreeMap<Kind, String>>, imported: &mut Imported) -> Prices {
    let mut prices = Prices::default();
    for (over, kinds) in given {
        let mut per_million = BTreeMap::new();
        for (kind, value) in kinds {
            if kind.is_token() {
                if let Some(price) = taken(model, number::per_token(&value), &value, imported, PerMillion::value) {
                    per_million.insert(TokenKind(kind), price);
                }
            } else if let Some(price) = taken(model, number::per_unit(&value), &value, imported, PerUnit::value) {
                set_unit(&mut prices, kind, price);
            }
        }
        match over {
            0 => prices.per_million = per_million,
            _ if per_million.is_empty() => {}
            _ => prices.above.push(Above { input_tokens_over: over, per_million }),
        }
    }
    prices
}

/// A price that can be used. One that is no price, or that only rounding makes free, is left out.
fn taken<T: Copy>(
    model: &str,
    price: Option<number::Price<T>>,
    written: &str,
    imported: &mut Imported,
    value: impl Fn(T) -> Pico,
) -> Option<T> {
    match price {
        Some((price, true)) => Some(price),
        Some((price, false)) if value(price) == Pico::ZERO => {
            imported.note(model, "a price so small that it would be rounded to nothing; it is left out");
            None
        }
        Some((price, false)) => {
            imported.note(model, "a price has more digits than one can have; it is rounded");
            Some(price)
        }
        None => {
            if written != "null" {
                imported.note(model, "a price is negative, too large or no number; it is left out");
            }
            None
        }
    }
}

fn set_unit(prices: &mut Prices, kind: Kind, price: super::super::decimal::PerUnit) {
    let place = match kind {
        Kind::Request => &mut prices.per_request,
        Kind::Image => &mut prices.per_image,
        Kind::Search => &mut prices.per_search,
        Kind::Page => &mut prices.per_page,
        Kind::Second => &mut prices.per_second,
        Kind::Character => &mut prices.per_character,
        _ => return,
    };
    *place = Some(price);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_by_unit_context_and_tier() {
        let name = |tier, over, kind| Some(Name { tier, over, kind });
        let cases = [
            ("input_cost_per_token", name("", 0, Kind::Input)),
            ("output_cost_per_token_above_200k_tokens_priority", name("priority", 200_000, Kind::Output)),
            ("cache_creation_input_token_cost_above_1hr", name("", 0, Kind::CacheWrite1h)),
            ("cache_creation_input_token_cost_above_1hr_above_200k_tokens", name("", 200_000, Kind::CacheWrite1h)),
            ("input_cost_per_token_batches", name("batch", 0, Kind::Input)),
            ("output_cost_per_token_balanced", None),
            ("max_tokens", None),
        ];
        for (field, expected) in cases {
            assert_eq!(parse(field), expected, "{field}");
        }
    }
}
