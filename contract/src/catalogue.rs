//! The catalogue of models and their live figures, as `weir serve` hands them to gateways.
//!
//! Both are [`Part`]s of a page of `GET /v1/directory`, the members `catalogue` and `figures` beside those of
//! [`crate::directory::Page`]. A gateway names the version that it has in [`crate::stage::KNOWS_HEADER`]
//! (`catalogue=VERSION`, or `catalogue` alone for none), and gets a part only where the server has another. So a part stands on
//! whichever page has room for it, and a page without one changes nothing.
//!
//! # Constraints
//!
//! - A server whose catalogue was taken away says so with the version [`NO_VERSION`] and the content `null`.
//! - A gateway that cannot use a catalogue keeps the one before, names the refused version all the same, and adds
//!   [`REFUSES_CATALOGUE`]: otherwise it would be sent again with each answer.
//! - A new catalogue wakes calls that wait; new figures do not, and travel with the next answer.
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::class::Class;
use crate::text::Text;

/// The word that asks for the catalogue.
pub const KNOWS_CATALOGUE: &str = "catalogue";
/// The word that asks for figures.
pub const KNOWS_FIGURES: &str = "figures";
/// The word of a gateway that cannot use the catalogue whose version it names.
pub const REFUSES_CATALOGUE: &str = "refuses_catalogue";
/// The header in which a gateway says its name with a call for the directory.
pub const GATEWAY_HEADER: &str = "x-weir-gateway";
/// The version of no catalogue.
pub const NO_VERSION: &str = "none";
/// The most bytes of the catalogue as it is sent, and of figures: a gateway reads each in one step, between two requests, and refuses
/// a page with more.
pub const CATALOGUE_MAX_BYTES: usize = 64 * 1024;
/// The most figures that are sent; those with the most requests go first.
pub const FIGURES_MAX: usize = 256;
/// How many requests a latency is computed from, at least: the slowest of a few says nothing about the next.
pub const LATENCY_REQUESTS_MIN: u64 = 20;

/// A part of the directory with a version of its own.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part<'a> {
    /// Names this state of it: 1 to 64 of `a-z 0-9`.
    #[serde(borrow)]
    pub version: Text<'a>,
    /// The state, as JSON.
    #[serde(borrow)]
    pub content: &'a RawValue,
}

impl Part<'_> {
    /// Whether its version is one: it goes into a header.
    pub fn has_version(&self) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (1..=64).contains(&self.version.len()) && self.version.bytes().all(is_plain)
    }
}

/// How requests of one class went at one model in the last 15 minutes, over all gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelFigures {
    /// The model: by its name in the catalogue where a gateway has chosen it, else as the answer names it.
    pub model: String,
    /// The class of the requests.
    pub class: Class,
    /// Requests that ended, those included that failed.
    pub requests: u64,
    /// Those of them that the provider failed: with 5xx, within its answer, or by silence.
    pub errors: u64,
    /// From the request to the end of its answer, in milliseconds: half were faster. Absent with fewer than 20 answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<u64>,
    /// 99 of 100 were faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<u64>,
    /// From the request to the first byte of its answer, in milliseconds: half were faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_p50_ms: Option<u64>,
    /// 99 of 100 were faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_p99_ms: Option<u64>,
}

/// What a gateway says of one part: whether it reads it, and the version that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// It does not read the part.
    Unread,
    /// It reads it, and has none.
    Nothing,
    /// It has this version.
    Version(&'a str),
}

impl<'a> Known<'a> {
    /// Finds a part among the words of [`crate::stage::KNOWS_HEADER`].
    pub fn among(words: impl Iterator<Item = &'a str>, part: &str) -> Self {
        let mut found = Known::Unread;
        for word in words {
            match word.split_once('=') {
                Some((name, version)) if name == part => return Known::Version(version),
                None if word == part => found = Known::Nothing,
                _ => {}
            }
        }
        found
    }

    /// Whether the gateway reads the part and has another version than `version`; None stands for no part.
    pub fn lacks(self, version: Option<&str>) -> bool {
        match self {
            Known::Unread => false,
            Known::Nothing => version.is_some(),
            Known::Version(known) => known != version.unwrap_or(NO_VERSION),
        }
    }
}

/// The word of [`crate::stage::KNOWS_HEADER`] for a part of which a gateway has this version.
pub fn word(part: &str, version: Option<&str>) -> String {
    version.map_or_else(|| part.to_owned(), |version| format!("{part}={version}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn known<'a>(words: &'a [&'a str]) -> Known<'a> {
        Known::among(words.iter().copied(), KNOWS_CATALOGUE)
    }

    #[test]
    fn a_gateway_gets_a_part_that_it_reads_and_has_in_another_version() {
        assert!(!known(&["stages"]).lacks(Some("v1")), "it does not read it");
        assert!(known(&["stages", "catalogue"]).lacks(Some("v1")));
        assert!(known(&["catalogue=v0"]).lacks(Some("v1")));
        assert!(!known(&["catalogue=v1"]).lacks(Some("v1")));
    }

    #[test]
    fn a_part_that_was_taken_away_is_told_once() {
        assert!(!known(&["catalogue"]).lacks(None));
        assert!(known(&["catalogue=v1"]).lacks(None));
        assert!(!known(&["catalogue=none"]).lacks(None));
    }

    #[test]
    fn a_word_is_read_as_it_is_written() {
        for version in [None, Some("ab12")] {
            let word = word(KNOWS_CATALOGUE, version);
            assert_eq!(known(&[&word]), version.map_or(Known::Nothing, Known::Version));
        }
    }

    #[test]
    fn a_part_carries_its_content_byte_for_byte() {
        let text = r#"{"version":"ab12","content":{"models": [ 1.50 ]}}"#;
        let part: Part<'_> = serde_json::from_str(text).expect("a part");
        assert!(part.has_version());
        assert_eq!(part.content.get(), r#"{"models": [ 1.50 ]}"#);
    }
}
