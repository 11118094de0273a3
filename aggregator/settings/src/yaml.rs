//! Reading YAML files: bounded, and with errors that name file, line, column and field.
pub mod located;

use crate::secret::masked;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The most bytes of one YAML file: a directory of 100,000 tenants with two keys each takes 40 MB.
pub const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// The most aliases (`*name`) of one file. Configuration hardly needs them, and expanding them can blow up a small
/// file.
const ALIASES_MAX: usize = 64;
/// The most nodes that all aliases of one file may expand to.
const ALIAS_NODES_MAX: usize = 10_000;
/// The most nodes of one file: [`FILE_MAX_BYTES`] of short words.
const NODES_MAX: usize = 8_000_000;

/// Why a YAML file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The file is missing or not readable.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// It is larger than [`FILE_MAX_BYTES`].
    #[error("{}: larger than {FILE_MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not YAML, or its content is not valid.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Counted from 1; 0 when not known.
        line: u64,
        /// Counted from 1; 0 when not known.
        column: u64,
        /// The field and its problem.
        message: String,
    },
}

/// Reads the whole file at `path`, at most [`FILE_MAX_BYTES`].
pub fn read_text(path: &Path) -> Result<String, YamlError> {
    let read = |source| YamlError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(read)?.len();
    if size > FILE_MAX_BYTES {
        return Err(YamlError::TooLarge { path: path.to_owned() });
    }
    std::fs::read_to_string(path).map_err(read)
}

/// Reads `text` as a `T`; errors name `path`.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_events: 2 * NODES_MAX,
            max_nodes: NODES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_NODES_MAX,
            max_replay_stack_depth: 8,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| content(path, &error))
}

fn content(path: &Path, error: &serde_saphyr::Error) -> YamlError {
    let location = error.location();
    let full = error.without_snippet().to_string();
    // The library appends the place, which stands at the front of ours already.
    let message = own_words(full.split(" at line ").next().unwrap_or(&full));
    YamlError::Content {
        path: path.to_owned(),
        line: location.map_or(0, |l| l.line()),
        column: location.map_or(0, |l| l.column()),
        message,
    }
}

/// How the library names numbers that it cannot read, and how people do.
const NUMBERS: [(&str, &str); 7] = [
    ("invalid u64", "not a whole number of 0 or more"),
    ("invalid u32", "not a whole number of 0 to 4294967295"),
    ("invalid u16", "not a whole number of 0 to 65535"),
    ("invalid u8", "not a whole number of 0 to 255"),
    ("invalid i64", "not a whole number"),
    ("invalid f64", "not a number"),
    ("invalid bool", "neither true nor false"),
];

/// What the library says, in words that concern the file and not the library's callers, and without secrets.
fn own_words(message: &str) -> String {
    if message.contains("from_str_multiple") || message.contains("multiple") && message.contains("document") {
        return "there are several documents (`---`) in this file, and only one is read; make a file of each"
            .to_owned();
    }
    // How to have the library accept it is no remedy in a file.
    let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message);
    masked(&NUMBERS.iter().fold(message.to_owned(), |message, (named, words)| message.replace(named, words)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Small {
        #[allow(dead_code, reason = "only the parsing counts here")]
        size: u32,
    }

    #[test]
    fn an_error_names_file_line_column_and_field() {
        let error = parse::<Small>(Path::new("a.yaml"), "size: 1\nsizes: 2\n").expect_err("unknown field");
        let text = error.to_string();
        assert!(text.starts_with("a.yaml:2:1: ") && text.contains("sizes"), "{text}");
    }

    #[test]
    fn several_documents_are_told_in_our_words() {
        let error = parse::<Small>(Path::new("a.yaml"), "size: 1\n---\nsize: 2\n").expect_err("two documents");
        assert!(error.to_string().contains("several documents") && !error.to_string().contains("from_"), "{error}");
    }

    #[test]
    fn a_key_that_is_there_twice_and_a_negative_number_are_told_in_our_words() {
        let told =
            |text: &str| parse::<BTreeMap<String, u64>>(Path::new("a.yaml"), text).expect_err("refused").to_string();
        let twice = told("size: 1\nsize: 2\n");
        assert!(twice.contains("duplicate") && twice.ends_with("size"), "{twice}");
        let negative = told("size: -5\n");
        assert!(negative.contains("not a whole number of 0 or more"), "{negative}");
    }

    #[test]
    fn numbers_and_switches_are_told_in_our_words() {
        for (text, words) in [("size: many", "whole number of 0 to 4294967295"), ("size: -1", "whole number of 0 to")] {
            let told = parse::<Small>(Path::new("a.yaml"), text).expect_err("refused").to_string();
            assert!(told.contains(words) && !told.contains("u32"), "{told}");
        }
        let told = parse::<BTreeMap<String, bool>>(Path::new("a.yaml"), "size: perhaps").expect_err("refused");
        assert!(told.to_string().contains("neither true nor false"), "{told}");
    }

    #[test]
    fn aliases_cannot_blow_a_file_up() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..8 {
            let before = format!("*a{},", i - 1).repeat(10);
            text.push_str(&format!("a{i}: &a{i} [{before}]\n"));
        }
        let parsed = parse::<BTreeMap<String, serde_json::Value>>(Path::new("bomb.yaml"), &text);
        assert!(parsed.is_err());
    }
}
