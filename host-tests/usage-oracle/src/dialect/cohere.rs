//! Cohere's v2 API: chat and embed.
//!
//! Sources: Cohere API reference, Chat v2: `usage.tokens` are all tokens processed, `usage.billed_units` those that are
//! billed, `usage.cached_tokens` those of the prompt that were cached; a stream ends with `message-end`. How Does Cohere's
//! Pricing Work: prices apply to billed tokens. Embed v2: `meta.billed_units.input_tokens`.
//!
//! Rule: **final beats all**. The usage of `message-end` or of the whole answer. Whether a token that Cohere processes but
//! does not bill is input is open: both pairs are allowed, but no mixture of them. Cached tokens are inside the processed
//! ones.

use super::{Answer, Reading, TokenCounts};
use crate::json::Json;
use crate::wire::Media;

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = Reading::default();
    for value in answer.values() {
        if answer.media == Media::Json {
            reading.words |= value.at(&["message", "content"]).is_some_and(Json::says_something);
            embed(value, &mut reading);
            value.get("usage").into_iter().for_each(|usage| chat(usage, &mut reading));
            continue;
        }
        match value.text(&["type"]).unwrap_or_default() {
            "content-delta" | "tool-plan-delta" | "tool-call-start" | "tool-call-delta" => {
                reading.words |= value.at(&["delta", "message"]).is_some_and(Json::says_something);
            }
            "message-end" => {
                reading.failed |= value.at(&["delta", "error"]).is_some();
                value.at(&["delta", "usage"]).into_iter().for_each(|usage| chat(usage, &mut reading));
            }
            _ => {}
        }
    }
    reading
}

fn chat(usage: &Json, reading: &mut Reading) {
    let cache_read = usage.count(&["cached_tokens"]).unwrap_or(0);
    let pair = |name: &str| Some((usage.count(&[name, "input_tokens"])?, usage.count(&[name, "output_tokens"])?));
    for (input, output) in ["tokens", "billed_units"].into_iter().filter_map(pair) {
        let tally = TokenCounts { input: Some(input), output: Some(output), cache_read, ..TokenCounts::default() };
        if !reading.finals.contains(&tally) {
            reading.finals.push(tally);
        }
    }
}

/// An embedding generates nothing: what is billed is input.
fn embed(value: &Json, reading: &mut Reading) {
    if value.get("embeddings").is_none() {
        return;
    }
    reading.words = true;
    reading.speechless = true;
    if let Some(input) = value.count(&["meta", "billed_units", "input_tokens"]) {
        reading.finals = vec![TokenCounts { input: Some(input), output: Some(0), ..TokenCounts::default() }];
    }
}
