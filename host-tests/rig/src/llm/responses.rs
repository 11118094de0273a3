//! OpenAI's Responses API, whole and streamed: the last event holds the whole response, usage included.

use super::wire::Answer;
use super::{Asked, Numbers};
use serde_json::{Value, json};

pub(super) fn responses(asked: &Asked<'_>, no_usage: bool) -> Answer {
    let whole = response(asked, "completed", no_usage);
    if !asked.stream() {
        return Answer::json(&whole);
    }
    let event = |body: Value| format!("event: {}\ndata: {body}\n\n", body["type"].as_str().unwrap_or_default());
    let delta =
        |text| json!({"type": "response.output_text.delta", "item_id": "msg_rig", "output_index": 0, "delta": text});
    let mut started = response(asked, "in_progress", true);
    started["usage"] = Value::Null;
    let mut events = vec![event(json!({"type": "response.created", "response": started}))];
    events.extend(asked.text().into_iter().map(|text| event(delta(text))));
    events
        .push(event(json!({"type": "response.output_text.done", "item_id": "msg_rig", "text": asked.text().concat()})));
    events.push(event(json!({"type": "response.completed", "response": whole})));
    Answer::events(events)
}

fn response(asked: &Asked<'_>, status: &str, no_usage: bool) -> Value {
    let text = if status == "completed" { asked.text().concat() } else { String::new() };
    let mut response = json!({"id": format!("resp_rig{:016}", asked.serial), "object": "response", "status": status,
        "model": asked.model, "service_tier": "default",
        "output": [{"type": "message", "id": "msg_rig", "content": [{"type": "output_text", "text": text}]}]});
    if !no_usage {
        response["usage"] = usage(asked.numbers);
    }
    response
}

fn usage(numbers: Numbers) -> Value {
    json!({
        "input_tokens": numbers.input,
        "input_tokens_details": {"cached_tokens": numbers.cached},
        "output_tokens": numbers.output,
        "output_tokens_details": {"reasoning_tokens": numbers.reasoning},
        "total_tokens": numbers.input + numbers.output,
    })
}
