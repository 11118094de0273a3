//! Amazon Bedrock's Converse, whole and as an event stream: binary frames with checksums
//! (`application/vnd.amazon.eventstream`). Its `inputTokens` leave out what the cache read or wrote.

use super::wire::Answer;
use super::{Asked, Numbers};
use flate2::Crc;
use serde_json::{Value, json};

pub(super) fn converse(asked: &Asked<'_>, stream: bool, no_usage: bool) -> Answer {
    let usage = if no_usage { Value::Null } else { usage(asked.numbers) };
    if !stream {
        let message = json!({"role": "assistant", "content": [{"text": asked.text().concat()}]});
        let mut body = json!({"output": {"message": message}, "stopReason": "end_turn", "metrics": {"latencyMs": 7}});
        if !no_usage {
            body["usage"] = usage;
        }
        return Answer::json(&body);
    }
    let mut frames = vec![frame("messageStart", &json!({"role": "assistant"}))];
    let delta = |text| frame("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": text}}));
    frames.extend(asked.text().into_iter().map(delta));
    frames.push(frame("contentBlockStop", &json!({"contentBlockIndex": 0})));
    frames.push(frame("messageStop", &json!({"stopReason": "end_turn"})));
    if !no_usage {
        frames.push(frame("metadata", &json!({"usage": usage, "metrics": {"latencyMs": 7}})));
    }
    Answer::parts("application/vnd.amazon.eventstream", frames)
}

fn usage(numbers: Numbers) -> Value {
    json!({
        "inputTokens": numbers.input - numbers.cached - numbers.cache_write,
        "cacheReadInputTokens": numbers.cached,
        "cacheWriteInputTokens": numbers.cache_write,
        "outputTokens": numbers.output,
        "totalTokens": numbers.input + numbers.output,
    })
}

/// Total length, length of the headers, checksum of these two; headers; payload; checksum of everything before.
fn frame(event: &str, payload: &Value) -> Vec<u8> {
    let (mut headers, payload) = (Vec::new(), payload.to_string());
    for (name, value) in [(":event-type", event), (":content-type", "application/json"), (":message-type", "event")] {
        headers.push(u8::try_from(name.len()).unwrap_or_default());
        headers.extend(name.as_bytes());
        headers.push(7);
        headers.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        headers.extend(value.as_bytes());
    }
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or_default().to_be_bytes();
    let mut frame = Vec::with_capacity(16 + headers.len() + payload.len());
    frame.extend(size(16 + headers.len() + payload.len()));
    frame.extend(size(headers.len()));
    frame.extend(crc32(&frame));
    frame.extend(headers);
    frame.extend(payload.as_bytes());
    frame.extend(crc32(&frame));
    frame
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_be_bytes()
}
