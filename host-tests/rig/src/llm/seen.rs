//! The provider's memory of the requests that reached it.

use super::NO_TENANT;
use bytes::Bytes;
use std::collections::VecDeque;

/// How many requests are remembered: enough for any test to find its own, little enough for a benchmark.
pub const KEPT_MAX: usize = 1024;

/// A body is remembered up to this many bytes.
const BODY_KEPT_BYTES: usize = 64 << 10;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names (lower case) and values in the order of arrival; bytes that are no text are replaced.
    pub headers: Vec<(String, String)>,
    /// The body, whole while it is answered; of what is remembered, at most 64 KiB.
    pub body: Bytes,
}

impl Seen {
    pub(super) fn new(head: &http::request::Parts, body: Bytes) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body,
        }
    }

    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The tenant that the gateway says this request is of.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.header("x-tenant-id").unwrap_or(NO_TENANT)
    }
}

#[derive(Debug, Default)]
pub(super) struct Memory(VecDeque<Seen>);

impl Memory {
    pub(super) fn push(&mut self, mut seen: Seen) {
        if self.0.len() == KEPT_MAX {
            self.0.pop_front();
        }
        seen.body.truncate(BODY_KEPT_BYTES);
        self.0.push_back(seen);
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.0.iter().cloned().collect()
    }
}
