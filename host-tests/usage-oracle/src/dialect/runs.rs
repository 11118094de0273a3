//! OpenAI's Assistants: runs of a thread.
//!
//! Sources: OpenAI API reference, Runs: the run object's `usage` is null until the run is in a terminal state; streaming
//! events carry the run (`thread.run`), its steps (`thread.run.step`) and messages. Details of the prompt are called
//! `prompt_token_details` there.
//!
//! Rule: **final beats all**. The last run object with a usage counts. Usages of steps are parts of the run's and are not
//! added. A run that is created without a stream is queued, and nothing has been used yet.

use super::total::{Settled, settle};
use super::{Answer, Reading, chat};
use crate::json::Json;
use crate::wire::Media;

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = Reading::default();
    for document in &answer.documents {
        let value = document.value();
        let object = value.text(&["object"]).unwrap_or_default();
        reading.failed |= document.event.as_deref() == Some("error") || value.get("error").is_some();
        reading.words |= object == "thread.message.delta" && value.get("delta").is_some_and(Json::says_something);
        if object != "thread.run" {
            continue;
        }
        let status = value.text(&["status"]).unwrap_or_default();
        reading.failed |= value.get("last_error").is_some();
        if answer.media == Media::Json {
            reading.waiting = ["queued", "in_progress", "requires_action", "cancelling"].contains(&status);
        }
        if let Some(usage) = value.get("usage").filter(|usage| usage.is_object()) {
            conclude(usage, &mut reading);
        }
    }
    reading
}

fn conclude(usage: &Json, reading: &mut Reading) {
    match chat::parts(usage).map(|parts| parts.map(|parts| settle(&parts))) {
        Ok(Some(Settled::Sure(tally))) => reading.finals = vec![tally],
        Ok(Some(Settled::Guessed(tally))) => {
            reading.finals = vec![tally];
            reading.guessed = true;
        }
        Ok(Some(Settled::Either(_))) => reading.open = Some("a total with parts of unknown side"),
        Ok(Some(Settled::Open(why))) | Err(why) => reading.open = Some(why),
        Ok(None) => {}
    }
}
