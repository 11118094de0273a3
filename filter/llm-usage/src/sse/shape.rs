//! A fast path for events of one shape.
//!
//! A provider sends the same document with every word: the same members in the same order, mostly with the same values
//! (id, model, choice). Only the word changes, perhaps the counts so far, and values that weir skips. So weir keeps the
//! last scanned event without these. If the next event has the same bytes around its own varying values, it says the
//! same except for its text and counts, because the scanner reaches the same state from the same bytes. The comparison
//! replaces the scan; `tests/shapes.rs` checks that both give the same result.
use super::super::counters::Field;
use super::super::document::Document;
use super::super::kind::Mark;
use super::super::staged::Staged;
use super::super::strip;
use super::super::text::TextWeight;
use super::super::trace::SpanContent;
use crate::json::{Varying, count};
use crate::lanes;

/// The longest event that is kept, in bytes. OpenAI's have 300 to 400, Azure's with content filters 600.
const EVENT_MAX_BYTES: usize = 2048;

/// The most varying counts. Gemini's and OpenAI's events have three.
const COUNTS_MAX: usize = 8;

/// The common part of events of one shape.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// True if a shape is known.
    known: bool,
    /// The bytes of all parts one after the other, and those that follow the last part.
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// The content of such an event, with the counts of one of them.
    said: Staged,
    may_be_dropped: bool,
}

/// Constant bytes, and the varying value behind them.
#[derive(Clone, Copy, Debug)]
struct Part {
    fixed: usize,
    content: SpanContent,
    /// Bytes of the container in the sample. Many containers are the same each time, and comparing is faster than
    /// finding their end.
    sample: usize,
}

impl Shape {
    /// Stores the shape of `data`, which `document` has traced and staged.
    pub(super) fn learn(&mut self, data: &[u8], document: &mut Document) {
        self.known = data.len() <= EVENT_MAX_BYTES && self.keep(data, document).is_some();
    }

    fn keep(&mut self, data: &[u8], document: &mut Document) -> Option<()> {
        let (spans, staged) = document.stop_trace()?;
        self.bytes.clear();
        self.parts.clear();
        let mut rest = data;
        for span in spans {
            let (fixed, behind) = split_before_last(rest, span.begin)?;
            let (own, behind) = split_before_last(behind, span.end)?;
            let sample = if span.content == SpanContent::Unread(Varying::Container) { own } else { &[] };
            self.bytes.extend_from_slice(fixed);
            self.bytes.extend_from_slice(sample);
            self.parts.push(Part { fixed: fixed.len(), content: span.content, sample: sample.len() });
            // Skips a count that a later member has cleared, or that belongs to another object.
            if let SpanContent::Count(field) = span.content
                && staged.counters.get(field).is_none()
            {
                return None;
            }
            rest = behind;
        }
        self.bytes.extend_from_slice(rest);
        self.said.clone_from(staged);
        // Events of a shape have the same choices; `tests/shapes.rs` compares this with a stripper that is fed every event.
        self.may_be_dropped = !staged.marks.has(Mark::SomeRootChoice) && strip::may_be_extra(&self.bytes);
        Some(())
    }

    /// Takes the document at the beginning of `bytes` as read, if it has this shape and its line and event end with it.
    /// Returns the bytes that follow it.
    pub(super) fn read<'b>(&self, bytes: &'b [u8], document: &mut Document) -> Option<&'b [u8]> {
        if !self.known {
            return None;
        }
        let mut text = TextWeight::default();
        let (mut counts, mut counted) = ([(Field::Total, 0); COUNTS_MAX], 0_usize);
        let (mut rest, mut fixed) = (bytes, &self.bytes[..]);
        for part in &self.parts {
            let (before, sample);
            (before, fixed) = fixed.split_at_checked(part.fixed)?;
            (sample, fixed) = fixed.split_at_checked(part.sample)?;
            rest = lanes::strip_prefix(rest, before)?;
            rest = match part.content {
                SpanContent::Unread(varying) => match lanes::strip_prefix(rest, sample).filter(|_| part.sample > 0) {
                    Some(behind) => behind,
                    None => varying.pass(rest, &mut |piece| text.add(piece))?,
                },
                SpanContent::Count(field) => {
                    let behind = Varying::Read.pass(rest, &mut |_| {})?;
                    let (number, _) = split_before_last(rest, behind.len())?;
                    *counts.get_mut(counted)? = (field, count(number)?);
                    counted = counted.saturating_add(1);
                    behind
                }
            };
        }
        rest = lanes::strip_prefix(rest, fixed)?;
        rest = rest.strip_prefix(b"\n\n").or_else(|| rest.strip_prefix(b"\r\n\r\n"))?;
        document.commit_like(&self.said, text, counts.get(..counted)?);
        Some(rest)
    }

    /// Returns true if such an event may be the one that weir drops from the stream after asking for usage.
    pub(super) fn may_be_dropped(&self) -> bool {
        self.may_be_dropped
    }
}

fn split_before_last(bytes: &[u8], left: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(bytes.len().checked_sub(left)?)
}
