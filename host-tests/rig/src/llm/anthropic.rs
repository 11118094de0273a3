//! Anthropic's shapes: messages, whole and streamed.
//!
//! Its `input_tokens` leave out what the cache read or wrote. A stream tells the input in `message_start`, with one
//! output token, and the output in `message_delta`, counted from the start.

use super::wire::Answer;
use super::{Asked, Numbers};
use serde_json::{Value, json};

pub(super) fn messages(asked: &Asked<'_>, no_usage: bool) -> Answer {
    if asked.stream() { stream(asked, no_usage) } else { whole(asked, no_usage) }
}

pub(super) fn error(status: u16, serial: u64) -> Value {
    let (kind, message) = match status {
        401 => ("authentication_error", "invalid x-api-key"),
        429 => ("rate_limit_error", "This request would exceed your organization's rate limit."),
        529 => ("overloaded_error", "Overloaded"),
        400..=499 => ("invalid_request_error", "The request body is not valid JSON."),
        _ => ("api_error", "Internal server error"),
    };
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": format!("req_rig{serial:016}")})
}

fn whole(asked: &Asked<'_>, no_usage: bool) -> Answer {
    let mut body = message(asked, json!([{"type": "text", "text": asked.text().concat()}]), json!("end_turn"));
    if !no_usage {
        body["usage"] = usage(asked.numbers, asked.numbers.output);
    }
    Answer::json(&body)
}

fn stream(asked: &Asked<'_>, no_usage: bool) -> Answer {
    let mut start = message(asked, json!([]), Value::Null);
    let mut end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}});
    if !no_usage {
        start["usage"] = usage(asked.numbers, 1);
        end["usage"] = json!({"input_tokens": uncached(asked.numbers),
            "cache_creation_input_tokens": asked.numbers.cache_write,
            "cache_read_input_tokens": asked.numbers.cached, "output_tokens": asked.numbers.output});
    }
    let mut events = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
    ];
    events.extend(
        asked.text().into_iter().map(
            |text| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        ),
    );
    events.extend([json!({"type": "content_block_stop", "index": 0}), end, json!({"type": "message_stop"})]);
    Answer::events(events.iter().map(named).collect())
}

/// An event names its type twice: on the wire and in its data.
fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
}

fn message(asked: &Asked<'_>, content: Value, stop_reason: Value) -> Value {
    json!({"id": format!("msg_rig{:016}", asked.serial), "type": "message", "role": "assistant", "model": asked.model,
        "content": content, "stop_reason": stop_reason, "stop_sequence": null})
}

fn usage(numbers: Numbers, output: u64) -> Value {
    json!({
        "input_tokens": uncached(numbers),
        "cache_creation_input_tokens": numbers.cache_write,
        "cache_read_input_tokens": numbers.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": numbers.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    })
}

fn uncached(numbers: Numbers) -> u64 {
    numbers.input - numbers.cached - numbers.cache_write
}
