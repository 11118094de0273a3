//! Reads the price lists of others: LiteLLM's price map, models.dev's `api.json`, OpenRouter's list of models.
//!
//! Their numbers are read as they are written, never as floating-point numbers. A number with more digits than a price can
//! have is rounded half to even, and named among the notes.
mod litellm;
mod models_dev;
mod number;
mod openrouter;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::Entry;

/// The most notes that are kept of one import.
const NOTES_MAX: usize = 10_000;

/// A list that was read.
#[derive(Debug, Default)]
pub struct Imported {
    /// The list's name.
    pub source: &'static str,
    /// The entries, sorted by provider and model.
    pub entries: Vec<Entry>,
    /// Models that were left out, and numbers that were rounded.
    pub notes: Vec<Note>,
}

/// Something that an import could not take over as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The model, as the list names it.
    pub model: String,
    /// The reason.
    pub reason: String,
}

/// A reason, how many models it concerns, and one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason<'i> {
    /// The reason.
    pub reason: &'i str,
    /// The notes with this reason.
    pub count: u64,
    /// The first model of them.
    pub model: &'i str,
}

impl Imported {
    fn note(&mut self, model: &str, reason: impl Into<String>) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(Note { model: model.to_owned(), reason: reason.into() });
        }
    }

    /// The reasons of the notes, the most frequent first.
    pub fn reasons(&self) -> Vec<Reason<'_>> {
        let mut counted: BTreeMap<&str, Reason<'_>> = BTreeMap::new();
        for Note { model, reason } in &self.notes {
            counted.entry(reason).or_insert(Reason { reason, count: 0, model }).count += 1;
        }
        let mut reasons: Vec<Reason<'_>> = counted.into_values().collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        reasons
    }

    /// Keeps only some providers.
    pub fn only(&mut self, providers: &[String]) {
        self.entries.retain(|entry| entry.provider.as_ref().is_some_and(|of| providers.contains(of)));
    }

    /// Sorts the entries; of several for one model the first stays. One without a model's name would make the whole list useless.
    fn settle(mut self) -> Self {
        let mut known = BTreeSet::new();
        let (named, nameless): (Vec<Entry>, Vec<Entry>) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| !entry.model.is_empty());
        for entry in nameless {
            self.note(entry.provider.as_deref().unwrap_or_default(), "a model without a name; it is left out");
        }
        let (kept, others): (Vec<Entry>, Vec<Entry>) =
            named.into_iter().partition(|entry| known.insert((entry.provider.clone(), entry.model.clone())));
        for entry in others {
            self.note(&entry.model, "the list has it twice; the first one stays");
        }
        self.entries = kept;
        self.entries.sort_by(|a, b| (&a.provider, &a.model).cmp(&(&b.provider, &b.model)));
        self
    }
}

/// The fields of a JSON object, each as it is written.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a list, whichever of the known ones it is. The error says where the text is not JSON, or what was expected.
pub fn read(text: &str) -> Result<Imported, String> {
    // Some editors write a mark before the first byte.
    let text = text.trim_start_matches('\u{feff}');
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| {
        format!(
            "line {}, column {}: {error}; expected the JSON of LiteLLM, models.dev or OpenRouter",
            error.line(),
            error.column()
        )
    })?;
    let has = |name: &str| fields.values().take(20).any(|value| object(value).is_some_and(|of| of.contains_key(name)));
    if fields.get("data").is_some_and(|data| data.get().trim_start().starts_with('[')) {
        return Ok(openrouter::read(&fields)?.settle());
    }
    if has("models") {
        return Ok(models_dev::read(&fields).settle());
    }
    if has("litellm_provider") {
        return Ok(litellm::read(&fields).settle());
    }
    Err("this is no list of prices that weir knows: expected the JSON of LiteLLM (model_prices_and_context_window.json), \
         models.dev (api.json) or OpenRouter (/api/v1/models)"
        .to_owned())
}

/// A JSON object; None for any other value.
fn object<'a>(value: &'a RawValue) -> Option<Fields<'a>> {
    serde_json::from_str(value.get()).ok()
}

/// A JSON text; None for any other value.
fn text(value: &RawValue) -> Option<String> {
    Option::deserialize(value).ok().flatten()
}

/// The name of a provider as events have it.
fn provider(name: &str) -> &str {
    match name {
        "azure" => "azure_openai",
        "gemini"
        | "google-vertex"
        | "google-vertex-anthropic"
        | "vertex_ai"
        | "vertex_ai-anthropic_models"
        | "vertex_ai-language-models" => "google",
        "bedrock_converse" | "amazon-bedrock" => "bedrock",
        "cohere_chat" => "cohere",
        "text-completion-openai" => "openai",
        "fireworks_ai-embedding-models" => "fireworks_ai",
        other => other,
    }
}
