//! Cohere's chat (v2) and Ollama's own chat, whole and streamed. Neither knows cached or reasoning tokens.

use super::Asked;
use super::wire::Answer;
use serde_json::{Value, json};

/// Cohere: usage stands in `message-end`, billed units beside the tokens.
pub(super) fn cohere(asked: &Asked<'_>, no_usage: bool) -> Answer {
    let (input, output) = (asked.numbers.input, asked.numbers.output);
    let usage = json!({"billed_units": {"input_tokens": input, "output_tokens": output},
        "tokens": {"input_tokens": input, "output_tokens": output}});
    let id = format!("rig-{:016}", asked.serial);
    if !asked.stream() {
        let message = json!({"role": "assistant", "content": [{"type": "text", "text": asked.text().concat()}]});
        let mut body = json!({"id": id, "finish_reason": "COMPLETE", "message": message});
        if !no_usage {
            body["usage"] = usage;
        }
        return Answer::json(&body);
    }
    let delta = |text| json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}});
    let mut end = json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}});
    if !no_usage {
        end["delta"]["usage"] = usage;
    }
    let mut events = vec![json!({"type": "message-start", "id": id, "delta": {"message": {"role": "assistant"}}})];
    events.extend(asked.text().into_iter().map(delta));
    events.push(end);
    let named = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    Answer::events(events.iter().map(named).collect())
}

/// Ollama streams unless it is told not to: one JSON document a line, the last one with the counts.
pub(super) fn ollama(asked: &Asked<'_>, no_usage: bool) -> Answer {
    let line = |text: String, done: bool| {
        let mut line = json!({"model": asked.model, "created_at": "2026-11-21T03:14:15Z",
            "message": {"role": "assistant", "content": text}, "done": done});
        if done {
            line["done_reason"] = json!("stop");
            line["total_duration"] = json!(7_000_000);
        }
        if done && !no_usage {
            (line["prompt_eval_count"], line["eval_count"]) = (json!(asked.numbers.input), json!(asked.numbers.output));
        }
        line
    };
    if asked.body["stream"] == json!(false) {
        return Answer::json(&line(asked.text().concat(), true));
    }
    let pieces = asked.text().into_iter().map(|text| line(text, false));
    let lines = pieces.chain([line(String::new(), true)]).map(|line| format!("{line}\n"));
    Answer::parts("application/x-ndjson", lines.collect::<Vec<_>>())
}
