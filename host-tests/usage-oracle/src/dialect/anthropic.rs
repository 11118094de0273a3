//! Anthropic's Messages, also on Vertex AI and inside Bedrock's InvokeModel.
//!
//! Sources
//! * Anthropic API reference, Messages: "Total input tokens in a request is the summation of `input_tokens`,
//!   `cache_creation_input_tokens`, and `cache_read_input_tokens`"; `output_tokens` is "the inclusive, authoritative total
//!   used for billing", `output_tokens_details.thinking_tokens` a part of it.
//! * Anthropic, Streaming messages: `message_start` has first numbers; "the token counts shown in the `usage` field of the
//!   `message_delta` event are cumulative"; errors may come as `error` events.
//! * Anthropic, Compaction: the top-level counts "do not include compaction iteration usage"; to get what is billed, "sum
//!   across all entries in the `usage.iterations` array".
//!
//! Rule: **replace, member by member**. A member of a later usage replaces the earlier one's, because `message_delta` leaves
//! out what has not changed; a later zero does not replace a positive count. The numbers are final with a `message_delta`
//! that has a stop reason, or once `message_stop` came. Compaction iterations are added to the top-level counts.

use super::{Answer, Reading, TokenCounts};
use crate::json::Json;
use crate::wire::{Document, Media};

const COUNTS: [&str; 4] = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"];

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    if answer.media == Media::Json { whole(answer) } else { stream(&answer.documents) }
}

fn whole(answer: &Answer) -> Reading {
    let mut reading = Reading::default();
    for value in answer.values() {
        reading.failed |= value.text(&["type"]) == Some("error") || value.get("error").is_some();
        if value.text(&["type"]) != Some("message") {
            continue;
        }
        reading.words |= value.get("content").is_some_and(Json::says_something);
        if let Some(usage) = value.get("usage") {
            let mut merged = Merged::default();
            merged.add(usage);
            merged.conclude(true, &mut reading);
        }
    }
    reading
}

/// Reads the events of a stream.
pub(super) fn stream(documents: &[Document]) -> Reading {
    let mut reading = Reading::default();
    let mut merged = Merged::default();
    let (mut counted, mut ended) = (false, false);
    for value in documents.iter().map(Document::value) {
        match value.text(&["type"]).unwrap_or_default() {
            "error" => reading.failed = true,
            "message_start" => value.at(&["message", "usage"]).into_iter().for_each(|usage| merged.add(usage)),
            "content_block_start" | "content_block_delta" => reading.words |= has_words(value),
            "message_delta" => {
                ended |= value.at(&["delta", "stop_reason"]).is_some();
                if let Some(usage) = value.get("usage") {
                    counted = true;
                    merged.add(usage);
                }
            }
            "message_stop" => ended = true,
            _ => {}
        }
    }
    merged.conclude(counted && ended, &mut reading);
    reading
}

fn has_words(event: &Json) -> bool {
    let said = |part: &Json| {
        let names = ["text", "partial_json", "thinking", "name"];
        names.iter().any(|name| part.text(&[name]).is_some_and(|text| !text.is_empty()))
    };
    ["delta", "content_block"].iter().filter_map(|name| event.get(name)).any(said)
}

/// The usage so far.
#[derive(Default)]
struct Merged {
    counts: [Option<u64>; 4],
    thinking: u64,
    /// Added by compaction iterations, in the order of [`COUNTS`].
    compaction: [u64; 4],
    open: Option<&'static str>,
}

impl Merged {
    fn add(&mut self, usage: &Json) {
        for (place, name) in COUNTS.iter().enumerate() {
            let later = usage.count(&[name]);
            if later.is_some_and(|later| later > 0) || self.counts[place].is_none() {
                self.counts[place] = later.or(self.counts[place]);
            } else if later == Some(0) && *name == "output_tokens" {
                self.open = Some("output that shrinks to zero");
            }
        }
        self.thinking = usage.count(&["output_tokens_details", "thinking_tokens"]).unwrap_or(self.thinking);
        let iterations = usage.items(&["iterations"]);
        if iterations.is_empty() {
            return;
        }
        self.compaction = [0; 4];
        for iteration in iterations {
            match iteration.text(&["type"]) {
                Some("message") => {}
                Some("compaction") => {
                    for (place, name) in COUNTS.iter().enumerate() {
                        self.compaction[place] += iteration.count(&[name]).unwrap_or(0);
                    }
                }
                _ => self.open = Some("an iteration of unknown kind"),
            }
        }
    }

    fn conclude(&self, ended: bool, reading: &mut Reading) {
        let [input, written, read, output] = self.counts;
        let [more_input, more_written, more_read, more_output] = self.compaction;
        let (written, read) = (written.unwrap_or(0) + more_written, read.unwrap_or(0) + more_read);
        let tally = TokenCounts {
            input: input.map(|input| input + more_input + written + read),
            output: output.map(|output| output + more_output),
            cache_read: read,
            cache_write: written,
            reasoning: self.thinking,
        };
        reading.open = reading.open.or(self.open);
        reading.so_far = tally;
        if ended {
            reading.finals = vec![tally];
        }
    }
}
