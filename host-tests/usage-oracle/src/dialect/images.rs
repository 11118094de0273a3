//! OpenAI's Images: generations, edits, variations.
//!
//! Sources: OpenAI API reference, Images: `usage` of the GPT image models (`input_tokens` of text and images,
//! `output_tokens`, `total_tokens`); streaming events `image_generation.completed` and `image_edit.completed` carry it,
//! partial images do not. Older models have no usage.
//!
//! Rule: **final beats all**. The usage of the completed event, or of the whole answer. Without one, an estimate may price
//! an image, but never its base64.

use super::total::Settled;
use super::{Answer, Reading, responses};
use crate::json::Json;
use crate::wire::Media;

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    usage_of(answer, &["image_generation.completed", "image_edit.completed"])
}

/// Reads a usage with `input_tokens` and `output_tokens` from the whole answer or from one of the final events.
pub(super) fn usage_of(answer: &Answer, finals: &[&str]) -> Reading {
    let mut reading = Reading::default();
    for value in answer.values() {
        reading.failed |= value.get("error").is_some() || value.text(&["type"]) == Some("error");
        let last = answer.media == Media::Json || value.text(&["type"]).is_some_and(|kind| finals.contains(&kind));
        if let Some(usage) = value.get("usage").filter(|usage| last && usage.is_object()) {
            conclude(usage, &mut reading);
        }
    }
    reading
}

fn conclude(usage: &Json, reading: &mut Reading) {
    // Models that are billed by time say so, and name no tokens.
    if usage.text(&["type"]) == Some("duration") || usage.count(&["input_tokens"]).is_none() {
        return;
    }
    match responses::settled(usage) {
        Ok(Settled::Sure(tally)) => reading.finals = vec![tally],
        Ok(Settled::Guessed(_) | Settled::Either(_)) => reading.open = Some("a total above its parts"),
        Ok(Settled::Open(why)) | Err(why) => reading.open = Some(why),
    }
}
