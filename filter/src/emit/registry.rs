//! Which sources number events in this process, so that the last number of an expired VM can still be announced.
//!
//! Every source keeps its status (the last number it gave, and what became of its events) in a slot of the gateway's
//! shared data, written with each number. While it lives, the slot changes at least every [`BEAT_MS`]. Another VM of
//! the process that sees a slot stand still takes it over, announces the source as closed, and frees the slot once
//! the aggregator has the announcement. A VM that only seemed expired takes another slot and goes on.
//!
//! Time counts only while the observer itself runs, so a pause of the whole process expires no worker. A
//! slot is text, `2 CHECKSUM KEY BEAT LAST SPILLED REFUSED SOURCE`. Kong compares keys by CRC32 and copies values
//! after unlocking them, so the text repeats its key and has a checksum. A free slot has no source.
//!
//! [`survivors`] keeps the slots over a reload of Kong, which wipes its shared data.
pub mod survivors;

use weir_contract::{SourceData, SourceId, Timestamp};

use crate::hash;
use crate::store::{Read, Store, Write};

/// The most sources of one process: worker threads, and VMs that expired within the last [`EXPIRED_AFTER_MS`]. A
/// source that finds no slot goes without; its numbers are known from its own announcements only.
pub(crate) const SLOTS: usize = 128;
/// How often a slot is rewritten even if nothing happens.
pub(crate) const BEAT_MS: u64 = 2_000;
/// How often the other slots are read: 128 reads of a microsecond.
pub(crate) const SCAN_EVERY_MS: u64 = 2_500;
/// How long a slot stands still before its source counts as expired: several beats, since a VM that is busy with a
/// large body misses one.
pub(crate) const EXPIRED_AFTER_MS: u64 = 12_000;

/// The generation under which a missing key is created on Envoy; see [`Store::write`].
const CREATE_CAS: u32 = u32::MAX;

/// What a source reports about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceStatus {
    /// The last number it gave.
    pub last: u64,
    /// How many events left as log lines.
    pub spilled: u64,
    /// How many the aggregator refused for good.
    pub refused: u64,
}

impl SourceStatus {
    /// The status as an announcement.
    pub(crate) fn announcement(self, closed: bool) -> SourceData {
        SourceData { first: 1, last: self.last, spilled: self.spilled, refused: self.refused, closed }
    }
}

/// A source that has expired, with its last status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpiredWorker {
    /// Its slot, for [`WorkerRegistry::free`].
    pub slot: usize,
    /// Its name.
    pub source: SourceId,
    /// Its account.
    pub status: SourceStatus,
}

/// One VM's view of the slots.
#[derive(Debug, Default)]
pub(crate) struct WorkerRegistry {
    own: Option<usize>,
    written: Option<(SourceStatus, Timestamp)>,
    /// When no slot was free: the search is not repeated at every event.
    searched: Option<Timestamp>,
    observations: Vec<Observation>,
    scanned: Option<Timestamp>,
}

/// The text of another source's slot, and for how long it has not changed.
#[derive(Debug)]
struct Observation {
    slot: usize,
    text: Vec<u8>,
    unchanged_ms: u64,
}

impl WorkerRegistry {
    /// Writes a source's own status if it has changed or a beat is due. False if no slot was free or the store
    /// failed; it is tried again after [`BEAT_MS`].
    pub(crate) fn heartbeat(
        &mut self,
        store: &mut impl Store,
        source: &SourceId,
        status: SourceStatus,
        now: Timestamp,
    ) -> bool {
        let (written, at) = self.written.unwrap_or_default();
        let due = now.millis_since(at) >= BEAT_MS || now < at;
        let tired = self.searched.is_some_and(|at| now.millis_since(at) < BEAT_MS && at <= now);
        if status.last == 0 || tired || (written == status && !due) {
            return true;
        }
        // Another VM may have taken this one for expired and freed its slot: checked at every beat, not at every
        // event.
        if due && self.own.is_some_and(|slot| !is_in(store, slot, source)) {
            self.own = None;
        }
        self.own = match self.own {
            Some(slot) => Some(slot).filter(|_| write(store, slot, &entry(slot, source, status, now))),
            None => claim(store, source, status, now),
        };
        let placed = self.own.is_some();
        self.searched = (!placed).then_some(now);
        if placed {
            self.written = Some((status, now));
        }
        placed
    }

    /// Reads the other slots, if a scan is due, and takes over those of expired sources. Each must be announced and
    /// then freed; one that is not freed is found again.
    pub(crate) fn scan(&mut self, store: &mut impl Store, now: Timestamp) -> Vec<ExpiredWorker> {
        let since = self.scanned.map_or(SCAN_EVERY_MS, |at| now.millis_since(at));
        if since < SCAN_EVERY_MS && self.scanned.is_none_or(|at| at <= now) {
            return Vec::new();
        }
        self.scanned = Some(now);
        // This VM may have been paused itself: then nothing is known about the others.
        let elapsed = since.min(2 * SCAN_EVERY_MS);
        let mut expired = Vec::new();
        let mut before = std::mem::take(&mut self.observations);
        for slot in (0..SLOTS).filter(|slot| self.own != Some(*slot)) {
            let Read::Found(text, cas) = store.read(&key(slot)) else { continue };
            let Some(Slot::Taken(source, status)) = Slot::read(&text, slot) else { continue };
            let known = before.iter().position(|observation| observation.slot == slot).map(|at| before.swap_remove(at));
            let unchanged_ms =
                known.filter(|observation| observation.text == text).map_or(0, |s| s.unchanged_ms + elapsed);
            if unchanged_ms < EXPIRED_AFTER_MS {
                self.observations.push(Observation { slot, text, unchanged_ms });
            } else if store.write(&key(slot), &entry(slot, &source, status, now), cas) == Write::Written {
                expired.push(ExpiredWorker { slot, source, status });
            }
        }
        expired
    }

    /// Frees the slot of an expired source that has been announced.
    pub(crate) fn free(&mut self, store: &mut impl Store, slot: usize, source: &SourceId) {
        if let Read::Found(text, cas) = store.read(&key(slot))
            && matches!(Slot::read(&text, slot), Some(Slot::Taken(found, _)) if found == *source)
        {
            // If another VM was first, the slot is free or its source is announced once more.
            let _taken = store.write(&key(slot), &line(slot, &[0; 4], ""), cas);
        }
    }
}

/// The content of a slot.
#[derive(Debug, PartialEq, Eq)]
enum Slot {
    Free,
    Taken(SourceId, SourceStatus),
}

impl Slot {
    /// None for another key's value, or one that was read while it was written.
    fn read(text: &[u8], slot: usize) -> Option<Slot> {
        let text = std::str::from_utf8(text).ok()?;
        let (checksum, rest) = text.strip_prefix("2 ")?.split_once(' ')?;
        if u64::from_str_radix(checksum, 16) != Ok(hash::sum(rest.as_bytes())) {
            return None;
        }
        let rest = rest.strip_prefix(&*key(slot))?.strip_prefix(' ')?;
        let mut fields = rest.splitn(5, ' ');
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (_beat, last, spilled, refused) = (number()?, number()?, number()?, number()?);
        match fields.next()? {
            "" => Some(Slot::Free),
            source => Some(Slot::Taken(SourceId::parse(source).ok()?, SourceStatus { last, spilled, refused })),
        }
    }
}

/// The prefix of every slot's key.
const KEY: &str = "weir/source/2/";

/// Digits of a slot, for which a key has room from the start.
const KEY_DIGITS: usize = 4;

/// Every tick makes the keys of all slots: `concat` takes twice as long.
fn key(slot: usize) -> String {
    let mut key = String::with_capacity(KEY.len() + KEY_DIGITS);
    key.push_str(KEY);
    key.push_str(itoa::Buffer::new().format(slot));
    key
}

/// Digits of a checksum in hex.
const CHECKSUM_DIGITS: usize = 16;

/// Writes a slot's text without `format!`, which takes ten times as long: it is written with every event.
fn line(slot: usize, numbers: &[u64], source: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(b"2 0123456789abcdef ");
    line.extend_from_slice(KEY.as_bytes());
    line.extend_from_slice(itoa::Buffer::new().format(slot).as_bytes());
    for number in numbers {
        line.push(b' ');
        line.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
    }
    line.push(b' ');
    line.extend_from_slice(source.as_bytes());
    if let Some((checksum, [_, rest @ ..])) =
        line.get_mut(2..).and_then(|text| text.split_at_mut_checked(CHECKSUM_DIGITS))
    {
        // Eight bytes make sixteen digits.
        let _fits = hex::encode_to_slice(hash::sum(rest).to_be_bytes(), checksum);
    }
    line
}

fn entry(slot: usize, source: &SourceId, status: SourceStatus, now: Timestamp) -> Vec<u8> {
    line(slot, &[now.as_millis(), status.last, status.spilled, status.refused], source.as_str())
}

fn is_in(store: &mut impl Store, slot: usize, source: &SourceId) -> bool {
    let Read::Found(text, _) = store.read(&key(slot)) else { return false };
    matches!(Slot::read(&text, slot), Some(Slot::Taken(found, _)) if found == *source)
}

/// Takes the first free slot: the first writer has it.
fn claim(store: &mut impl Store, source: &SourceId, status: SourceStatus, now: Timestamp) -> Option<usize> {
    (0..SLOTS).find(|slot| {
        let (key, text) = (key(*slot), entry(*slot, source, status, now));
        match store.read(&key) {
            // Kong compares the generation of a missing key too.
            Read::Missing => [CREATE_CAS, 0]
                .into_iter()
                .any(|cas| store.read(&key) == Read::Missing && store.write(&key, &text, cas) == Write::Written),
            Read::Found(old, cas) if old.is_empty() || Slot::read(&old, *slot) == Some(Slot::Free) => {
                store.write(&key, &text, cas) == Write::Written
            }
            Read::Found(..) | Read::Failed => false,
        }
    })
}

/// Writes the source's own slot. Envoy accepts any generation under 0; Kong requires the current one.
fn write(store: &mut impl Store, slot: usize, text: &[u8]) -> bool {
    let key = key(slot);
    match store.write(&key, text, 0) {
        Write::Written => true,
        Write::Failed => false,
        Write::Mismatch => match store.read(&key) {
            Read::Found(_, cas) => store.write(&key, text, cas) == Write::Written,
            Read::Missing | Read::Failed => false,
        },
    }
}

#[cfg(test)]
mod tests;
