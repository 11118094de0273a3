//! Events of one shape.
//!
//! A provider sends the same document with every word: the same members in the same order, and in most the same values (id,
//! model, choice). What differs is the word, perhaps the counts so far, and values that nobody reads. So of the last event
//! that was scanned everything is kept but these; where the next one has the same bytes around its own, it says the same, but
//! for its text and its counts: bytes that the scanner reads from the same state lead to the same state. Comparing them
//! replaces scanning them.
use super::super::counters::Field;
use super::super::document::Document;
use super::super::staged::Staged;
use super::super::strip;
use super::super::text::TextWeight;
use super::super::trace::SpanContent;
use crate::json::{Varying, count};
use crate::lanes;

/// The longest event that is kept, in bytes. OpenAI's have 300 to 400, Azure's with content filters 600.
const EVENT_MAX_BYTES: usize = 2048;

/// The most counts that differ. Gemini's events have three, OpenAI's three as well.
const COUNTS_MAX: usize = 8;

/// What events of one shape have in common.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// There is one.
    known: bool,
    /// All parts' bytes one after the other, and what follows the last.
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// What such an event says, with the counts of one of them.
    said: Staged,
    may_be_dropped: bool,
}

/// Bytes that are the same in all, and what stands behind them.
#[derive(Clone, Copy, Debug)]
struct Part {
    fixed: usize,
    content: SpanContent,
    /// How many bytes a container had: many hold the same each time, which is seen faster than where they end.
    sample: usize,
}

impl Shape {
    /// Keeps the shape of `data`, which `document` was traced through and has staged.
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
            // A count that a later member has taken back, or another object, is not this event's.
            if let SpanContent::Count(field) = span.content
                && staged.counters.get(field).is_none()
            {
                return None;
            }
            rest = behind;
        }
        self.bytes.extend_from_slice(rest);
        self.said.clone_from(staged);
        self.may_be_dropped = strip::may_be_extra(&self.bytes);
        Some(())
    }

    /// Believes the document at the beginning of `bytes` and returns what follows it, if it is of this shape and its line and
    /// its event end with it.
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

    /// Whether such an event may be the one that is dropped where weir asked for usage.
    pub(super) fn may_be_dropped(&self) -> bool {
        self.may_be_dropped
    }
}

fn split_before_last(bytes: &[u8], left: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(bytes.len().checked_sub(left)?)
}
