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
use crate::limit::{Read, Store, Write};

/// The most sources of one process: worker threads, and VMs that died within the last [`DEAD_AFTER_MS`]. Where there is
/// no place a source goes without; its numbers are known from its own announcements only.
pub const PLACES: usize = 128;
/// How often an account changes although nothing happens.
pub const BEAT_MS: u64 = 2_000;
/// How often the others are looked at: 128 reads of a microsecond.
pub const LOOK_EVERY_MS: u64 = 2_500;
/// How long an account stands still before its source is taken for dead: several beats, since a VM whose thread is busy
/// with a large body misses one.
pub const DEAD_AFTER_MS: u64 = 12_000;

/// Under this generation a missing key is created on Envoy; see [`Store::write`].
const CREATE_CAS: u32 = u32::MAX;

/// What a source says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The last number it gave.
    pub last: u64,
    /// How many events left as log lines.
    pub spilled: u64,
    /// How many the aggregator refused for good.
    pub refused: u64,
}

impl Account {
    /// As an announcement says it.
    pub fn announcement(self, closed: bool) -> SourceData {
        SourceData { first: 1, last: self.last, spilled: self.spilled, refused: self.refused, closed }
    }
}

/// A source that has died, and what it last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its place, for [`Roster::free`].
    pub place: usize,
    /// Its name.
    pub source: SourceId,
    /// Its account.
    pub account: Account,
}

/// One VM's view of the places.
#[derive(Debug, Default)]
pub struct Roster {
    own: Option<usize>,
    told: Option<(Account, Timestamp)>,
    /// When there was no place: the search is not repeated at every event.
    sought: Option<Timestamp>,
    sightings: Vec<Sighting>,
    looked: Option<Timestamp>,
}

/// What stood at another's place, and for how long.
#[derive(Debug)]
struct Sighting {
    place: usize,
    text: Vec<u8>,
    unchanged_ms: u64,
}

impl Roster {
    /// Writes a source's own account down, if it has changed or is due. False: there was no place for it, or the store
    /// failed; after [`BEAT_MS`] it is tried again.
    pub fn tell(&mut self, store: &mut impl Store, source: &SourceId, account: Account, now: Timestamp) -> bool {
        let (told, at) = self.told.unwrap_or_default();
        let due = now.millis_since(at) >= BEAT_MS || now < at;
        let tired = self.sought.is_some_and(|at| now.millis_since(at) < BEAT_MS && at <= now);
        if account.last == 0 || tired || (told == account && !due) {
            return true;
        }
        // Somebody who took this VM for dead may have given its place away: looked up at every beat, not at every event.
        if due && self.own.is_some_and(|place| !is_at(store, place, source)) {
            self.own = None;
        }
        self.own = match self.own {
            Some(place) => Some(place).filter(|_| write(store, place, &entry(place, source, account, now))),
            None => claim(store, source, account, now),
        };
        let placed = self.own.is_some();
        self.sought = (!placed).then_some(now);
        if placed {
            self.told = Some((account, now));
        }
        placed
    }

    /// Looks at the others, if that is due, and takes over those that have died. Each is to be announced and then freed;
    /// one that is not freed is found dead again.
    pub fn look(&mut self, store: &mut impl Store, now: Timestamp) -> Vec<Dead> {
        let since = self.looked.map_or(LOOK_EVERY_MS, |at| now.millis_since(at));
        if since < LOOK_EVERY_MS && self.looked.is_none_or(|at| at <= now) {
            return Vec::new();
        }
        self.looked = Some(now);
        // This VM may have slept itself: then nothing is known of the others.
        let elapsed = since.min(2 * LOOK_EVERY_MS);
        let mut dead = Vec::new();
        let mut before = std::mem::take(&mut self.sightings);
        for place in (0..PLACES).filter(|place| self.own != Some(*place)) {
            let Read::Found(text, cas) = store.read(&key(place)) else { continue };
            let Some(Seat::Taken(source, account)) = Seat::read(&text, place) else { continue };
            let known = before.iter().position(|sighting| sighting.place == place).map(|at| before.swap_remove(at));
            let unchanged_ms = known.filter(|sighting| sighting.text == text).map_or(0, |s| s.unchanged_ms + elapsed);
            if unchanged_ms < DEAD_AFTER_MS {
                self.sightings.push(Sighting { place, text, unchanged_ms });
            } else if store.write(&key(place), &entry(place, &source, account, now), cas) == Write::Written {
                dead.push(Dead { place, source, account });
            }
        }
        dead
    }

    /// A dead source has been announced: its place is free.
    pub fn free(&mut self, store: &mut impl Store, place: usize, source: &SourceId) {
        if let Read::Found(text, cas) = store.read(&key(place))
            && matches!(Seat::read(&text, place), Some(Seat::Taken(found, _)) if found == *source)
        {
            // Somebody else was first: then it is free, or it is announced once more.
            let _taken = store.write(&key(place), &line(place, &[0; 4], ""), cas);
        }
    }
}

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
enum Seat {
    Free,
    Taken(SourceId, Account),
}

impl Seat {
    /// None: another key's value, or one that was read while it was written.
    fn read(text: &[u8], place: usize) -> Option<Seat> {
        let text = std::str::from_utf8(text).ok()?;
        let (checksum, rest) = text.strip_prefix("2 ")?.split_once(' ')?;
        if u64::from_str_radix(checksum, 16) != Ok(hash::sum(rest.as_bytes())) {
            return None;
        }
        let rest = rest.strip_prefix(&*key(place))?.strip_prefix(' ')?;
        let mut fields = rest.splitn(5, ' ');
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (_beat, last, spilled, refused) = (number()?, number()?, number()?, number()?);
        match fields.next()? {
            "" => Some(Seat::Free),
            source => Some(Seat::Taken(SourceId::parse(source).ok()?, Account { last, spilled, refused })),
        }
    }
}

/// What the keys of places start with.
const KEY: &str = "weir/source/2/";

fn key(place: usize) -> String {
    [KEY, itoa::Buffer::new().format(place)].concat()
}

/// Digits of a checksum in hex.
const CHECKSUM_DIGITS: usize = 16;

/// Written with every event: so without `format!`, which takes ten times as long, and in one piece.
fn line(place: usize, numbers: &[u64], source: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(b"2 0123456789abcdef ");
    line.extend_from_slice(KEY.as_bytes());
    line.extend_from_slice(itoa::Buffer::new().format(place).as_bytes());
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

fn entry(place: usize, source: &SourceId, account: Account, now: Timestamp) -> Vec<u8> {
    line(place, &[now.as_millis(), account.last, account.spilled, account.refused], source.as_str())
}

fn is_at(store: &mut impl Store, place: usize, source: &SourceId) -> bool {
    let Read::Found(text, _) = store.read(&key(place)) else { return false };
    matches!(Seat::read(&text, place), Some(Seat::Taken(found, _)) if found == *source)
}

/// Takes the first free place: whoever writes there first has it.
fn claim(store: &mut impl Store, source: &SourceId, account: Account, now: Timestamp) -> Option<usize> {
    (0..PLACES).find(|place| {
        let (key, text) = (key(*place), entry(*place, source, account, now));
        match store.read(&key) {
            // Kong compares the generation of a missing key, too.
            Read::Missing => [CREATE_CAS, 0]
                .into_iter()
                .any(|cas| store.read(&key) == Read::Missing && store.write(&key, &text, cas) == Write::Written),
            Read::Found(old, cas) if old.is_empty() || Seat::read(&old, *place) == Some(Seat::Free) => {
                store.write(&key, &text, cas) == Write::Written
            }
            Read::Found(..) | Read::Failed => false,
        }
    })
}

/// Writes one's own place. Envoy takes any generation under 0; Kong wants the one that is there.
fn write(store: &mut impl Store, place: usize, text: &[u8]) -> bool {
    let key = key(place);
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
