//! Google's Interactions.
//!
//! Sources: Gemini API, Interactions, `Usage`: `total_input_tokens`, `total_output_tokens`, `total_thought_tokens`,
//! `total_tool_use_tokens`, `total_cached_tokens` (part of the prompt), and `total_tokens` over "prompt + responses + other
//! internal tokens". Vertex AI writes the same names in camel case. A stream ends with `interaction.completed`.
//!
//! Rule: **final beats all**. The usage of the completed interaction. Input is input and tool use, output is output and
//! thoughts. A `background` interaction that is `in_progress` has used nothing yet.

use super::{Answer, Reading, TokenCounts, first_count};
use crate::json::Json;
use crate::wire::Media;

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = Reading::default();
    for value in answer.values() {
        reading.failed |= value.get("error").is_some();
        if answer.media == Media::Json {
            let said = value.get("steps").or_else(|| value.get("outputs"));
            reading.words |= said.is_some_and(Json::says_something);
            reading.waiting = value.text(&["status"]) == Some("in_progress");
            value.get("usage").into_iter().for_each(|usage| conclude(usage, &mut reading));
            continue;
        }
        let kind = value.text(&["event_type"]).unwrap_or_default();
        reading.failed |= kind == "error";
        reading.words |= kind.ends_with(".delta") && value.get("delta").is_some_and(Json::says_something);
        if ["interaction.completed", "interaction.complete"].contains(&kind) {
            value.at(&["interaction", "usage"]).into_iter().for_each(|usage| conclude(usage, &mut reading));
        }
    }
    reading
}

fn conclude(usage: &Json, reading: &mut Reading) {
    let count = |snake: &str, camel: &str| first_count(usage, &[&[snake], &[camel]]);
    let Some(input) = count("total_input_tokens", "totalInputTokens") else {
        return;
    };
    let (output, thoughts) = (
        count("total_output_tokens", "totalOutputTokens").unwrap_or(0),
        count("total_thought_tokens", "totalThoughtTokens").unwrap_or(0),
    );
    let tools = count("total_tool_use_tokens", "totalToolUseTokens").unwrap_or(0);
    let cached = count("total_cached_tokens", "totalCachedTokens").unwrap_or(0);
    let sum = input + tools + output + thoughts;
    if count("total_tokens", "totalTokens").unwrap_or(sum) != sum {
        reading.open = Some("an interaction whose total is not the sum of its parts");
    }
    reading.finals = vec![TokenCounts {
        input: Some(input + tools),
        output: Some(output + thoughts),
        cache_read: cached,
        cache_write: 0,
        reasoning: thoughts,
    }];
}
