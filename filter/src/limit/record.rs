//! The binary form of a tenant's buckets in the shared data.
//!
//! ```text
//! version u8 = 3 · checksum u64 · key length u16 · key
//! buckets, each: id u64 · level i64 (billionths) · at u64 · full at u64                              little-endian
//! ```
//!
//! With leases on limits of the fleet:
//!
//! ```text
//! version u8 = 4 · checksum u64 · key length u16 · key · buckets u8 · buckets, as above
//! leases, each: id · granted · spent · reported · until · seen · low · largest · level, each u64 · terms, 11 × u64
//! ```
//!
//! Who reads version 3 only takes version 4 for damaged: buckets are full again, and leases are gone until others are granted.
//!
//! Kong compares keys by CRC32 and copies values after unlocking them: so the value repeats its key, and a checksum
//! detects a torn read.
//!
//! A full bucket says no more than one that was never drawn from, so only a full one makes room for another: nobody
//! resets a bucket by drawing from many. Buckets that a client can name (a model, a user) cannot displace those that
//! the configuration names; when all places for them are in use, new ones share one bucket.
use weir_contract::Timestamp;

use super::bucket::Level;
use super::lease::{Lease, TERMS_BYTES};
use crate::hash;

/// The most buckets of one tenant: 64 entries of 32 bytes are copied for each limited request.
pub(crate) const BUCKETS_MAX: usize = 64;
/// How many of them are reserved for buckets that the configuration names.
pub(crate) const FIXED_MAX: usize = 32;
/// The bit that marks the id of a bucket that the configuration names.
pub const FIXED: u64 = 1 << 63;

/// The most leases of one tenant on limits that clients name: a lease is five times as large as a bucket.
pub(crate) const NAMED_LEASES_MAX: usize = 16;

const VERSION: u8 = 3;
const VERSION_WITH_LEASES: u8 = 4;
const BUCKET_BYTES: usize = 32;
const LEASE_BYTES: usize = 9 * 8 + TERMS_BYTES;

/// One bucket in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StoredBucket {
    name: u64,
    level: Level,
    /// When it is full, if nobody draws.
    full_at: Timestamp,
}

/// A tenant's buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    buckets: Vec<StoredBucket>,
    leases: Vec<Lease>,
}

/// What the bytes of a value turn out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// This key's record.
    Record(Record),
    /// Another key's record: the store confuses the two keys.
    Foreign,
    /// Torn, damaged, or of another version.
    Damaged,
}

impl Record {
    /// The level of a bucket.
    pub fn level(&self, name: u64) -> Option<Level> {
        self.buckets.iter().find(|bucket| bucket.name == name).map(|bucket| bucket.level)
    }

    /// Whether a bucket is there, or can be added without displacing one that is not full.
    pub(crate) fn has_room(&self, name: u64, now: Timestamp) -> bool {
        if name & FIXED != 0 || self.level(name).is_some() {
            return true;
        }
        let named_by_clients = || self.buckets.iter().filter(|bucket| bucket.name & FIXED == 0);
        named_by_clients().count() < BUCKETS_MAX - FIXED_MAX || named_by_clients().any(|bucket| bucket.full_at <= now)
    }

    /// Sets the level of a bucket, which is full again at `full_at`. It displaces a full bucket if need be; if none
    /// is full, the one of its kind that will be full first.
    pub fn set(&mut self, name: u64, level: Level, full_at: Timestamp) {
        let bucket = StoredBucket { name, level, full_at };
        if let Some(found) = self.buckets.iter_mut().find(|bucket| bucket.name == name) {
            *found = bucket;
            return;
        }
        let kind = name & FIXED;
        let kind_max = if kind == 0 { BUCKETS_MAX - FIXED_MAX } else { FIXED_MAX };
        let is_crowded = self.buckets.iter().filter(|bucket| bucket.name & FIXED == kind).count() >= kind_max;
        let of_kind = self.buckets.iter_mut().filter(|bucket| bucket.name & FIXED == kind);
        if is_crowded && let Some(first) = of_kind.min_by_key(|bucket| bucket.full_at) {
            *first = bucket;
            return;
        }
        self.buckets.push(bucket);
    }

    /// The lease on a bucket of the fleet.
    pub(crate) fn lease(&mut self, id: u64) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|lease| lease.id == id)
    }

    /// The same; a new one that holds nothing where there is none. None where there is no room.
    pub(crate) fn lease_or_new(&mut self, id: u64, now: Timestamp) -> Option<&mut Lease> {
        if let Some(at) = self.leases.iter().position(|lease| lease.id == id) {
            return self.leases.get_mut(at);
        }
        if !self.has_room_for_lease(id, now) {
            return None;
        }
        let is_crowded = self.leases.iter().filter(|lease| lease.id & FIXED == id & FIXED).count() >= leases_max(id);
        match self.leases.iter().position(|lease| lease.id & FIXED == id & FIXED && lease.is_idle(now)) {
            Some(at) if is_crowded => *self.leases.get_mut(at)? = Lease::new(id),
            _ => self.leases.push(Lease::new(id)),
        }
        self.lease(id)
    }

    /// Whether a lease is there, or can be added without displacing one that matters.
    pub(crate) fn has_room_for_lease(&self, id: u64, now: Timestamp) -> bool {
        let of_kind = || self.leases.iter().filter(|lease| lease.id & FIXED == id & FIXED);
        of_kind().any(|lease| lease.id == id)
            || of_kind().count() < leases_max(id)
            || of_kind().any(|lease| lease.is_idle(now))
    }

    /// The bytes under `key`.
    pub fn encode(&self, key: &str) -> Vec<u8> {
        let body_bytes = 1 + self.buckets.len() * BUCKET_BYTES + self.leases.len() * LEASE_BYTES;
        let mut bytes = Vec::with_capacity(1 + 8 + 2 + key.len() + body_bytes);
        bytes.push(if self.leases.is_empty() { VERSION } else { VERSION_WITH_LEASES });
        bytes.extend([0; 8]);
        bytes.extend(u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend(key.as_bytes());
        if !self.leases.is_empty() {
            bytes.push(u8::try_from(self.buckets.len()).unwrap_or(u8::MAX));
        }
        for StoredBucket { name, level, full_at } in &self.buckets {
            bytes.extend(name.to_le_bytes());
            bytes.extend(level.nano.to_le_bytes());
            bytes.extend(level.at.as_millis().to_le_bytes());
            bytes.extend(full_at.as_millis().to_le_bytes());
        }
        self.leases.iter().for_each(|lease| encode_lease(lease, &mut bytes));
        let checksum = bytes.get(9..).map_or(0, hash::sum);
        if let Some(field) = bytes.get_mut(1..9) {
            field.copy_from_slice(&checksum.to_le_bytes());
        }
        bytes
    }

    /// Reads what `encode` wrote under `key`.
    pub fn decode(bytes: &[u8], key: &str) -> Decoded {
        Self::read(bytes, key).unwrap_or(Decoded::Damaged)
    }

    fn read(bytes: &[u8], key: &str) -> Option<Decoded> {
        let (&[version], rest) = bytes.split_first_chunk()?;
        let (&sum, rest) = rest.split_first_chunk()?;
        let has_leases = version == VERSION_WITH_LEASES;
        if !(has_leases || version == VERSION) || u64::from_le_bytes(sum) != hash::sum(rest) {
            return None;
        }
        let (&length, rest) = rest.split_first_chunk()?;
        let (found, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(length)))?;
        if found != key.as_bytes() {
            return Some(Decoded::Foreign);
        }
        let (buckets, leases) = if has_leases {
            let (&[count], rest) = rest.split_first_chunk()?;
            rest.split_at_checked(usize::from(count) * BUCKET_BYTES)?
        } else {
            (rest, &[][..])
        };
        let (buckets, leases) = (read_buckets(buckets)?, read_leases(leases)?);
        (buckets.len() <= BUCKETS_MAX).then_some(Decoded::Record(Record { buckets, leases }))
    }
}

fn read_buckets(mut rest: &[u8]) -> Option<Vec<StoredBucket>> {
    let mut buckets = Vec::with_capacity(rest.len() / BUCKET_BYTES);
    while let Some((&name, tail)) = rest.split_first_chunk() {
        let (&nano, tail) = tail.split_first_chunk()?;
        let (&at, tail) = tail.split_first_chunk()?;
        let (&full_at, tail) = tail.split_first_chunk()?;
        let time = |bytes| Timestamp::from_millis(u64::from_le_bytes(bytes));
        let level = Level { nano: i64::from_le_bytes(nano), at: time(at) };
        buckets.push(StoredBucket { name: u64::from_le_bytes(name), level, full_at: time(full_at) });
        rest = tail;
    }
    rest.is_empty().then_some(buckets)
}

const fn leases_max(id: u64) -> usize {
    if id & FIXED == 0 { NAMED_LEASES_MAX } else { FIXED_MAX }
}

fn encode_lease(lease: &Lease, bytes: &mut Vec<u8>) {
    let Lease { id, granted, spent, reported, until, seen, low, largest, level, terms } = lease;
    let numbers = [*id, *granted, *spent, *reported, until.as_millis(), seen.as_millis(), *low, *largest, *level];
    let mut encoded = [0; LEASE_BYTES];
    if let Some((head, tail)) = encoded.split_first_chunk_mut::<{ LEASE_BYTES - TERMS_BYTES }>() {
        let (chunks, _) = head.as_chunks_mut::<8>();
        chunks.iter_mut().zip(numbers).for_each(|(chunk, number)| *chunk = number.to_le_bytes());
        tail.copy_from_slice(terms);
    }
    bytes.extend_from_slice(&encoded);
}

fn read_leases(bytes: &[u8]) -> Option<Vec<Lease>> {
    let (leases, rest) = bytes.as_chunks::<LEASE_BYTES>();
    let is_whole = rest.is_empty() && leases.len() <= NAMED_LEASES_MAX + FIXED_MAX;
    if is_whole { leases.iter().map(read_lease).collect() } else { None }
}

fn read_lease(bytes: &[u8; LEASE_BYTES]) -> Option<Lease> {
    let (head, terms) = bytes.split_last_chunk::<TERMS_BYTES>()?;
    // Matched whole, without an iterator: every request under limits of the fleet reads one.
    let [id, granted, spent, reported, until, seen, low, largest, level] = head.as_chunks::<8>().0 else { return None };
    let number = |word: &[u8; 8]| u64::from_le_bytes(*word);
    Some(Lease {
        id: number(id),
        granted: number(granted),
        spent: number(spent),
        reported: number(reported),
        until: Timestamp::from_millis(number(until)),
        seen: Timestamp::from_millis(number(seen)),
        low: number(low),
        largest: number(largest),
        level: number(level),
        terms: *terms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn record(buckets: &[(u64, i64, u64)]) -> Record {
        let bucket = |&(name, nano, ms): &(u64, i64, u64)| StoredBucket {
            name,
            level: Level { nano, at: at(ms) },
            full_at: at(ms / 2),
        };
        Record { buckets: buckets.iter().map(bucket).collect(), leases: Vec::new() }
    }

    #[test]
    fn another_keys_record_is_told() {
        let bytes = record(&[(1, 2, 3)]).encode("acme");
        assert_eq!(Record::decode(&bytes, "globex"), Decoded::Foreign);
        assert_eq!(Record::decode(&bytes, "acme"), Decoded::Record(record(&[(1, 2, 3)])));
    }

    #[test]
    fn any_single_changed_or_missing_byte_is_seen() {
        let bytes = record(&[(1, 2, 3), (4, -5, 6)]).encode("acme");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Record::decode(&changed, "acme"), Decoded::Damaged, "byte {at}");
            assert_eq!(Record::decode(&bytes[..at], "acme"), Decoded::Damaged, "cut at {at}");
        }
    }

    #[test]
    fn only_a_bucket_that_is_full_again_makes_room() {
        let mut record = Record::default();
        let empty = Level { nano: 0, at: at(0) };
        for name in 0..(BUCKETS_MAX - FIXED_MAX) as u64 {
            record.set(name, empty, at(1_000 + name));
        }
        assert!(!record.has_room(999, at(999)) && record.has_room(3, at(999)) && record.has_room(999 | FIXED, at(999)));
        assert!(record.has_room(999, at(1_000)));
        record.set(999, empty, at(5_000));
        assert!(record.level(0).is_none() && record.level(1).is_some() && record.level(999).is_some());
    }

    #[test]
    fn buckets_that_a_client_names_never_take_the_places_of_the_configured_ones() {
        let mut record = Record::default();
        let empty = Level { nano: 0, at: at(0) };
        for name in 0..FIXED_MAX as u64 {
            record.set(name | FIXED, empty, at(1));
        }
        for name in 0..10 * BUCKETS_MAX as u64 {
            record.set(name, empty, at(2));
        }
        assert_eq!(record.buckets.len(), BUCKETS_MAX);
        assert!((0..FIXED_MAX as u64).all(|name| record.level(name | FIXED).is_some()));
    }

    #[test]
    fn leases_are_kept_beside_buckets_and_a_record_without_them_stays_as_it_was() {
        let mut kept = record(&[(1, 2, 3)]);
        assert_eq!(kept.encode("acme").first(), Some(&3));
        let lease = kept.lease_or_new(7 | FIXED, at(5)).expect("room");
        (lease.granted, lease.spent, lease.until, lease.low) = (50, 60, at(9), 4);
        lease.terms = std::array::from_fn(|at| at as u8);
        let bytes = kept.encode("acme");
        assert_eq!(bytes.first(), Some(&4));
        assert_eq!(Record::decode(&bytes, "acme"), Decoded::Record(kept));
        for cut in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..cut], "acme"), Decoded::Damaged, "cut at {cut}");
        }
    }

    #[test]
    fn only_a_lease_that_is_over_makes_room() {
        let mut record = Record::default();
        for id in 0..NAMED_LEASES_MAX as u64 {
            record.lease_or_new(id, at(1)).expect("room").until = at(10_000 + id);
        }
        assert!(record.lease_or_new(99, at(9_999)).is_none() && record.lease_or_new(99 | FIXED, at(9_999)).is_some());
        assert!(record.lease_or_new(99, at(10_000)).is_some());
        assert!(record.lease(0).is_none() && record.lease(1).is_some());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            buckets in proptest::collection::vec((any::<u64>(), any::<i64>(), 0_u64..1 << 47), 0..BUCKETS_MAX),
            key in "[a-z/:]{0,80}",
        ) {
            let record = record(&buckets);
            prop_assert_eq!(Record::decode(&record.encode(&key), &key), Decoded::Record(record));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_ne!(Record::decode(&bytes, "acme"), Decoded::Record(record(&[(1, 1, 1)])));
        }
    }
}
