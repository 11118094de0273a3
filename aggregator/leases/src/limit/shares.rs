//! Shares: what a gateway may spend while it cannot reach the center.
//!
//! A share is a rate of `R / N`, and a bucket of `C / 2N` that it fills. The bucket counts as outstanding from the
//! promise on; the rate is taken off the refill from the earliest moment at which the gateway may have begun to use it.
//! All promised rates together are at most `R`.
use serde::{Deserialize, Serialize};
use weir_contract::lease::{ANSWER_MAX_MS, CLOCK_ERROR_MS, SHARE_MAX_MS};
use weir_fault::{Point, hit};

use super::tiers::PPM;

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
}

impl Share {
    pub(super) fn new(gateway: &str, tier: usize, sharers: u64, bucket: u64, now: u64) -> Self {
        Share { gateway: gateway.to_owned(), tier, sharers, bucket, confirmed_ms: now, last: (now, sharers, bucket) }
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
    pub(super) fn promise(&mut self, sharers: u64, bucket: u64, now: u64) {
        self.sharers = if sharers == 0 { self.sharers } else { self.sharers.min(sharers) };
        self.bucket = self.bucket.max(bucket);
        self.last = (now, sharers, bucket);
    }

    /// The part of the refill that it may take, in millionths.
    pub(super) fn ppm(&self) -> u64 {
        PPM.div_ceil(self.sharers.max(1))
    }

    /// The milliseconds of (`from`, `to`] in which the gateway may have spent its share.
    pub(super) fn used_ms(&self, from: u64, to: u64, ttl_ms: u64) -> u64 {
        if hit(Point::ShareNotSetAside) {
            return 0;
        }
        let start = self.confirmed_ms + ttl_ms.saturating_sub(ANSWER_MAX_MS + CLOCK_ERROR_MS);
        to.min(self.ends_ms(ttl_ms)).saturating_sub(from.max(start))
    }

    /// When the gateway has stopped spending it, by any clock.
    pub(super) fn ends_ms(&self, ttl_ms: u64) -> u64 {
        self.last.0 + ttl_ms + CLOCK_ERROR_MS + SHARE_MAX_MS
    }
}
