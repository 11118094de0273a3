//! Events that begin as the last one did.
//!
//! A provider sends the same kilobyte-long preamble (id, model, fingerprint, choice) with every word. Bytes that were
//! scanned from the same state lead to the same state: so the preamble up to the model's words is kept, together with the
//! state behind it, and where an event begins with the same bytes, comparing them replaces scanning them.
use super::super::document::Snapshot;
use super::Document;
use crate::bytes::is_same;
use crate::json::{Scanner, StreamStart};

/// The longest preamble that is kept, in bytes. OpenAI's are 200 to 300, Azure's with content filters 500.
const PREAMBLE_MAX_BYTES: usize = 768;

/// The preamble of an earlier event, and the state behind it.
#[derive(Debug)]
pub(super) struct Memo {
    preamble: [u8; PREAMBLE_MAX_BYTES],
    len: usize,
    behind: Option<(StreamStart, Snapshot)>,
    /// How long the preamble of the last event was, that was scanned.
    candidate: Option<usize>,
}

impl Memo {
    pub(super) fn new() -> Self {
        Memo { preamble: [0; PREAMBLE_MAX_BYTES], len: 0, behind: None, candidate: None }
    }

    /// Feeds the first bytes of an event's data, by way of the preamble where they begin with it.
    pub(super) fn feed(&mut self, data: &[u8], scanner: &mut Scanner, document: &mut Document) {
        if let Some((scanned, looked)) = &self.behind
            && let Some(preamble) = self.preamble.get(..self.len)
            && let Some((begin, rest)) = data.split_at_checked(self.len)
            && is_same(begin, preamble)
        {
            scanner.resume(*scanned);
            document.restore(looked);
            return scanner.feed(rest, document);
        }
        let rest = self.candidate.take().and_then(|len| self.learn(data, len, scanner, document));
        match rest {
            Some(rest) => scanner.feed(rest, document),
            None => {
                scanner.feed(data, document);
                self.candidate = scanner.left_at_stream().and_then(|left| data.len().checked_sub(left));
            }
        }
    }

    /// Scans as much as the last event's preamble was long. If that is this event's preamble too, it is kept. Returns what
    /// is left to scan.
    fn learn<'d>(
        &mut self,
        data: &'d [u8],
        len: usize,
        scanner: &mut Scanner,
        document: &mut Document,
    ) -> Option<&'d [u8]> {
        let (preamble, rest) = data.split_at_checked(len)?;
        let room = self.preamble.get_mut(..len)?;
        scanner.feed(preamble, document);
        self.behind = scanner.stream_start().zip(document.snapshot());
        room.copy_from_slice(preamble);
        self.len = len;
        Some(rest)
    }
}
