//! Reading names and texts of answers, and writing them again.
use std::ops::Range;

use weir_llm_usage::json::tree::{Id, Tree};

use super::shape::OneText;
use crate::table::member;
use crate::write::Writer;

/// The longest name of an answer, a model or a call that is taken over, in bytes: names are repeated in every event.
const NAME_MAX_BYTES: usize = 256;

/// Where a string's text stands, and the text as it is written.
pub(super) fn text_at<'b>(tree: &Tree<'b>, value: Option<Id>) -> Option<(Range<usize>, &'b [u8])> {
    let node = value.and_then(|value| tree.node(value))?;
    let raw = tree.bytes.get(node.at.clone())?;
    let text = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    Some((node.at.start.saturating_add(1)..node.at.end.saturating_sub(1), text)).filter(|(_, text)| !text.is_empty())
}

/// A short name, as it is written, quotes included; another one if it is no text or too long.
pub(super) fn name<'b>(tree: &Tree<'b>, holder: Id, wanted: &str, otherwise: &'static str) -> &'b [u8] {
    let found = member(tree, holder, wanted).filter(|value| tree.text(*value).is_some());
    let raw = found.map(|value| tree.raw(value)).unwrap_or_default();
    if (3..=NAME_MAX_BYTES).contains(&raw.len()) { raw } else { otherwise.as_bytes() }
}

/// Appends `before`, a text and `after`; returns where the text stands in the event and in what was said since `start`.
pub(super) fn say_text(
    (from, text): (Range<usize>, &[u8]),
    start: usize,
    (before, after): (&[u8], &[u8]),
    out: &mut Vec<u8>,
) -> OneText {
    out.extend_from_slice(before);
    let at = out.len().saturating_sub(start);
    out.extend_from_slice(text);
    out.extend_from_slice(after);
    OneText { from, to: at..at.saturating_add(text.len()) }
}

/// Whether the document is of this type.
pub(super) fn kind<'b>(tree: &Tree<'b>, holder: Id) -> std::borrow::Cow<'b, str> {
    member(tree, holder, "type").and_then(|kind| tree.text(kind)).unwrap_or_default()
}

/// Writes an event of JSON: what stands before it, and what `write` adds.
pub(super) fn say(out: &mut Vec<u8>, before: &str, write: impl FnOnce(&mut Writer)) {
    let mut writer = Writer::default();
    write(&mut writer);
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(writer.as_bytes());
    out.extend_from_slice(b"\n\n");
}
