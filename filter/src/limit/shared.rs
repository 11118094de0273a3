//! The compare-and-swap loop over the gateway's shared data.
mod leases;

use weir_contract::Timestamp;

use super::bucket::{Bucket, Level};
use super::leased::{self, Outcome};
use super::record::{Decoded, Record};
use super::{Charge, DrawnFrom, Fault, Limiter, Settlement, Short, Standing, Verdict};
use crate::store::{Read, Store, Write};

/// How often others may be first before a request gives up. Each time another worker got through, so this many in a
/// row mean that far more workers than any gateway has compete for one tenant.
pub(crate) const CAS_RETRIES_MAX: u32 = 128;

/// The prefix of every record's key.
const KEY: &str = "weir/limit/3/";

/// How many keys a tenant's record may move to when the store confuses its key with another's.
const ALIASES_MAX: u32 = 4;

/// The generation under which a key is created first. On Envoy a missing key accepts any, and an existing one refuses
/// this one. With 0, which Envoy does not compare, two workers that both saw nothing would both write, and one write
/// would be lost.
const CREATE_CAS: u32 = u32::MAX;

/// The generation for a second attempt, if the first was refused and the key is still missing: Kong compares the
/// generation of a missing key too, and refuses this one as soon as the key exists.
const CREATE_CAS_COMPARED: u32 = 0;

/// Token buckets in the gateway's shared data.
#[derive(Debug)]
pub struct SharedBuckets<'s, S> {
    store: &'s mut S,
}

/// The result of one pass: final, or final once this record is written.
enum Pass<T> {
    Done(T),
    Write(Record, T),
}

impl<'s, S: Store> SharedBuckets<'s, S> {
    /// Over a store.
    pub fn new(store: &'s mut S) -> Self {
        SharedBuckets { store }
    }

    /// Applies `pass` to the tenant's record until no other worker was first.
    fn update<T>(&mut self, tenant: &str, mut pass: impl FnMut(Record) -> Pass<T>) -> Result<T, Fault> {
        let mut alias = 0;
        let mut key = [KEY, tenant].concat();
        let mut create = CREATE_CAS;
        for _ in 0..CAS_RETRIES_MAX {
            let (record, cas) = match self.store.read(&key) {
                Read::Found(bytes, cas) => match Record::decode(&bytes, &key) {
                    Decoded::Record(record) => (record, cas),
                    // A torn read is whole the next time, or its generation has moved on and the write is refused. A
                    // value that stays damaged is replaced: full buckets, once.
                    Decoded::Damaged => (Record::default(), cas),
                    Decoded::Foreign => {
                        alias += 1;
                        if alias == ALIASES_MAX {
                            return Err(Fault::Aliased);
                        }
                        key = format!("{KEY}{tenant}#{alias}");
                        continue;
                    }
                },
                Read::Missing => (Record::default(), create),
                Read::Failed => return Err(Fault::Store),
            };
            match pass(record) {
                Pass::Done(result) => return Ok(result),
                Pass::Write(record, result) => match self.store.write(&key, &record.encode(&key), cas) {
                    Write::Written => return Ok(result),
                    Write::Mismatch if cas == CREATE_CAS => create = CREATE_CAS_COMPARED,
                    Write::Mismatch => {}
                    Write::Failed => return Err(Fault::Store),
                },
            }
        }
        Err(Fault::Contended)
    }
}

impl<S: Store> Limiter for SharedBuckets<'_, S> {
    fn take(&mut self, tenant: &str, charges: &[Charge], now: Timestamp) -> Verdict {
        if charges.is_empty() {
            return Verdict::Admitted(Vec::new());
        }
        let taken = self.update(tenant, |record| match take_all(record, charges, now) {
            Ok((record, standings)) => Pass::Write(record, Verdict::Admitted(standings)),
            Err(lacking) => Pass::Done((*lacking).into()),
        });
        taken.unwrap_or_else(Verdict::Unavailable)
    }

    fn refused(&mut self, tenant: &str, charge: &Charge, wait_ms: Option<u64>, now: Timestamp) {
        // Unwritten, the next request asks as well.
        let _unwritten = self.change_lease(tenant, charge.bucket_id, now, |lease| {
            lease.drew_nothing(charge.cost, wait_ms, now);
            true
        });
    }

    fn settle(&mut self, tenant: &str, settlements: &[Settlement], now: Timestamp) -> Result<(), Fault> {
        if settlements.iter().all(|settled| settled.reserved.cost == settled.used) {
            return Ok(());
        }
        self.update(tenant, |mut record| {
            for settlement @ Settlement { reserved, used } in settlements {
                if reserved.fleet.is_some() {
                    leased::settle(&mut record, settlement, now);
                    continue;
                }
                let (bucket_id, level) = find(&record, reserved, now);
                let level = match used.checked_sub(reserved.cost) {
                    Some(more) => Bucket::drawn(level, more),
                    None => reserved.bucket.returned(level, reserved.cost.saturating_sub(*used)),
                };
                let _wait_ms = put(&mut record, bucket_id, reserved.bucket, level);
            }
            Pass::Write(record, ())
        })
    }
}

/// What keeps a request from drawing.
#[derive(Default)]
struct Lacking {
    /// The bucket that takes longest to have enough.
    bucket: Option<Standing>,
    /// The lease that has run out while the center does not answer.
    unreachable: Option<Standing>,
    /// Leases that have too little, and the one that takes longest.
    leases: Vec<usize>,
    lease: Option<Standing>,
}

impl Lacking {
    fn bucket(&mut self, standing: Standing) {
        self.bucket = longer(self.bucket, standing);
    }

    fn lease(&mut self, at: usize, standing: Standing) {
        self.leases.push(at);
        self.lease = longer(self.lease, standing);
    }
}

impl From<Lacking> for Verdict {
    /// A bucket without enough decides, since asking for the leases would be of no use.
    fn from(lacking: Lacking) -> Self {
        match lacking {
            Lacking { bucket: Some(standing), .. } => Verdict::Limited(standing),
            Lacking { unreachable: Some(standing), .. } => Verdict::Unreachable(standing),
            Lacking { leases, lease, .. } => {
                Verdict::Short(Box::new(Short { lacking: leases, standing: lease.unwrap_or(Standing::ANY) }))
            }
        }
    }
}

fn longer(known: Option<Standing>, standing: Standing) -> Option<Standing> {
    known.filter(|known| known.wait_ms >= standing.wait_ms).or(Some(standing))
}

/// Draws every charge, or returns what keeps them from being drawn.
fn take_all(mut record: Record, charges: &[Charge], now: Timestamp) -> Result<(Record, Vec<Standing>), Box<Lacking>> {
    let mut standings = Vec::with_capacity(charges.len());
    let mut lacking: Option<Box<Lacking>> = None;
    for (at, charge) in charges.iter().enumerate() {
        if charge.fleet.is_some() {
            match leased::take(&mut record, charge, now) {
                Outcome::Drawn(standing) => standings.push(standing),
                Outcome::Limited(standing) => lacking.get_or_insert_default().bucket(standing),
                Outcome::Unreachable(standing) => lacking.get_or_insert_default().unreachable = Some(standing),
                Outcome::Short(standing) => lacking.get_or_insert_default().lease(at, standing),
            }
            continue;
        }
        let bucket = charge.bucket;
        let (bucket_id, level) = find(&record, charge, now);
        // Another worker's clock was ahead: nothing refills until ours catches up.
        let behind_ms = level.at.millis_since(now);
        if Bucket::has(level, charge.cost) {
            let level = Bucket::drawn(level, charge.cost);
            let wait_ms = put(&mut record, bucket_id, bucket, level).saturating_add(behind_ms);
            standings.push(standing(charge, bucket_id, level, wait_ms));
        } else {
            let wait_ms = bucket.wait_ms(level, charge.cost).saturating_add(behind_ms);
            lacking.get_or_insert_default().bucket(standing(charge, bucket_id, level, wait_ms));
        }
    }
    lacking.map_or(Ok((record, standings)), Err)
}

/// The bucket that a charge draws from, and its level now.
fn find(record: &Record, charge: &Charge, now: Timestamp) -> (u64, Level) {
    let bucket_id = if record.has_room(charge.bucket_id, now) { charge.bucket_id } else { charge.shared_bucket_id };
    let level = record.level(bucket_id).unwrap_or_else(|| charge.bucket.full(now));
    (bucket_id, charge.bucket.refilled(level, now))
}

/// Stores a level. Returns the milliseconds until the bucket is full, if nobody draws.
fn put(record: &mut Record, bucket_id: u64, bucket: Bucket, level: Level) -> u64 {
    let wait_ms = bucket.wait_ms(level, bucket.capacity());
    record.set(bucket_id, level, level.at.plus_millis(wait_ms));
    wait_ms
}

fn standing(charge: &Charge, bucket_id: u64, level: Level, wait_ms: u64) -> Standing {
    let Charge { limit, unit, bucket, .. } = *charge;
    let (capacity, remaining) = (bucket.capacity(), Bucket::units(level));
    Standing { limit, unit, bucket_id, capacity, remaining, wait_ms, from: DrawnFrom::Bucket, due: false }
}

#[cfg(test)]
mod tests;
