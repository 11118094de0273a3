//! Google's `generateContent` and Interactions, on the Gemini API and on Vertex AI.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::{Event, Framed};
use super::{Draft, Truth};
use crate::exchange::Dialect;
use crate::json::Json;

const GEMINI: &str = "generativelanguage.googleapis.com";
const VERTEX: &str = "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash";

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice).without_cache_write();
    if dice.one_in(4) {
        return interaction(&numbers, dice);
    }
    let parts = vec![obj! { "text": dice.words() }];
    let request = obj! { "contents": vec![obj! { "role": "user", "parts": parts }] };
    let (host, model) = match dice.one_in(3) {
        true => ("us-central1-aiplatform.googleapis.com", VERTEX),
        false => (GEMINI, "/v1beta/models/gemini-2.5-flash"),
    };
    let usage = usage(&numbers, dice);
    let truth = Truth::of(&numbers);
    let (path, answer) = match dice.below(4) {
        0 | 1 => {
            let document = chunk(&dice.words(), true, Some(usage), dice);
            (format!("{model}:generateContent"), Framed::Json(document))
        }
        2 => (format!("{model}:streamGenerateContent"), Framed::Array(chunks(&numbers, usage, dice))),
        _ => {
            let events = chunks(&numbers, usage, dice).into_iter().map(Event::json).collect();
            (format!("{model}:streamGenerateContent?alt=sse"), Framed::Sse(events))
        }
    };
    Draft::inference(Dialect::Gemini, host, &path, request, answer, truth)
}

/// Zeros are left out, as Protocol Buffers leave them out.
fn usage(numbers: &Numbers, dice: &mut Dice) -> Json {
    let tools = if dice.one_in(5) { dice.below(numbers.fresh) } else { 0 };
    let prompt = numbers.input() - tools;
    let detail = obj! { "modality": "TEXT", "tokenCount": prompt };
    obj! { "promptTokenCount": prompt }
        .with_count("candidatesTokenCount", numbers.visible)
        .with_count("toolUsePromptTokenCount", tools)
        .with_count("cachedContentTokenCount", numbers.cache_read.min(prompt))
        .with_count("thoughtsTokenCount", numbers.reasoning)
        .with("totalTokenCount", numbers.total())
        .with("promptTokensDetails", vec![detail])
}

fn chunk(words: &str, last: bool, usage: Option<Json>, dice: &mut Dice) -> Json {
    let mut part = obj! { "text": words };
    if dice.one_in(6) {
        part = part.with("thoughtSignature", dice.base64());
    }
    let mut candidate = obj! { "content": obj! { "role": "model", "parts": vec![part] }, "index": 0 };
    if last {
        candidate = candidate.with("finishReason", "STOP");
    }
    let chunk = obj! { "candidates": vec![candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r" };
    match usage {
        Some(usage) => chunk.with("usageMetadata", usage),
        None => chunk,
    }
}

/// Snapshots of a running request; earlier ones may have more members than later ones.
fn chunks(numbers: &Numbers, usage: Json, dice: &mut Dice) -> Vec<Json> {
    let mut chunks = Vec::new();
    for (place, piece) in dice.pieces().into_iter().enumerate() {
        let so_far = place as u64 + 1;
        let snapshot = match dice.below(4) {
            0 => None,
            1 => Some(obj! { "promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0 }),
            _ => Some(obj! {
                "promptTokenCount": numbers.fresh,
                "candidatesTokenCount": so_far,
                "thoughtsTokenCount": 3,
                "cachedContentTokenCount": numbers.fresh / 2,
                "totalTokenCount": numbers.fresh + so_far + 3,
            }),
        };
        chunks.push(chunk(&piece, false, snapshot, dice));
    }
    let last = chunk("", true, Some(usage), dice);
    chunks.push(last);
    chunks
}

fn interaction(numbers: &Numbers, dice: &mut Dice) -> Draft {
    let tools = if dice.one_in(4) { dice.below(numbers.fresh) } else { 0 };
    let usage = obj! {
        "total_tokens": numbers.total(),
        "total_input_tokens": numbers.input() - tools,
        "total_cached_tokens": numbers.cache_read,
        "total_output_tokens": numbers.visible,
        "total_tool_use_tokens": tools,
        "total_thought_tokens": numbers.reasoning,
    };
    let request = obj! { "model": "gemini-2.5-flash", "input": dice.words() };
    let text = obj! { "type": "text", "text": dice.words() };
    let steps = vec![obj! { "type": "model_output", "content": vec![text] }];
    let done =
        |usage| obj! { "id": "i1", "object": "interaction", "status": "completed", "steps": steps, "usage": usage };
    let path = "/v1beta/interactions";
    if dice.one_in(2) {
        let answer = Framed::Json(done(usage));
        return Draft::inference(Dialect::Interactions, GEMINI, path, request, answer, Truth::of(numbers));
    }
    let created = obj! { "id": "i1", "status": "in_progress" };
    let mut events = vec![obj! { "event_type": "interaction.created", "interaction": created }];
    for piece in dice.pieces() {
        let delta = obj! { "type": "text", "text": piece };
        events.push(obj! { "event_type": "step.delta", "index": 0, "delta": delta });
    }
    events.push(obj! { "event_type": "interaction.completed", "interaction": done(usage) });
    let mut events: Vec<_> = events.into_iter().map(Event::json).collect();
    events.push(Event::done());
    let request = request.with("stream", true);
    Draft::inference(Dialect::Interactions, GEMINI, path, request, Framed::Sse(events), Truth::of(numbers))
}
