//! Who numbers events in this process: what a dead VM had numbered can still be told.
//!
//! Every source keeps its account (the last number it gave, and what became of the events) at a place of its own in the
//! gateway's shared data, written with each number. As long as it lives the account changes every [`BEAT_MS`]. Another VM
//! of the process that sees one stand still takes it over, announces the source as closed, and frees the place once the
//! aggregator has the announcement. A VM that only seemed dead takes another place and goes on.
//!
//! Time is counted only while the observer itself runs: a process that was stopped for an hour kills nobody on waking.
//! An account is text, `2 CHECKSUM KEY BEAT LAST SPILLED REFUSED SOURCE`: Kong compares keys by CRC32 and copies values
//! after it has unlocked them, so a value says whose it is and whether it is whole. A free place has no source.
use weir_contract::{SourceData, SourceId, Timestamp};

use crate::hash;
use crate::store::{Read, Store, Write};

/// The most sources of one process: worker threads, and VMs that died within the last [`EXPIRED_AFTER_MS`]. Where there is
/// no place a source goes without; its numbers are known from its own announcements only.
pub const SLOTS: usize = 128;
/// How often an account changes although nothing happens.
pub const BEAT_MS: u64 = 2_000;
/// How often the others are looked at: 128 reads of a microsecond.
pub const SCAN_EVERY_MS: u64 = 2_500;
/// How long an account stands still before its source is taken for dead: several beats, since a VM whose thread is busy
/// with a large body misses one.
pub const EXPIRED_AFTER_MS: u64 = 12_000;

/// Under this generation a missing key is created on Envoy; see [`Store::write`].
const CREATE_CAS: u32 = u32::MAX;

/// What a source says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// The last number it gave.
    pub last: u64,
    /// How many events left as log lines.
    pub spilled: u64,
    /// How many the aggregator refused for good.
    pub refused: u64,
}

impl SourceStatus {
    /// As an announcement says it.
    pub fn announcement(self, closed: bool) -> SourceData {
        SourceData { first: 1, last: self.last, spilled: self.spilled, refused: self.refused, closed }
    }
}

/// A source that has died, and what it last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredWorker {
    /// Its slot, for [`WorkerRegistry::free`].
    pub slot: usize,
    /// Its name.
    pub source: SourceId,
    /// Its account.
    pub status: SourceStatus,
}

/// One VM's view of the places.
#[derive(Debug, Default)]
pub struct WorkerRegistry {
    own: Option<usize>,
    written: Option<(SourceStatus, Timestamp)>,
    /// When there was no place: the search is not repeated at every event.
    searched: Option<Timestamp>,
    observations: Vec<Observation>,
    scanned: Option<Timestamp>,
}

/// What stood at another's place, and for how long.
#[derive(Debug)]
struct Observation {
    slot: usize,
    text: Vec<u8>,
    unchanged_ms: u64,
}

impl WorkerRegistry {
    /// Writes a source's own account down, if it has changed or is due. False: there was no place for it, or the store
    /// failed; after [`BEAT_MS`] it is tried again.
    pub fn heartbeat(
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
        // Somebody who took this VM for dead may have given its place away: looked up at every beat, not at every event.
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

    /// Looks at the others, if that is due, and takes over those that have died. Each is to be announced and then freed;
    /// one that is not freed is found dead again.
    pub fn scan(&mut self, store: &mut impl Store, now: Timestamp) -> Vec<ExpiredWorker> {
        let since = self.scanned.map_or(SCAN_EVERY_MS, |at| now.millis_since(at));
        if since < SCAN_EVERY_MS && self.scanned.is_none_or(|at| at <= now) {
            return Vec::new();
        }
        self.scanned = Some(now);
        // This VM may have slept itself: then nothing is known of the others.
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

    /// A dead source has been announced: its place is free.
    pub fn free(&mut self, store: &mut impl Store, slot: usize, source: &SourceId) {
        if let Read::Found(text, cas) = store.read(&key(slot))
            && matches!(Slot::read(&text, slot), Some(Slot::Taken(found, _)) if found == *source)
        {
            // Somebody else was first: then it is free, or it is announced once more.
            let _taken = store.write(&key(slot), &line(slot, &[0; 4], ""), cas);
        }
    }
}

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
enum Slot {
    Free,
    Taken(SourceId, SourceStatus),
}

impl Slot {
    /// None: another key's value, or one that was read while it was written.
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

/// What the keys of places start with.
const KEY: &str = "weir/source/2/";

fn key(slot: usize) -> String {
    [KEY, itoa::Buffer::new().format(slot)].concat()
}

/// Digits of a checksum in hex.
const CHECKSUM_DIGITS: usize = 16;

/// Written with every event: so without `format!`, which takes ten times as long, and in one piece.
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
        // Eight bytes are sixteen digits.
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

/// Takes the first free place: whoever writes there first has it.
fn claim(store: &mut impl Store, source: &SourceId, status: SourceStatus, now: Timestamp) -> Option<usize> {
    (0..SLOTS).find(|slot| {
        let (key, text) = (key(*slot), entry(*slot, source, status, now));
        match store.read(&key) {
            // Kong compares the generation of a missing key, too.
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

/// Writes one's own place. Envoy takes any generation under 0; Kong wants the one that is there.
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
