//! OpenAI's shapes: chat completions, whole and streamed, and embeddings.

use super::wire::Answer;
use super::{Asked, Numbers};
use serde_json::{Value, json};

/// A made-up but constant time of creation, unix seconds: answers are to be the same on every run.
const CREATED: u64 = 1_763_000_000;

pub(super) fn chat(asked: &Asked<'_>, no_usage: bool) -> Answer {
    if asked.stream() { chat_stream(asked, no_usage) } else { chat_whole(asked, no_usage) }
}

pub(super) fn embeddings(asked: &Asked<'_>, no_usage: bool) -> Answer {
    let inputs = asked.body["input"].as_array().map_or(1, Vec::len);
    let data: Vec<Value> = (0..inputs)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": [0.0078125, -0.015625, 0.03125]}))
        .collect();
    let mut body = json!({"object": "list", "data": data, "model": asked.model});
    if !no_usage {
        let tokens = asked.numbers.input;
        body["usage"] = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    }
    Answer::json(&body)
}

pub(super) fn error(status: u16) -> Value {
    let (kind, code, message) = match status {
        401 => ("invalid_request_error", json!("invalid_api_key"), "Incorrect API key provided."),
        429 => ("requests", json!("rate_limit_exceeded"), "Rate limit reached for requests per min."),
        400..=499 => ("invalid_request_error", Value::Null, "We could not parse the JSON body of your request."),
        _ => ("server_error", Value::Null, "The server had an error while processing your request."),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

fn chat_whole(asked: &Asked<'_>, no_usage: bool) -> Answer {
    let choices: Vec<Value> = choices(asked)
        .map(|index| {
            json!({"index": index, "logprobs": null, "finish_reason": "stop",
                "message": {"role": "assistant", "content": asked.text().concat(), "refusal": null, "annotations": []}})
        })
        .collect();
    let mut body = json!({"id": id(asked), "object": "chat.completion", "created": CREATED, "model": asked.model,
        "choices": choices, "service_tier": "default", "system_fingerprint": "fp_rig"});
    if !no_usage {
        body["usage"] = usage(asked.numbers);
    }
    Answer::json(&body)
}

/// With `include_usage`, every event has a `usage` field: null until the last one, which has no choices.
fn chat_stream(asked: &Asked<'_>, no_usage: bool) -> Answer {
    let include_usage = asked.body["stream_options"]["include_usage"] == json!(true) && !no_usage;
    let event = |choices: Value, usage: Value| {
        let mut event = json!({"id": id(asked), "object": "chat.completion.chunk", "created": CREATED,
            "model": asked.model, "service_tier": "default", "system_fingerprint": "fp_rig", "choices": choices});
        if include_usage {
            event["usage"] = usage;
        }
        format!("data: {event}\n\n")
    };
    let delta = |index: u64, delta: Value, finish: Value| {
        let choice = json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        event(choice, Value::Null)
    };
    let mut events = Vec::new();
    for index in choices(asked) {
        events.push(delta(index, json!({"role": "assistant", "content": "", "refusal": null}), Value::Null));
        events.extend(asked.text().into_iter().map(|text| delta(index, json!({"content": text}), Value::Null)));
        events.push(delta(index, json!({}), json!("stop")));
    }
    if include_usage {
        events.push(event(json!([]), usage(asked.numbers)));
    }
    events.push("data: [DONE]\n\n".to_owned());
    Answer::events(events)
}

fn usage(numbers: Numbers) -> Value {
    json!({
        "prompt_tokens": numbers.input,
        "completion_tokens": numbers.output,
        "total_tokens": numbers.input + numbers.output,
        "prompt_tokens_details": {"cached_tokens": numbers.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": numbers.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    })
}

fn choices(asked: &Asked<'_>) -> std::ops::Range<u64> {
    0..asked.body["n"].as_u64().unwrap_or(1).max(1)
}

fn id(asked: &Asked<'_>) -> String {
    format!("chatcmpl-rig{:016}", asked.serial)
}
