//! Shares: what a gateway may spend while it cannot reach the center.
//!
//! A share is a rate of `R / N`, and a bucket of `C / 2N` that it fills. The bucket counts as outstanding from the
//! promise on; the rate is taken off the refill from the earliest moment at which the gateway may have begun to use it.
//! All promised rates together are at most `R`.
use serde::{Deserialize, Serialize};
use weir_contract::lease::{ANSWER_MAX_MS, Report, SHARE_MAX_MS};
use weir_fault::{Point, hit};

use super::tiers::PPM;
use super::{Caller, Limit, Timing};

/// What one gateway was promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) gateway: String,
    pub(super) tier: usize,
    /// The smallest `N` that the gateway may act on.
    sharers: u64,
    /// The largest bucket that it may fill.
    pub(super) bucket: u64,
    /// The answer that the gateway last confirmed, or the first one that promised.
    confirmed_ms: u64,
    /// The last answer that promised, and its `N` and bucket.
    last: (u64, u64, u64),
    /// How soon after the confirmed answer the gateway may begin to use the share: the soonest of all answers.
    begins_after_ms: u64,
    /// When the gateway has stopped spending the share, by any clock: the latest of all answers.
    pub(super) ends_ms: u64,
}

/// One answer's promise.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    /// `N`; 0 for nothing.
    sharers: u64,
    /// The bucket that the gateway may fill.
    bucket: u64,
}

impl Share {
    fn new(gateway: &str, tier: usize, promised: Promised, now: u64, timing: Timing) -> Self {
        let Promised { sharers, bucket } = promised;
        Share {
            gateway: gateway.to_owned(),
            tier,
            sharers,
            bucket,
            confirmed_ms: now,
            last: (now, sharers, bucket),
            begins_after_ms: begins_after_ms(timing),
            ends_ms: now + timing.ttl_ms + timing.clock_error_ms + SHARE_MAX_MS,
        }
    }

    /// The gateway has applied the answer of `heard_ms`: earlier promises are void. Returns true if it was promised
    /// nothing since.
    pub(super) fn confirm(&mut self, heard_ms: u64, now: u64) -> bool {
        if heard_ms <= now && heard_ms > self.confirmed_ms {
            self.confirmed_ms = heard_ms;
        }
        let (given_ms, sharers, bucket) = self.last;
        if self.confirmed_ms >= given_ms && sharers > 0 {
            (self.sharers, self.bucket) = (sharers, bucket);
        }
        self.confirmed_ms >= given_ms && sharers == 0
    }

    /// Promises again, from `now` on; nothing if `sharers` is 0.
    fn promise(&mut self, Promised { sharers, bucket }: Promised, now: u64, timing: Timing) {
        self.sharers = if sharers == 0 { self.sharers } else { self.sharers.min(sharers) };
        self.bucket = self.bucket.max(bucket);
        self.last = (now, sharers, bucket);
        self.begins_after_ms = self.begins_after_ms.min(begins_after_ms(timing));
        self.ends_ms = self.ends_ms.max(now + timing.ttl_ms + timing.clock_error_ms + SHARE_MAX_MS);
    }

    /// The part of the refill that it may take, in millionths.
    pub(super) fn ppm(&self) -> u64 {
        PPM.div_ceil(self.sharers.max(1))
    }

    /// The milliseconds of (`from`, `to`] in which the gateway may have spent its share.
    pub(super) fn used_ms(&self, from: u64, to: u64) -> u64 {
        if hit(Point::ShareNotSetAside) {
            return 0;
        }
        let start = self.confirmed_ms + self.begins_after_ms;
        to.min(self.ends_ms).saturating_sub(from.max(start))
    }
}

/// The earliest use of a share after the answer that promised it.
fn begins_after_ms(timing: Timing) -> u64 {
    timing.ttl_ms.saturating_sub(ANSWER_MAX_MS + timing.clock_error_ms)
}

impl Limit {
    /// Renews the gateway's share, if it asks for one. Returns its `N`; 0 for none.
    pub(super) fn share(&mut self, caller: Caller<'_>, report: &Report, tier: usize) -> u64 {
        let is_it = |share: &Share| share.gateway == caller.gateway && share.tier == tier;
        if let Some(place) = self.shares.iter().position(is_it)
            && self.shares[place].confirm(report.heard_ms, self.at_ms)
        {
            self.shares.swap_remove(place);
        }
        let place = self.shares.iter().position(is_it);
        let promised = if report.share { self.promise(caller, tier, place) } else { Promised::default() };
        match place {
            Some(place) => self.shares[place].promise(promised, self.at_ms, self.timing),
            None if promised.sharers > 0 => {
                self.shares.push(Share::new(caller.gateway, tier, promised, self.at_ms, self.timing));
            }
            None => {}
        }
        promised.sharers.saturating_mul(self.size.times_too_large(&report.definition, self.tiers.describe(tier).1))
    }

    /// What can be promised to a gateway, whose bucket is set aside; nothing if there is no room.
    fn promise(&mut self, caller: Caller<'_>, tier: usize, place: Option<usize>) -> Promised {
        let others = self.shares.iter().filter(|share| share.tier == tier && share.gateway != caller.gateway);
        let left_ppm = PPM.saturating_sub(others.map(Share::ppm).sum());
        let all_is_promised = left_ppm == 0 || self.unknown_shares_until_ms > self.at_ms;
        if all_is_promised || self.size.definition.refill == 0 {
            return Promised::default();
        }
        let wanting = self.leases.iter().filter(|lease| lease.tier == tier && lease.wants).count() as u64;
        let sharers = wanting.max(PPM.div_ceil(left_ppm)).max(1);
        let bucket = self.tiers.share(tier, self.size.definition.capacity) / (2 * sharers);
        let before = place.map_or(0, |place| self.shares[place].bucket);
        let scale = i128::from(self.size.scale());
        let missing = i128::from(bucket.saturating_sub(before)) * scale - self.room();
        let missing = u64::try_from(missing.max(0).div_euclid(scale) + i128::from(missing.max(0) % scale > 0));
        match missing {
            Ok(missing) if bucket > 0 && missing <= self.tiers.available(tier, &self.size) => {
                self.tiers.take(tier, missing, &self.size);
                Promised { sharers, bucket }
            }
            _ => Promised::default(),
        }
    }
}
