//! A fast path for events that differ in one text only.
//!
//! A provider sends the same document with every word. So the last event that was translated into one text of the
//! client's stream is kept: what stands around the text, before and after the translation. If the next event has the
//! same bytes around a text of its own, its translation has the same bytes around that text, since the reader would walk
//! the same way. Two comparisons and the search for the end of a string replace reading and writing.
//! `tests/streams.rs` checks that both ways say the same.
use std::ops::Range;

use weir_llm_usage::bytes::is_same;
use weir_llm_usage::json::cursor::Cursor;

/// The longest event that is kept, without its text, in bytes.
const SHAPE_MAX_BYTES: usize = 2048;

/// What stands around the text.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Ends with the quote that opens the text. Empty: no shape is known.
    before: Vec<u8>,
    /// Begins behind the quote that closes the text.
    after: Vec<u8>,
    said_before: Vec<u8>,
    said_after: Vec<u8>,
}

/// An event whose translation is one text.
#[derive(Clone, Debug)]
pub(super) struct OneText {
    /// The text in the event, without quotes.
    pub(super) from: Range<usize>,
    /// The text in what was said, without quotes.
    pub(super) to: Range<usize>,
}

impl Shape {
    /// Keeps what stands around a text.
    pub(super) fn learn(&mut self, event: &[u8], said: &[u8], text: &OneText) {
        self.forget();
        if event.len().saturating_sub(text.from.len()) > SHAPE_MAX_BYTES {
            return;
        }
        let parts =
            |bytes: &[u8], at: &Range<usize>| Some((bytes.get(..at.start)?.to_vec(), bytes.get(at.end..)?.to_vec()));
        if let (Some((before, after)), Some((said_before, said_after))) =
            (parts(event, &text.from), parts(said, &text.to))
        {
            let after = after.get(1..).unwrap_or_default().to_vec();
            *self = Shape { before, after, said_before, said_after };
        }
    }

    /// The next event stands for itself.
    pub(super) fn forget(&mut self) {
        self.before.clear();
    }

    /// Says what an event of the known shape says; false if it has another.
    pub(super) fn say(&self, event: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(text) = self.text(event) else { return false };
        out.extend_from_slice(&self.said_before);
        out.extend_from_slice(text);
        out.extend_from_slice(&self.said_after);
        true
    }

    fn text<'e>(&self, event: &'e [u8]) -> Option<&'e [u8]> {
        let quote = self.before.len().checked_sub(1)?;
        if !is_same(event.get(..quote)?, self.before.get(..quote)?) {
            return None;
        }
        let rest = event.get(quote..)?;
        let mut cursor = Cursor::new(rest);
        // No text at all may be translated to nothing.
        let text = cursor.string().ok().filter(|text| !text.is_empty())?;
        (rest.get(cursor.at()..)? == self.after).then(|| cursor.slice(&text))
    }
}
