//! The compare-and-swap loop over the gateway's shared data.
use weir_contract::Timestamp;

use super::bucket::{Bucket, Level};
use super::record::{Decoded, Record};
use super::{Charge, Fault, Limiter, Settlement, Standing, Verdict};
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
            Err(standing) => Pass::Done(Verdict::Limited(standing)),
        });
        taken.unwrap_or_else(Verdict::Unavailable)
    }

    fn settle(&mut self, tenant: &str, settlements: &[Settlement], now: Timestamp) -> Result<(), Fault> {
        if settlements.iter().all(|settled| settled.reserved.cost == settled.used) {
            return Ok(());
        }
        self.update(tenant, |mut record| {
            for Settlement { reserved, used } in settlements {
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

/// Draws every charge, or returns the lacking bucket that takes longest to have enough.
fn take_all(mut record: Record, charges: &[Charge], now: Timestamp) -> Result<(Record, Vec<Standing>), Standing> {
    let mut standings = Vec::with_capacity(charges.len());
    let mut lacking: Option<Standing> = None;
    for charge in charges {
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
            let standing = standing(charge, bucket_id, level, wait_ms);
            if lacking.is_none_or(|other| standing.wait_ms > other.wait_ms) {
                lacking = Some(standing);
            }
        }
    }
    match lacking {
        Some(standing) => Err(standing),
        None => Ok((record, standings)),
    }
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
    Standing { limit, unit, bucket_id, capacity: bucket.capacity(), remaining: Bucket::units(level), wait_ms }
}

#[cfg(test)]
mod tests;
