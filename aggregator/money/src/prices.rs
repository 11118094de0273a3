//! The price book: what providers charge, by model, unit, time, context and service tier.
//!
//! A book is a stack of [`Layer`]s: the entries of the configuration lie above those of its files, and these above the
//! shipped list of public prices. The uppermost layer with an entry in force for the model answers.
//!
//! # Rules
//!
//! - Within a layer the entry with the longest pattern wins, one without `*` before any pattern; then the entry that names
//!   the provider; then the latest `effective_from` that has passed. An event is priced as of its own time.
//! - A unit without a price costs as its parent: reasoning as output, cached input as input.
//! - Prices above a number of input tokens replace the others, unit by unit, for the whole request.
//! - A service tier that the entry does not name has no price, and neither has a batch where the entry has no `batch`.
//! - Prices have at most six decimals a million tokens, also after a factor, so that every amount is exact.
pub mod check;
pub mod decimal;
pub mod diff;
pub mod entry;
pub mod file;
pub mod import;
pub(crate) mod index;
pub(crate) mod rates;
pub mod shipped;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use entry::Entry;
use index::Index;
pub use rates::{Found, Rates};

/// The most entries of one book, the shipped list included.
pub(crate) const ENTRIES_MAX: usize = 20_000;

/// Entries of one origin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Where the entries stand: a file's name, `weir.yaml`, or `shipped`.
    pub name: String,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// Why a layer cannot be used: the entry, the field and the problem with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{layer}: {field}: {problem}")]
pub struct BookError {
    /// The layer's name.
    pub layer: String,
    /// The field, `entries[3].above[0].input_tokens_over` say.
    pub field: String,
    /// The problem and its remedy.
    pub problem: String,
}

/// A price book, checked and ready to answer.
#[derive(Debug)]
pub struct Book {
    layers: Vec<Layer>,
    index: Index,
    text: String,
}

impl Book {
    /// Checks layers, the uppermost first.
    pub fn new(layers: Vec<Layer>) -> Result<Self, BookError> {
        let entries: usize = layers.iter().map(|layer| layer.entries.len()).sum();
        if entries > ENTRIES_MAX {
            let problem = format!("{entries} entries; at most {ENTRIES_MAX} in all: leave out models that nobody uses");
            return Err(BookError { layer: String::new(), field: "entries".to_owned(), problem });
        }
        let index = Index::new(&layers)?;
        // Entries are texts and numbers, which always serialize.
        let text = serde_json::to_string(&layers).unwrap_or_default();
        Ok(Book { layers, index, text })
    }

    /// The book as text: two books are equal if and only if their texts are.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The layers, the uppermost first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The entry in force for a model at `time`.
    pub fn find(&self, provider: Option<&str>, model: &str, time: Timestamp) -> Option<Found> {
        self.index.find(provider, model, time)
    }

    /// Every entry that could answer for a model at some time: the one in force first where several are.
    pub fn history(&self, provider: Option<&str>, model: &str) -> Vec<(&Layer, &Entry)> {
        let at = |(layer, entry): (usize, usize)| {
            let layer = self.layers.get(layer)?;
            Some((layer, layer.entries.get(entry)?))
        };
        self.index.history(provider, model).into_iter().filter_map(at).collect()
    }

    /// The providers that have an entry for a model: of several, an event has to name one.
    pub fn providers(&self, model: &str) -> std::collections::BTreeSet<&str> {
        self.index.providers(model)
    }

    /// The rates for a model under a tier and for an input of so many tokens.
    pub(crate) fn apply(
        &self,
        provider: Option<&str>,
        model: &str,
        time: Timestamp,
        tariff: (&str, u64),
    ) -> Option<index::Applied<'_>> {
        self.index.apply(provider, model, time, tariff)
    }

    /// The layer and entry of an answer.
    pub fn entry(&self, found: &Found) -> Option<(&Layer, &Entry)> {
        let layer = self.layers.get(found.layer)?;
        Some((layer, layer.entries.get(found.entry)?))
    }
}

impl Book {
    /// Reads a book from its [`Book::text`].
    pub fn read(text: &str) -> Result<Self, String> {
        let layers: Vec<Layer> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Book::new(layers).map_err(|error| error.to_string())
    }
}
