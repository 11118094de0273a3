//! Ollama's own API: chat, generate, embed.
//!
//! Sources: Ollama, API (`docs/api.md`): answers are streams of JSON objects unless `stream` is false; the final one has
//! `done: true`, `prompt_eval_count` ("number of tokens in the prompt") and `eval_count` ("number of tokens in the
//! response"). `/api/embed` has `prompt_eval_count` only.
//!
//! Rule: **final beats all**. Only the object with `done: true` has numbers. `prompt_eval_cached_count` is a part of the
//! prompt. A final object without `prompt_eval_count` leaves the input unknown.

use super::{Answer, Reading, TokenCounts};
use crate::json::Json;

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = Reading::default();
    for value in answer.values() {
        reading.failed |= value.get("error").is_some();
        let said = [value.get("response"), value.get("thinking"), value.get("message")].into_iter().flatten();
        let words = |part: &Json| match part {
            Json::Text(text) => !text.is_empty(),
            message => ["content", "thinking", "tool_calls"]
                .iter()
                .any(|name| message.get(name).is_some_and(Json::says_something)),
        };
        reading.words |= said.into_iter().any(words);
        let embedding = value.get("embeddings").is_some() || value.get("embedding").is_some();
        if embedding {
            reading.words = true;
            reading.speechless = true;
        }
        if !embedding && value.get("done") != Some(&Json::Bool(true)) {
            continue;
        }
        let output = if embedding { Some(0) } else { value.count(&["eval_count"]) };
        reading.finals = vec![TokenCounts {
            input: value.count(&["prompt_eval_count"]),
            output,
            cache_read: value.count(&["prompt_eval_cached_count"]).unwrap_or(0),
            ..TokenCounts::default()
        }];
    }
    reading
}
