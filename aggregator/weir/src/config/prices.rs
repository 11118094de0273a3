//! Where the price book stands: `prices:` of weir.yaml, and the files that it names.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_ledger::cost::Prices;
use weir_money::cost::read_book;
use weir_money::prices::Book;
use weir_money::prices::file::{self, Document, FILES_MAX, PricesError, PricesFile};
use weir_settings::yaml::located::Node;
use weir_settings::yaml::{self, YamlError};

use super::ConfigError;

/// The settings of `prices:`, and where its files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceSources {
    config: PricesFile,
    files: Vec<PathBuf>,
    path: PathBuf,
    /// The text of weir.yaml, if it has entries or names files: errors point into it.
    text: Option<String>,
}

impl PriceSources {
    /// Checks the settings of the file at `path`, whose content is `text`. Reads no other file.
    pub(super) fn new(path: &Path, base: &Path, text: &str, config: PricesFile) -> Result<Self, ConfigError> {
        if config.files.len() > FILES_MAX {
            let problem = format!("{} files; at most {FILES_MAX}", config.files.len());
            return Err(ConfigError::Field { path: path.to_owned(), field: "prices.files", problem });
        }
        let files = config.files.iter().map(|file| base.join(file)).collect();
        let text = (!config.entries.is_empty() || !config.files.is_empty()).then(|| text.to_owned());
        let sources = PriceSources { config, files, path: path.to_owned(), text };
        let own = PricesFile { shipped: Some(false), files: Vec::new(), entries: sources.config.entries.clone() };
        file::book(&own, sources.own().as_ref(), &[])?;
        Ok(sources)
    }

    fn own(&self) -> Option<Document> {
        let text = self.text.clone()?;
        Some(Document { path: self.path.clone(), text, parent: "prices." })
    }

    /// The book, with the files as they are now. None if there are no entries at all.
    pub fn book(&self) -> Result<Option<Book>, PricesError> {
        let mut files = Vec::new();
        for (number, path) in self.files.iter().enumerate() {
            let text = yaml::read_text(path).map_err(|error| self.unread(number, error))?;
            files.push(Document { path: path.clone(), text, parent: "" });
        }
        let book = file::book(&self.config, self.own().as_ref(), &files)?;
        Ok(book.layers().iter().any(|layer| !layer.entries.is_empty()).then_some(book))
    }

    /// A file that cannot be read, where weir.yaml names it.
    fn unread(&self, number: usize, error: YamlError) -> PricesError {
        let field = format!("prices.files[{number}]");
        let Some(Ok(document)) = self.text.as_ref().map(|text| Node::parse(&self.path, text)) else {
            return PricesError::Yaml(error);
        };
        let place = document.find(&field).0.location;
        let problem = format!("{error}; name a file that `weir prices import` wrote, relative to this one");
        PricesError::Entry { path: self.path.clone(), line: place.line, column: place.column, field, problem }
    }

    /// The prices for the ledger.
    pub fn read(&self) -> Result<Prices, PricesError> {
        Ok(prices_of(self.book()?.map(Arc::new)))
    }

    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// The prices for the ledger, of a book.
pub(crate) fn prices_of(book: Option<Arc<Book>>) -> Prices {
    Prices { book: book.map(|book| book as _), read: read_book }
}
