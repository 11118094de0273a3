//! Changes to a text: ranges that others take the place of; every other byte stays.
use std::ops::Range;

/// The changes, in any order. No two overlap, but for insertions at one place, which stand in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Puts `text` in the place of `at`.
    pub(crate) fn replace(&mut self, at: Range<usize>, text: impl Into<String>) {
        self.0.push((at, text.into()));
    }

    /// Puts `text` before the byte at `at`.
    pub(crate) fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.0.push((at..at, text.into()));
    }

    /// How many changes there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes back all changes but the first `count`.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.0.truncate(count);
    }

    /// The changed text; None if nothing changes.
    pub(crate) fn apply(mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by_key(|(at, _)| (at.start, at.end));
        let grown: usize = self.0.iter().map(|(_, text)| text.len()).sum();
        let mut out = Vec::with_capacity(bytes.len().saturating_add(grown));
        let mut from = 0;
        for (at, text) in &self.0 {
            out.extend_from_slice(bytes.get(from..at.start).unwrap_or_default());
            out.extend_from_slice(text.as_bytes());
            from = from.max(at.end);
        }
        out.extend_from_slice(bytes.get(from..).unwrap_or_default());
        Some(out)
    }
}

/// A text as JSON writes it.
pub(crate) fn quoted(text: &str) -> String {
    // Names and ids of tenants are plain, and one that is needs no escapes.
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:=@ ".contains(&byte)) {
        return ["\"", text, "\""].concat();
    }
    serde_json::Value::from(text).to_string()
}
