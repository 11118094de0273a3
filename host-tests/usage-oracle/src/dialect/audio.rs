//! OpenAI's Audio: transcriptions, translations, speech; and Mistral's and Groq's after it.
//!
//! Sources: OpenAI API reference, Audio: a transcription's `usage` is of type `tokens` (`input_tokens`, `output_tokens`,
//! `total_tokens`) or `duration` (seconds only); `transcript.text.done` and `speech.audio.done` carry it in streams.
//! Mistral, Audio transcription: `prompt_tokens`, `completion_tokens`, `total_tokens` and `prompt_audio_seconds`, where
//! the total holds the audio's tokens and the prompt does not.
//!
//! Rule: **final beats all**. Without token counts nothing may be billed but an estimate of the text; the sound itself
//! weighs nothing.

use super::total::{Settled, settle};
use super::{Answer, Reading, chat, images};
use crate::wire::Media;

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = images::usage_of(answer, &["transcript.text.done", "speech.audio.done"]);
    let done = |kind: Option<&str>| kind == Some("transcription.done");
    for value in answer.values() {
        let last = answer.media == Media::Json || done(value.text(&["type"]));
        let Some(usage) = value.get("usage").filter(|usage| last && usage.count(&["prompt_tokens"]).is_some()) else {
            continue;
        };
        match chat::parts(usage).map(|parts| parts.map(|parts| settle(&parts))) {
            Ok(Some(Settled::Sure(tally))) => reading.finals = vec![tally],
            Ok(Some(Settled::Open(why))) | Err(why) => reading.open = Some(why),
            Ok(_) => reading.open = Some("a total above its parts"),
        }
    }
    reading
}
