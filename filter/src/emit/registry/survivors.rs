//! Keeps the registry in gauges, which survive a reload of Kong.
//!
//! A reload wipes Kong's shared data and keeps its metrics. So each slot is written to [`FIELDS`] gauges, too, and restored
//! from them if it is missing from the shared data: the registry then finds a source that the reload ended like any other
//! that stands still. Gauges have no lock, so a checksum tells whether a record is whole.
use weir_contract::{SourceId, Timestamp};

use super::{KEY, Slot, SourceStatus, entry};
use crate::hash;
use crate::store::{Read, Store, Write};

/// The most slots that are kept. A process needs one for each worker before a reload, and one for each after it.
pub(crate) const SLOTS: usize = 64;
/// Gauges of a slot: two halves of the source's life, its last number, how many were spilled and refused, a checksum.
pub const FIELDS: usize = 5;

/// The gateway's gauges. A gauge that cannot be read is 0.
pub trait Gauges {
    /// Reads one of a slot's fields.
    fn get(&mut self, slot: usize, field: usize) -> u64;
    /// Sets one of a slot's fields.
    fn set(&mut self, slot: usize, field: usize, value: u64);
}

type Record = [u64; FIELDS];

/// One VM's view of the gauges.
#[derive(Debug)]
pub struct Survivors<G> {
    gauges: G,
    /// The start of this gateway's sources: `/weir/GATEWAY/`.
    prefix: Box<str>,
    /// All slots below this one have been used: sources take slots in order.
    used: usize,
    written: Option<(usize, Record)>,
}

impl<G: Gauges> Survivors<G> {
    /// A view of the slots of this source's gateway.
    pub fn new(gauges: G, source: &SourceId) -> Self {
        let prefix = source.as_str().rsplit_once('/').map_or("", |(prefix, _)| prefix);
        Survivors { gauges, prefix: format!("{prefix}/").into(), used: 0, written: None }
    }

    /// The text of a slot, if the gauges hold one that the shared data lacks: after a reload, and if a worker that is exiting
    /// numbers on, which no longer shares its data with the new ones.
    fn newer(&mut self, slot: usize, found: &Read) -> Option<Vec<u8>> {
        let (source, status) = self.restored(slot)?;
        let is_newer = match found {
            Read::Missing => true,
            Read::Failed => false,
            Read::Found(text, _) => match Slot::read(text, slot)? {
                Slot::Free => true,
                Slot::Taken(known, at) if known == source => at.last < status.last,
                // The exiting worker's slot has another owner by now.
                Slot::Taken(..) => false,
            },
        };
        is_newer.then(|| entry(slot, &source, status, Timestamp::default()))
    }

    /// What a slot's gauges say; None if they hold nothing, or nothing that is whole.
    fn restored(&mut self, slot: usize) -> Option<(SourceId, SourceStatus)> {
        if slot > self.used || slot >= SLOTS {
            return None;
        }
        let mut record = [0; FIELDS];
        for (field, value) in record.iter_mut().enumerate() {
            *value = self.gauges.get(slot, field);
        }
        if record == [0; FIELDS] {
            return None;
        }
        self.used = self.used.max(slot + 1);
        let [high, low, last, outcomes, checksum] = record;
        if checksum != self.checksum(slot, &record) || (high, low) == (0, 0) {
            return None;
        }
        let source = SourceId::parse(&format!("{}{high:016x}{low:016x}", self.prefix)).ok()?;
        let status = SourceStatus { last, spilled: outcomes >> 32, refused: outcomes & u64::from(u32::MAX) };
        Some((source, status))
    }

    /// Writes a slot's text to its gauges; a slot of another gateway's source as a free one.
    fn keep(&mut self, slot: usize, text: &[u8]) {
        if slot >= SLOTS {
            return;
        }
        let mut record = self.record(slot, text).unwrap_or_default();
        if let Some(last) = record.last_mut() {
            *last = 0;
        }
        let checksum = self.checksum(slot, &record);
        if let Some(last) = record.last_mut() {
            *last = checksum;
        }
        // A new worker may have freed or taken the slot of one that is exiting: then every gauge is written anew.
        let at_gauges = self.gauges.get(slot, FIELDS - 1);
        let known = self.written.filter(|(written, record)| *written == slot && record.last() == Some(&at_gauges));
        let known = known.map(|(_, record)| record);
        for (field, value) in record.into_iter().enumerate() {
            if known.is_none_or(|known| known.get(field) != Some(&value)) {
                self.gauges.set(slot, field, value);
            }
        }
        self.written = Some((slot, record));
        self.used = self.used.max(slot + 1);
    }

    fn record(&self, slot: usize, text: &[u8]) -> Option<Record> {
        let Slot::Taken(source, status) = Slot::read(text, slot)? else { return None };
        let life = u128::from_str_radix(source.as_str().strip_prefix(&*self.prefix)?, 16).ok()?;
        let capped = |count: u64| count.min(u64::from(u32::MAX));
        let outcomes = capped(status.spilled) << 32 | capped(status.refused);
        Some([(life >> 64) as u64, life as u64, status.last, outcomes, 0])
    }

    /// Checks a record. Never 0, which is the value of a gauge that nobody has set.
    fn checksum(&self, slot: usize, record: &Record) -> u64 {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(self.prefix.as_bytes());
        bytes.extend_from_slice(&(slot as u64).to_le_bytes());
        record.iter().take(FIELDS - 1).for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        hash::sum(&bytes) | 1
    }
}

/// Shared data whose slots are kept in gauges.
#[derive(Debug)]
pub struct Surviving<'a, S, G> {
    /// The shared data.
    pub store: S,
    /// None if the shared data survives a reload itself, as Envoy's does.
    pub survivors: Option<&'a mut Survivors<G>>,
}

impl<S: Store, G: Gauges> Store for Surviving<'_, S, G> {
    #[inline]
    fn read(&mut self, key: &str) -> Read {
        let Some(survivors) = self.survivors.as_deref_mut() else { return self.store.read(key) };
        let found = self.store.read(key);
        let Some(text) = slot_of(key).and_then(|slot| survivors.newer(slot, &found)) else { return found };
        // Kong creates a key under generation 0, and only once. If another VM was first, it wrote the same.
        let generation = if let Read::Found(_, cas) = found { cas } else { 0 };
        let _other = self.store.write(key, &text, generation);
        self.store.read(key)
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        let Some(survivors) = self.survivors.as_deref_mut() else { return self.store.write(key, value, cas) };
        let written = self.store.write(key, value, cas);
        if let Some(slot) = slot_of(key).filter(|_| written == Write::Written) {
            survivors.keep(slot, value);
        }
        written
    }
}

fn slot_of(key: &str) -> Option<usize> {
    key.strip_prefix(KEY)?.parse().ok()
}

#[cfg(test)]
mod tests;
