//! The list of public prices that ships with weir. `make prices` makes it; the file names its source and date.
use super::Layer;
use super::entry::EntriesFile;

/// The name of its layer.
pub const NAME: &str = "shipped";
const TEXT: &str = include_str!("shipped.json");

/// The list with its source and date.
pub fn list() -> EntriesFile {
    // `the_shipped_list_is_a_good_book` reads the file as it ships.
    serde_json::from_str(TEXT).unwrap_or_default()
}

/// The list as the lowest layer of a book.
pub fn layer() -> Layer {
    Layer { name: NAME.to_owned(), entries: list().entries }
}
