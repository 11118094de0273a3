//! Price books in files: `prices:` of weir.yaml, and files of entries beside it.
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_settings::yaml::located::Node;
use weir_settings::yaml::{self, YamlError};

use super::entry::{EntriesFile, Entry};
use super::{Book, BookError, Layer, shipped};

/// The most files of entries.
pub const FILES_MAX: usize = 32;
/// The name of the layer of entries in weir.yaml.
pub const OWN: &str = "weir.yaml";

/// Prices: what providers charge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PricesFile {
    /// Whether the shipped list of public prices answers where no other entry does. Absent: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipped: Option<bool>,
    /// Files of entries, relative to this file, as `weir prices import` writes them; the first goes first. Read again when they change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Entries that go before all files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Entry>,
}

/// A document with prices: its path, its text, and where its entries stand in it.
#[derive(Clone, Debug)]
pub struct Document {
    /// The path, for errors.
    pub path: PathBuf,
    /// The text.
    pub text: String,
    /// The field that holds `entries`, with a point: `prices.` in weir.yaml.
    pub parent: &'static str,
}

/// Why prices cannot be used. The last good book stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// A file cannot be read, or its shape is wrong.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// An entry cannot be used.
    #[error("{}:{line}:{column}: {field}: {problem}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// The field.
        field: String,
        /// The problem and its remedy.
        problem: String,
    },
    /// The book as a whole cannot be used.
    #[error("prices: {0}")]
    Book(BookError),
}

/// Reads a file of entries from its text.
pub fn parse(path: &Path, text: &str) -> Result<EntriesFile, YamlError> {
    yaml::parse(path, text)
}

/// Makes a book of the entries of weir.yaml, of `files`, and of the shipped list.
pub fn book(config: &PricesFile, own: Option<&Document>, files: &[Document]) -> Result<Book, PricesError> {
    let mut layers = Vec::new();
    if !config.entries.is_empty() {
        layers.push(Layer { name: OWN.to_owned(), entries: config.entries.clone() });
    }
    for document in files {
        let entries = parse(&document.path, &document.text)?.entries;
        layers.push(Layer { name: document.path.display().to_string(), entries });
    }
    if config.shipped.unwrap_or(true) {
        layers.push(shipped::layer());
    }
    Book::new(layers).map_err(|error| locate(error, own, files))
}

/// Points an error into the document that it is about.
fn locate(error: BookError, own: Option<&Document>, files: &[Document]) -> PricesError {
    let of_file = || files.iter().find(|document| document.path.display().to_string() == error.layer);
    let document = if error.layer == OWN { own } else { of_file() };
    let Some(document) = document else { return PricesError::Book(error) };
    let field = format!("{}{}", document.parent, error.field);
    let Ok(node) = Node::parse(&document.path, &document.text) else { return PricesError::Book(error) };
    let (found, key) = node.find(&field);
    let place = key.unwrap_or(found.location);
    let (line, column) = (place.line, place.column);
    PricesError::Entry { path: document.path.clone(), line, column, field, problem: error.problem }
}
