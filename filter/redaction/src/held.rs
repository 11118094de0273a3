//! Events that wait until the end of their text is known.
use std::collections::VecDeque;
use std::ops::Range;

/// The most events held back. Beyond, all of them go out as they are known then.
pub const HELD_EVENTS_MAX: usize = 64;
/// The most bytes held back. Beyond, all of them go out as they are known then.
pub const HELD_MAX_BYTES: usize = 64 * 1024;

/// Bytes of an event to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splice {
    pub(crate) range: Range<usize>,
    pub(crate) by: &'static [u8],
}

#[derive(Debug)]
struct Event {
    bytes: Vec<u8>,
    splices: Vec<Splice>,
}

/// The events that are not out yet, oldest first, by number. The last number is the event that is being read.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: VecDeque<Event>,
    bytes: usize,
    /// The number of the oldest.
    first: u64,
    /// Splices of the event that is being read.
    current: Vec<Splice>,
    /// Whether bytes of any event were replaced.
    has_changed: bool,
}

impl Held {
    /// The number of the event that is being read.
    pub(crate) fn current(&self) -> u64 {
        self.first.saturating_add(self.waiting.len() as u64)
    }

    /// Whether an event is not out yet.
    pub(crate) fn has(&self, event: u64) -> bool {
        event >= self.first
    }

    /// Replaces bytes of an event. Nothing happens to an event that is out.
    pub(crate) fn splice(&mut self, event: u64, splice: Splice) {
        let Some(at) = event.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { return };
        self.has_changed = true;
        match self.waiting.get_mut(at) {
            Some(waiting) => waiting.splices.push(splice),
            None => self.current.push(splice),
        }
    }

    /// Whether bytes of any event were replaced.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// Whether all events before the one that is being read are out.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The event that is being read goes out as it is, by another way.
    pub(crate) fn pass(&mut self) {
        self.first = self.first.saturating_add(1);
    }

    /// Whether bytes of the event that is being read are replaced.
    pub(crate) fn has_splices(&self) -> bool {
        !self.current.is_empty()
    }

    /// The event that is being read has been read. `oldest`: the oldest event that something is still unknown of. What
    /// comes before it goes out.
    pub(crate) fn end_event(&mut self, bytes: &[u8], oldest: Option<u64>, out: &mut Vec<u8>) {
        let mut splices = std::mem::take(&mut self.current);
        if oldest.is_none() && self.waiting.is_empty() {
            write(bytes, &mut splices, out);
            self.first = self.first.saturating_add(1);
            self.current = splices;
            self.current.clear();
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.waiting.push_back(Event { bytes: bytes.to_vec(), splices });
        self.release(oldest.unwrap_or(u64::MAX), out);
    }

    /// Whether more is held back than may be.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting.len() > HELD_EVENTS_MAX || self.bytes > HELD_MAX_BYTES
    }

    /// Lets all events before number `before` out.
    pub(crate) fn release(&mut self, before: u64, out: &mut Vec<u8>) {
        while self.first < before {
            let Some(mut event) = self.waiting.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(event.bytes.len());
            self.first = self.first.saturating_add(1);
            write(&event.bytes, &mut event.splices, out);
        }
    }
}

fn write(bytes: &[u8], splices: &mut [Splice], out: &mut Vec<u8>) {
    splices.sort_unstable_by_key(|splice| splice.range.start);
    let mut at = 0;
    for splice in splices {
        out.extend_from_slice(bytes.get(at..splice.range.start).unwrap_or_default());
        out.extend_from_slice(splice.by);
        at = splice.range.end;
    }
    out.extend_from_slice(bytes.get(at..).unwrap_or_default());
}
