//! One file per dialect: its documentation, its rule in words, and the rule.

mod anthropic;
mod audio;
mod chat;
mod cohere;
mod converse;
mod embeddings;
mod gemini;
mod images;
mod interactions;
mod invoke;
mod ollama;
mod responses;
mod runs;
mod total;

use crate::exchange::Dialect;
use crate::json::Json;
use crate::wire::{Document, Media};

/// An answer, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) media: Media,
    pub(crate) documents: Vec<Document>,
    /// The provider's host, or nothing.
    pub(crate) host: &'a str,
    /// The answer arrived to its end.
    pub(crate) whole: bool,
}

/// The facts that a dialect's file reads from an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The provider's final numbers; several where the sources allow several, none where they never came.
    pub(crate) finals: Vec<TokenCounts>,
    /// The finals rest on a rule of the project and not on the provider's words alone.
    pub(crate) guessed: bool,
    /// The first word of the answer came.
    pub(crate) words: bool,
    /// The answer has no words that could be counted: vectors.
    pub(crate) speechless: bool,
    /// The provider said that it failed.
    pub(crate) failed: bool,
    /// The work has not been done yet: it is queued or under way.
    pub(crate) waiting: bool,
    /// The numbers so far, where the last are missing.
    pub(crate) so_far: TokenCounts,
    /// The questions that the sources leave open.
    pub(crate) open: Option<&'static str>,
}

/// Counts as one place of an answer has them, in the event's terms: the parts are inside input and output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenCounts {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
    pub(crate) reasoning: u64,
}

impl Answer<'_> {
    /// The documents' payloads.
    fn values(&self) -> impl Iterator<Item = &Json> {
        self.documents.iter().map(Document::value)
    }
}

impl TokenCounts {
    /// Not a placeholder of zeros.
    pub(crate) fn is_something(&self) -> bool {
        self.input.unwrap_or(0) > 0 || self.output.unwrap_or(0) > 0
    }

    /// Both counts are known. No request is without input, so an input of zero is unknown.
    pub(crate) fn is_whole(&self) -> bool {
        self.input.is_some_and(|input| input > 0) && self.output.is_some()
    }
}

/// Reads an answer by the dialect's rule.
pub(crate) fn read(dialect: Dialect, answer: &Answer) -> Reading {
    match dialect {
        Dialect::Chat => chat::read(answer),
        Dialect::Responses => responses::read(answer),
        Dialect::Runs => runs::read(answer),
        Dialect::Embeddings => embeddings::read(answer),
        Dialect::Images => images::read(answer),
        Dialect::Audio => audio::read(answer),
        Dialect::Anthropic => anthropic::read(answer),
        Dialect::Gemini => gemini::read(answer),
        Dialect::Interactions => interactions::read(answer),
        Dialect::Converse => converse::read(answer),
        Dialect::Invoke => invoke::read(answer),
        Dialect::Cohere => cohere::read(answer),
        Dialect::Ollama => ollama::read(answer),
    }
}

/// The first count that one of the paths leads to.
fn first_count(value: &Json, paths: &[&[&str]]) -> Option<u64> {
    paths.iter().find_map(|path| value.count(path))
}

/// The one number that several names may stand for: 0 where none says more, an error where two disagree.
fn agreed_count(value: &Json, paths: &[&[&str]]) -> Result<u64, &'static str> {
    let mut found = 0;
    for count in paths.iter().filter_map(|path| value.count(path)).filter(|count| *count > 0) {
        if found > 0 && found != count {
            return Err("two names of one count that disagree");
        }
        found = count;
    }
    Ok(found)
}
