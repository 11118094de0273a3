//! Why a target cannot serve a request.
use std::borrow::Cow;

use weir_llm_usage::json::tree::Malformed;

/// What kind of obstacle it is: for events and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The body is no JSON, or too large to be read.
    Unreadable,
    /// A field has a form that the client's own API does not know.
    Malformed,
    /// The tables do not know a field.
    Unknown,
    /// The target has nothing that means the same.
    NoCounterpart,
}

/// A target cannot serve a request without a loss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Unfit {
    /// The kind of obstacle.
    pub reason: Reason,
    /// The field, with the section of the tables that it belongs to.
    pub field: String,
    /// One sentence for people.
    pub why: &'static str,
}

impl Unfit {
    pub(crate) fn malformed(field: impl Into<Cow<'static, str>>, why: &'static str) -> Self {
        Unfit { reason: Reason::Malformed, field: field.into().into_owned(), why }
    }

    pub(crate) fn no_counterpart(field: impl Into<Cow<'static, str>>, why: &'static str) -> Self {
        Unfit { reason: Reason::NoCounterpart, field: field.into().into_owned(), why }
    }

    pub(crate) fn unknown(field: String) -> Self {
        Unfit { reason: Reason::Unknown, field, why: "no table knows this field" }
    }
}

impl From<Malformed> for Unfit {
    fn from(malformed: Malformed) -> Self {
        let why = match malformed {
            Malformed::Unreadable(_) => "it is no JSON",
            Malformed::Duplicate(_) => "an object has one name twice",
            Malformed::TooMany => "it has too many values",
        };
        Unfit { reason: Reason::Unreadable, field: "body".to_owned(), why }
    }
}
