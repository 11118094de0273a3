//! Recognises an event of a stream that repeats the one before, but for some of its values.
//!
//! Providers repeat a frame of some hundred bytes around each word. What was searched once needs no second look: this finds, without
//! reading the grammar, the values that are new, and the pieces of texts that go on. An event that differs anywhere else is read as any
//! other is. `make fuel` says what that gains; `streams_equal_the_whole_replaced` compares it with a replacement that knows no frames.
use std::ops::Range;

use weir_llm_usage::lanes::{LANES, Lanes};

use crate::strings::{SLOTS_MAX, plain};
use crate::texts::Key;

/// The longest event that is remembered, in bytes: a frame is some hundred. Longer ones are read anew.
const TEMPLATE_MAX_BYTES: usize = 4096;

/// What a value is that may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// A string that stands alone.
    Alone,
    /// A piece of a text.
    Continued(Key),
    /// A number that says nothing of choices.
    Number,
}

/// A value of an event, and where it stands in it: strings without their quotes.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) range: Range<usize>,
    pub(crate) kind: SlotKind,
}

/// An event that was read, in which nobody was named.
#[derive(Debug, Default)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// In the order in which they stand.
    slots: Vec<Slot>,
    /// The identifiers that were looked for.
    version: u64,
}

impl Template {
    /// Remembers an event with its end. No slot holds an escape.
    pub(crate) fn remember(&mut self, event: &[u8], slots: impl Iterator<Item = Slot>, version: u64) {
        self.forget();
        // Behind a CR an LF may still belong to the same event.
        if event.len() > TEMPLATE_MAX_BYTES || event.last() != Some(&b'\n') {
            return;
        }
        self.slots.extend(slots.take(SLOTS_MAX.saturating_add(1)));
        if self.slots.len() > SLOTS_MAX {
            return;
        }
        self.slots.sort_unstable_by_key(|slot| slot.range.start);
        self.bytes.extend_from_slice(event);
        self.version = version;
    }

    pub(crate) fn forget(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }

    /// The length of the event that `bytes` begin with, if it repeats this one. `found` gets its new values and its pieces of texts.
    pub(crate) fn repeats(&self, bytes: &[u8], version: u64, found: &mut Vec<Slot>) -> Option<usize> {
        found.clear();
        if self.bytes.is_empty() || self.version != version {
            return None;
        }
        let mut slots = self.slots.iter();
        // Where the unread rests begin, of this event and of the new one.
        let (mut old, mut new) = (0_usize, 0_usize);
        loop {
            let same = common(self.bytes.get(old..)?, bytes.get(new..)?);
            let differs_at = old.checked_add(same)?;
            let is_end = differs_at == self.bytes.len();
            let slot = loop {
                let Some(slot) = slots.next() else { break None };
                if !is_end && slot.range.end >= differs_at {
                    break Some(slot);
                }
                if matches!(slot.kind, SlotKind::Continued(_)) {
                    let start = slot.range.start.checked_sub(old)?.checked_add(new)?;
                    let range = start..start.checked_add(slot.range.len())?;
                    found.push(Slot { range, kind: slot.kind });
                }
            };
            if is_end {
                return new.checked_add(same);
            }
            let slot = slot.filter(|slot| slot.range.start <= differs_at)?;
            let start = slot.range.start.checked_sub(old)?.checked_add(new)?;
            let range = start..slot.kind.end(bytes, start, new.checked_add(same)?)?;
            (old, new) = (slot.range.end, range.end);
            found.push(Slot { range, kind: slot.kind });
        }
    }
}

impl SlotKind {
    /// The end of the value that begins at `start`; up to `from` it is known to be plain. None where it needs to be read by the grammar.
    fn end(self, bytes: &[u8], start: usize, from: usize) -> Option<usize> {
        let rest = bytes.get(from..)?;
        if self == SlotKind::Number {
            let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
            let end = from.checked_add(rest.iter().position(|byte| !is_number(byte))?)?;
            return (end > start).then_some(end);
        }
        let length = plain(rest);
        (rest.get(length) == Some(&b'"')).then(|| from.checked_add(length)).flatten()
    }
}

/// How many bytes two runs begin alike.
fn common(one: &[u8], other: &[u8]) -> usize {
    let mut at = 0_usize;
    for (one, other) in one.as_chunks().0.iter().zip(other.as_chunks().0) {
        if !Lanes::load(one).is_same(Lanes::load(other)) {
            break;
        }
        at = at.saturating_add(LANES);
    }
    let rests = one.get(at..).unwrap_or_default().iter().zip(other.get(at..).unwrap_or_default());
    at.saturating_add(rests.take_while(|(one, other)| one == other).count())
}
