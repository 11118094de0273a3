//! Google's `generateContent` and `streamGenerateContent`, on the Gemini API and on Vertex AI.
//!
//! Sources
//! * Gemini API reference and Vertex AI, `UsageMetadata`: `promptTokenCount` is "still the total effective prompt size" with
//!   the cached content inside (`cachedContentTokenCount`); `thoughtsTokenCount` and `toolUsePromptTokenCount` stand
//!   beside `candidatesTokenCount` and `promptTokenCount`; `totalTokenCount` is the sum of the four.
//! * Gemini API, Thinking: the price of a response is that of output and thinking tokens together.
//! * Gemini API, `streamGenerateContent`: server-sent events with `alt=sse`, otherwise one JSON array.
//!
//! Rule: **replace**. Each chunk's `usageMetadata` is a whole snapshot of the request so far; the last one counts, and what
//! it does not name is zero. It is final in or behind the chunk in which a candidate has a `finishReason`, or the prompt is
//! said to be blocked. Input is prompt and tool use, output is candidates and thoughts.

use super::{Answer, Reading, TokenCounts};
use crate::json::Json;
use crate::wire::Media;

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = Reading::default();
    let mut last = None;
    let (mut ended, mut last_word) = (false, false);
    for document in &answer.documents {
        let chunks = match document.value() {
            Json::List(chunks) => chunks.as_slice(),
            chunk => std::slice::from_ref(chunk),
        };
        for chunk in chunks {
            reading.failed |= chunk.get("error").is_some();
            ended |= chunk.at(&["promptFeedback", "blockReason"]).is_some();
            for candidate in chunk.items(&["candidates"]) {
                ended |= candidate.get("finishReason").is_some();
                reading.words |= candidate.at(&["content", "parts"]).is_some_and(has_words);
            }
            if let Some(usage) = chunk.get("usageMetadata").filter(|usage| !is_placeholder(usage)) {
                let prompt = |usage: &Json| usage.count(&["promptTokenCount"]).unwrap_or(0) > 0;
                if last.is_some_and(prompt) && !prompt(usage) {
                    reading.open = Some("a prompt that vanishes from a later usage");
                }
                last = Some(usage);
                last_word = ended;
            }
        }
    }
    let single = answer.media == Media::Json && answer.documents.iter().all(|document| document.value().is_object());
    if let Some(usage) = last {
        let sooner = ended && answer.whole && !last_word;
        conclude(usage, last_word || sooner || single, &mut reading);
        reading.guessed |= sooner && !single;
    }
    reading
}

/// A part that has only a signature says nothing.
fn has_words(parts: &Json) -> bool {
    let Json::List(parts) = parts else {
        return false;
    };
    let said = ["text", "functionCall", "executableCode"];
    parts.iter().any(|part| said.iter().any(|name| part.get(name).is_some_and(Json::says_something)))
}

fn is_placeholder(usage: &Json) -> bool {
    ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"]
        .iter()
        .all(|name| usage.count(&[name]).unwrap_or(0) == 0)
}

fn conclude(usage: &Json, ended: bool, reading: &mut Reading) {
    let count = |name: &str| usage.count(&[name]).unwrap_or(0);
    let (prompt, tools) = (count("promptTokenCount"), count("toolUsePromptTokenCount"));
    let (candidates, thoughts) = (count("candidatesTokenCount"), count("thoughtsTokenCount"));
    let sum = prompt + tools + candidates + thoughts;
    let cached = count("cachedContentTokenCount");
    let rest = usage.count(&["totalTokenCount"]).unwrap_or(sum).checked_sub(sum);
    let Some(rest) = rest else {
        reading.open = Some("a total below its parts");
        return;
    };
    if cached > prompt + tools {
        reading.open = Some("caches greater than the prompt that holds them");
    }
    // A rest that no count explains is output by the project's rule.
    let tally = TokenCounts {
        input: Some(prompt + tools),
        output: Some(candidates + thoughts + rest),
        cache_read: cached,
        cache_write: 0,
        reasoning: thoughts,
    };
    reading.so_far = TokenCounts { output: Some(candidates + thoughts), ..tally };
    reading.guessed = rest > 0;
    if ended {
        reading.finals = vec![tally];
    }
}
