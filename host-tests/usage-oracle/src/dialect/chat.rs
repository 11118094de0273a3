//! Chat Completions and the older Completions: OpenAI, Azure OpenAI, Mistral, Groq, DeepSeek, xAI, OpenRouter, Perplexity,
//! Vercel, Vertex AI's OpenAI endpoint, Gemini's OpenAI compatibility.
//!
//! Sources
//! * OpenAI API reference, Chat: `usage` (`prompt_tokens`, `completion_tokens`, `total_tokens` = both, details inside
//!   them), `stream_options.include_usage` (one more chunk with empty `choices`; null in the others; missing where the
//!   stream is interrupted).
//! * DeepSeek, Create Chat Completion: `prompt_tokens` equals cache hit plus cache miss. Blank lines may precede a body,
//!   comments keep a stream alive.
//! * Mistral, release note 2024-01-16: usage in the last chunk. xAI, API reference: details of prompt and completion.
//! * OpenRouter, Usage Accounting: usage in the last SSE message; `cached_tokens` and `cache_write_tokens` in the details.
//! * Perplexity, Pricing: output, citation and reasoning tokens are priced apart.
//! * Groq: the last chunk carries `x_groq.usage`.
//!
//! Rule: **replace**. The last usage object that is no placeholder counts, whole; nothing of an earlier one survives. It is
//! final where it stands in or behind the chunk that ends the answer: a `finish_reason`, or a usage chunk with empty
//! `choices`. One that stands before counts if the stream then came to its end without another.
//! Cached tokens are inside the prompt and reasoning inside the completion, unless the total says otherwise
//! ([`total`](super::total)).

use super::total::{Parts, Settled, settle};
use super::{Answer, Reading, TokenCounts, agreed_count};
use crate::json::Json;
use crate::wire::Media;

/// A host whose documentation promises OpenAI's shape, and on which reasoning was seen beside the completion.
const VERCEL: &str = "ai-gateway.vercel.sh";
/// A host that prices citations and reasoning beside prompt and completion, and leaves them out of the total.
const PERPLEXITY: &str = "api.perplexity.ai";

const CACHE_READ: [&[&str]; 6] = [
    &["prompt_tokens_details", "cached_tokens"],
    &["prompt_token_details", "cached_tokens"],
    &["cached_tokens"],
    &["num_cached_tokens"],
    &["prompt_cache_hit_tokens"],
    &["cache_read_input_tokens"],
];
const CACHE_WRITE: [&[&str]; 3] = [
    &["prompt_tokens_details", "cache_write_tokens"],
    &["prompt_tokens_details", "cache_creation_tokens"],
    &["cache_creation_input_tokens"],
];
const REASONING: [&[&str]; 2] = [&["completion_tokens_details", "reasoning_tokens"], &["reasoning_tokens"]];
const PROMPT_DETAILS: [&str; 3] = ["audio_tokens", "image_tokens", "video_tokens"];

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = Reading::default();
    let mut usage = None;
    let mut ended = answer.media == Media::Json;
    let mut last_word = ended;
    for document in &answer.documents {
        let value = document.value();
        ended |= document.text.trim() == "[DONE]";
        reading.failed |= value.get("error").is_some();
        for choice in value.items(&["choices"]) {
            ended |= choice.get("finish_reason").is_some();
            reading.words |= has_words(choice);
        }
        let told = [value.get("usage"), value.at(&["x_groq", "usage"])].into_iter().flatten();
        // A whole answer has to be a chat's; in streams some leave `choices` out of the usage chunk, or write null.
        let shaped = answer.media != Media::Json || value.get("choices").is_some();
        for object in told.filter(|object| shaped && object.is_object()) {
            if !is_placeholder(object) {
                let positive = |usage: &Json| usage.count(&["prompt_tokens"]).unwrap_or(0) > 0;
                if usage.is_some_and(positive) && !positive(object) {
                    reading.open = Some("a prompt that vanishes from a later usage");
                }
                usage = Some(object);
                ended |= value.items(&["choices"]).is_empty();
                last_word = ended;
            }
        }
    }
    let Some(usage) = usage else {
        return reading;
    };
    if !ended && answer.whole && !reading.failed {
        reading.open = Some("a chat stream that ends without saying so");
    }
    // A usage that stands before the end is the last word only where nothing is missing behind it.
    reading.guessed = !last_word;
    apply(usage, answer, last_word || ended && answer.whole, &mut reading);
    reading
}

/// Whether a choice of an answer or of a chunk says anything.
fn has_words(choice: &Json) -> bool {
    let said = ["content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio"];
    let message = choice.get("message").or_else(|| choice.get("delta"));
    message.is_some_and(|message| said.iter().any(|name| message.get(name).is_some_and(Json::says_something)))
        || choice.text(&["text"]).is_some_and(|text| !text.is_empty())
}

/// A usage object of zeros stands for numbers that are not known yet.
fn is_placeholder(usage: &Json) -> bool {
    let zero = |name| usage.count(&[name]).unwrap_or(0) == 0;
    zero("prompt_tokens") && zero("completion_tokens") && zero("total_tokens")
}

fn apply(usage: &Json, answer: &Answer, ended: bool, reading: &mut Reading) {
    let parts = match parts(usage) {
        Ok(Some(parts)) => parts,
        // A bare total does not say what is input.
        Ok(None) => return,
        Err(why) => {
            reading.open = Some(why);
            return;
        }
    };
    reading.so_far = TokenCounts { input: Some(parts.input), output: Some(parts.output), ..TokenCounts::default() };
    if !ended {
        return;
    }
    match settle(&parts) {
        Settled::Sure(tally) => reading.finals = readings_by_host(&parts, tally, usage, answer.host),
        Settled::Guessed(tally) => {
            reading.finals = vec![tally];
            reading.guessed = true;
        }
        Settled::Either(tallies) => {
            reading.finals = tallies.to_vec();
            reading.guessed = true;
        }
        Settled::Open(why) => reading.open = Some(why),
    }
}

/// Reads a usage object; none where it has neither prompt nor completion.
pub(super) fn parts(usage: &Json) -> Result<Option<Parts>, &'static str> {
    let (prompt, completion) = (usage.count(&["prompt_tokens"]), usage.count(&["completion_tokens"]));
    if prompt.is_none() && completion.is_none() {
        return Ok(None);
    }
    let total = usage.count(&["total_tokens"]);
    let (Some(input), Some(output)) = (prompt, completion) else {
        return Err("a chat's usage with one of its two counts");
    };
    if usage.get("total_tokens").is_some() && total.unwrap_or(0) == 0 {
        return Err("a total of zero, or none that is a count");
    }
    let details = PROMPT_DETAILS.iter().filter_map(|name| usage.count(&["prompt_tokens_details", name]));
    let strangers = match usage {
        Json::Object(members) => members
            .iter()
            .filter(|(name, _)| name.starts_with("guard"))
            .filter_map(|(name, _)| usage.count(&[name]))
            .collect(),
        _ => vec![],
    };
    Ok(Some(Parts {
        input,
        output,
        total,
        cache_read: agreed_count(usage, &CACHE_READ)?,
        cache_write: agreed_count(usage, &CACHE_WRITE)?,
        reasoning: agreed_count(usage, &REASONING)?,
        prompt_details: details.filter(|count| *count > 0).collect(),
        audio_seconds: usage.count(&["prompt_audio_seconds"]).unwrap_or(0) > 0,
        strangers,
    }))
}

/// Two hosts leave open what their total leaves out.
fn readings_by_host(parts: &Parts, tally: TokenCounts, usage: &Json, host: &str) -> Vec<TokenCounts> {
    let total_is_sum = parts.total == parts.input.checked_add(parts.output);
    let mut readings = vec![tally];
    if !total_is_sum || !(host == VERCEL || host == PERPLEXITY) {
        return readings;
    }
    if parts.reasoning > 0 {
        let output = tally.output.map(|output| output.saturating_add(parts.reasoning));
        readings.push(TokenCounts { output, ..tally });
    }
    let citations = usage.count(&["citation_tokens"]).filter(|count| host == PERPLEXITY && *count > 0);
    if let Some(citations) = citations {
        let with = |tally: &TokenCounts| TokenCounts {
            input: tally.input.map(|input| input.saturating_add(citations)),
            ..*tally
        };
        readings.extend(readings.iter().map(with).collect::<Vec<_>>());
    }
    readings
}
