//! Anthropic's Messages, on its own API and on Vertex AI.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::{Event, Framed};
use super::{Draft, Truth};
use crate::exchange::Dialect;
use crate::json::Json;

const VERTEX: &str = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5";

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice);
    let stream = dice.one_in(2);
    let vertex = dice.one_in(5);
    let verb = if stream { "streamRawPredict" } else { "rawPredict" };
    let (host, path) = match vertex {
        true => ("us-east5-aiplatform.googleapis.com", format!("{VERTEX}:{verb}")),
        false => ("api.anthropic.com", "/v1/messages".to_owned()),
    };
    let mut request = obj! { "model": "claude-sonnet-4-5", "max_tokens": 1024, "messages": dice.messages() };
    let (answer, truth) = if stream {
        request = request.with("stream", true);
        let documents = events(&numbers, dice);
        (Framed::Sse(documents.into_iter().map(Event::typed).collect()), Truth::of(&numbers))
    } else {
        let (message, truth) = whole(&numbers, dice);
        (Framed::Json(message), truth)
    };
    Draft::inference(Dialect::Anthropic, host, &path, request, answer, truth)
}

/// The counts of a usage, with the caches beside the input.
fn usage(numbers: &Numbers) -> Json {
    obj! {
        "input_tokens": numbers.fresh,
        "cache_creation_input_tokens": numbers.cache_write,
        "cache_read_input_tokens": numbers.cache_read,
        "output_tokens": numbers.output(),
    }
}

fn with_thinking(usage: Json, numbers: &Numbers) -> Json {
    let details = obj! { "thinking_tokens": numbers.reasoning };
    if numbers.reasoning > 0 { usage.with("output_tokens_details", details) } else { usage }
}

/// A whole message; some were compacted on the way.
pub(super) fn whole(numbers: &Numbers, dice: &mut Dice) -> (Json, Truth) {
    let text = obj! { "type": "text", "text": dice.words() };
    let thinking = obj! { "type": "thinking", "thinking": "", "signature": dice.base64() };
    let content = if numbers.reasoning > 0 { vec![thinking, text] } else { vec![text] };
    let mut usage = with_thinking(usage(numbers), numbers);
    let mut meant = *numbers;
    if dice.one_in(8) {
        let (input, output) = (dice.count(), dice.count());
        let compaction = obj! { "type": "compaction", "input_tokens": input, "output_tokens": output };
        let message = obj! { "type": "message", "input_tokens": numbers.fresh, "output_tokens": numbers.output() };
        usage = usage.with("iterations", vec![compaction, message]);
        meant = Numbers { fresh: numbers.fresh + input, visible: numbers.visible + output, ..*numbers };
    }
    let message = obj! {
        "id": dice.id("msg_"), "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": content, "stop_reason": "end_turn", "usage": usage,
    };
    (message, Truth::of(&meant))
}

/// The documents of a stream, in the ways in which Anthropic and its imitators split the counts between two events.
pub(super) fn events(numbers: &Numbers, dice: &mut Dice) -> Vec<Json> {
    let first = |input: u64| {
        obj! {
            "input_tokens": input,
            "cache_creation_input_tokens": numbers.cache_write,
            "cache_read_input_tokens": numbers.cache_read,
            "output_tokens": 1,
        }
    };
    let output = obj! { "output_tokens": numbers.output() };
    let (start, last) = match dice.below(5) {
        // All input at the start, or all of it again at the end.
        0 => (first(numbers.fresh), output),
        1 => (first(numbers.fresh), usage(numbers)),
        // A placeholder at the start, or one at the end.
        2 => (first(0), usage(numbers)),
        3 => (first(numbers.fresh), obj! { "input_tokens": 0, "output_tokens": numbers.output() }),
        // Server tools make the input grow.
        _ => (first(1.max(numbers.fresh / 2)), usage(numbers)),
    };
    let message = obj! {
        "id": dice.id("msg_"), "type": "message", "role": "assistant", "content": vec![], "usage": start,
    };
    let mut events = vec![obj! { "type": "message_start", "message": message }];
    if dice.one_in(10) {
        events.push(events[0].clone());
    }
    let block = obj! { "type": "text", "text": "" };
    events.push(obj! { "type": "content_block_start", "index": 0, "content_block": block });
    for piece in dice.pieces() {
        let delta = obj! { "type": "text_delta", "text": piece };
        events.push(obj! { "type": "content_block_delta", "index": 0, "delta": delta });
        if dice.one_in(6) {
            events.push(obj! { "type": "ping" });
        }
    }
    events.push(obj! { "type": "content_block_stop", "index": 0 });
    if dice.one_in(8) {
        // Cumulative counts may be repeated.
        let running = obj! { "output_tokens": 1.max(numbers.output() / 2) };
        events.push(obj! { "type": "message_delta", "delta": obj! { "stop_reason": Json::Null }, "usage": running });
    }
    let last = with_thinking(last, numbers);
    events.push(obj! { "type": "message_delta", "delta": obj! { "stop_reason": "end_turn" }, "usage": last });
    events.push(obj! { "type": "message_stop" });
    events
}
