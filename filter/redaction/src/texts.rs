//! Texts that come in pieces, over several events.
use std::ops::Range;

use crate::findings::{Findings, REPLACEMENT};
use crate::held::{Held, Splice};
use crate::search::{Match, Search};
use crate::words::Before;

/// The most texts that one stream brings side by side (choices, content blocks, tool calls).
pub const TEXTS_MAX: usize = 256;
/// How much of one text may be open, in bytes: identifiers that overlap without an end. Beyond, they are replaced as far as
/// they are known.
const OPEN_MAX_BYTES: usize = 1024;

/// A stretch of text and where it stands in its event.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Its length in the text, in bytes.
    pub(crate) length: usize,
    pub(crate) event: u64,
    /// Its bytes in the event.
    pub(crate) raw: Range<usize>,
}

impl Piece {
    /// Whether each byte of the text is the same byte in the event. An escape is one character in more bytes.
    fn is_plain(&self) -> bool {
        self.raw.len() == self.length
    }

    /// The bytes in the event of a range of the piece.
    fn within(&self, range: &Range<usize>) -> Range<usize> {
        if !self.is_plain() {
            return self.raw.clone();
        }
        self.raw.start.saturating_add(range.start)..self.raw.start.saturating_add(range.end)
    }
}

/// A text up to where it is known, and its pieces.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// What stands in front of `bytes`.
    before: Before,
    pub(crate) bytes: Vec<u8>,
    pub(crate) pieces: Vec<Piece>,
}

impl Text {
    /// Takes a piece of text that nothing waits before, names nobody, and leaves nothing open. False: it must be appended.
    pub(crate) fn passes(&mut self, piece: &[u8], search: Search<'_>) -> bool {
        if !self.bytes.is_empty() {
            return false;
        }
        let mut found = Vec::new();
        let open = search.run(piece, self.before, false, &mut found);
        let passes = found.is_empty() && open == piece.len();
        if passes && !piece.is_empty() {
            self.before = self.before.behind(piece, open);
        }
        passes
    }

    /// Replaces the identifiers in a text of which no more comes.
    pub(crate) fn end(&self, search: Search<'_>, held: &mut Held, findings: &mut Findings) {
        let mut found = Vec::new();
        search.run(&self.bytes, self.before, true, &mut found);
        self.replace(found.iter(), held, findings);
    }

    /// Replaces what can be told to be an identifier, and forgets what is settled.
    pub(crate) fn settle(&mut self, search: Search<'_>, held: &mut Held, findings: &mut Findings) {
        let mut found = Vec::new();
        let open = search.run(&self.bytes, self.before, false, &mut found);
        // A match that reaches into the open word may have to be lengthened.
        let reaching = found.last().filter(|last| last.range.end > open).map(|last| last.range.start);
        let settled = reaching.filter(|_| self.bytes.len() <= OPEN_MAX_BYTES).unwrap_or(open);
        self.replace(found.iter().filter(|found| found.range.start < settled), held, findings);
        self.forget(settled);
    }

    /// Replaces what is an identifier if no more comes, although more may: its events go out now. A word that would have gone on
    /// (`globex` of `globexes`) is replaced needlessly; a name that went out would not come back.
    fn replace_known(&mut self, search: Search<'_>, held: &mut Held, findings: &mut Findings) {
        self.end(search, held, findings);
        let open = search.run(&self.bytes, self.before, false, &mut Vec::new());
        self.forget(open);
    }

    fn replace<'m>(&self, found: impl Iterator<Item = &'m Match>, held: &mut Held, findings: &mut Findings) {
        for one in found {
            let mut by: &'static [u8] = REPLACEMENT;
            let mut at = 0_usize;
            for piece in &self.pieces {
                let end = at.saturating_add(piece.length);
                let from = one.range.start.max(at);
                let to = one.range.end.min(end);
                // What is out already cannot be replaced; the rest of it is.
                if from < to && held.has(piece.event) {
                    let range = piece.within(&(from.saturating_sub(at)..to.saturating_sub(at)));
                    held.splice(piece.event, Splice { range, by });
                    by = b"";
                }
                at = end;
            }
            // Nothing was replaced where all of it is out: it was replaced before.
            if by.is_empty() {
                findings.add(one.owner);
            }
        }
    }

    /// Forgets the first `count` bytes.
    fn forget(&mut self, count: usize) {
        self.before = self.before.behind(&self.bytes, count);
        self.bytes.drain(..count.min(self.bytes.len()));
        let mut left = count;
        self.pieces.retain_mut(|piece| {
            let gone = left.min(piece.length);
            left = left.saturating_sub(gone);
            if piece.is_plain() {
                piece.raw.start = piece.raw.start.saturating_add(gone);
            }
            piece.length = piece.length.saturating_sub(gone);
            piece.length > 0
        });
    }
}

/// Which text of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its place: member names and the numbers of choice, block and call.
    pub(crate) place: u64,
    /// The choice or block: what ends together.
    pub(crate) group: u64,
}

/// All texts of a stream.
#[derive(Debug, Default)]
pub(crate) struct Texts(Vec<(Key, Text)>);

impl Texts {
    /// The text of that key, a new one if need be. None beyond [`TEXTS_MAX`].
    pub(crate) fn get(&mut self, key: Key) -> Option<&mut Text> {
        let known = self.0.iter().position(|(known, _)| known.place == key.place);
        if known.is_none() {
            if self.0.len() >= TEXTS_MAX {
                return None;
            }
            self.0.push((key, Text::default()));
        }
        let at = known.unwrap_or(self.0.len().saturating_sub(1));
        self.0.get_mut(at).map(|(_, text)| text)
    }

    /// Ends the texts of a group, or all.
    pub(crate) fn end(&mut self, group: Option<u64>, search: Search<'_>, held: &mut Held, findings: &mut Findings) {
        for (_, text) in self.0.iter().filter(|(key, _)| group.is_none_or(|group| key.group == group)) {
            text.end(search, held, findings);
        }
        self.0.retain(|(key, _)| group.is_some_and(|group| key.group != group));
    }

    /// Replaces in all texts what is known.
    pub(crate) fn replace_known(&mut self, search: Search<'_>, held: &mut Held, findings: &mut Findings) {
        for (_, text) in &mut self.0 {
            text.replace_known(search, held, findings);
        }
    }

    /// The oldest event that is not out yet and that a text is still open in.
    pub(crate) fn oldest(&self, held: &Held) -> Option<u64> {
        let open = |text: &Text| text.pieces.iter().map(|piece| piece.event).find(|event| held.has(*event));
        self.0.iter().filter_map(|(_, text)| open(text)).min()
    }
}
