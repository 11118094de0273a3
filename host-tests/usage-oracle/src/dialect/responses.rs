//! OpenAI's Responses, also on Azure OpenAI, xAI, OpenRouter and Vercel.
//!
//! Sources: OpenAI API reference, Responses: `usage` (`input_tokens` with `input_tokens_details.cached_tokens` inside,
//! `output_tokens` with `output_tokens_details.reasoning_tokens` inside, `total_tokens`), statuses, streaming events;
//! Background mode: a `queued` answer is polled and has no usage yet.
//!
//! Rule: **final beats all**. In a stream, only the response inside `response.completed`, `response.incomplete` or
//! `response.failed` is final; earlier events repeat the response without numbers. A whole answer is final unless its
//! status is `queued` or `in_progress`; then nothing has been used yet.

use super::total::{Parts, Settled, settle};
use super::{Answer, Reading, agreed_count};
use crate::json::Json;
use crate::wire::Media;

const FINAL_EVENTS: [&str; 3] = ["response.completed", "response.incomplete", "response.failed"];
const CACHE_READ: [&[&str]; 2] =
    [&["input_tokens_details", "cached_tokens"], &["input_token_details", "cached_tokens"]];
const CACHE_WRITE: [&[&str]; 1] = [&["input_tokens_details", "cache_write_tokens"]];
const REASONING: [&[&str]; 1] = [&["output_tokens_details", "reasoning_tokens"]];

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = Reading::default();
    for document in &answer.documents {
        let value = document.value();
        if answer.media == Media::Json {
            reading.words |= value.get("output").is_some_and(Json::says_something);
            conclude(value, &mut reading);
            continue;
        }
        let kind = value.text(&["type"]).unwrap_or_default();
        reading.failed |= kind == "error" || kind == "response.failed";
        reading.words |= kind.ends_with(".delta") && value.get("delta").is_some_and(Json::says_something);
        if FINAL_EVENTS.contains(&kind) {
            conclude(value.get("response").unwrap_or(&Json::Null), &mut reading);
        }
    }
    reading
}

/// Reads the response object at its end.
fn conclude(response: &Json, reading: &mut Reading) {
    let status = response.text(&["status"]).unwrap_or_default();
    reading.waiting = ["queued", "in_progress"].contains(&status);
    reading.failed |= status == "failed" || response.get("error").is_some();
    if status == "cancelled" {
        reading.open = Some("a cancelled response");
    }
    let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) else {
        return;
    };
    if response.get("output").is_none() && response.text(&["object"]).is_none() {
        return;
    }
    match settled(usage) {
        Ok(Settled::Sure(tally)) => reading.finals = vec![tally],
        Ok(Settled::Guessed(tally)) => {
            reading.finals = vec![tally];
            reading.guessed = true;
        }
        Ok(Settled::Either(_)) => reading.open = Some("a total with parts of unknown side"),
        Ok(Settled::Open(why)) | Err(why) => reading.open = Some(why),
    }
}

/// Reads a usage object with `input_tokens` and `output_tokens`, as Responses, Images and Audio share it.
pub(super) fn settled(usage: &Json) -> Result<Settled, &'static str> {
    let (Some(input), Some(output)) = (usage.count(&["input_tokens"]), usage.count(&["output_tokens"])) else {
        return Err("a usage without its two counts");
    };
    let total = usage.count(&["total_tokens"]);
    if usage.get("total_tokens").is_some() && total.is_none() {
        return Err("a total that is no count");
    }
    Ok(settle(&Parts {
        input,
        output,
        total,
        cache_read: agreed_count(usage, &CACHE_READ)?,
        cache_write: agreed_count(usage, &CACHE_WRITE)?,
        reasoning: agreed_count(usage, &REASONING)?,
        ..Parts::default()
    }))
}
