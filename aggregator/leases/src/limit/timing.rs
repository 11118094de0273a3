//! The settings of a center.
use serde::{Deserialize, Serialize};
use weir_contract::lease::{CLOCK_ERROR_MS, TTL_MS};
use weir_fault::{Point, hit};

/// How much of a limit gateways hold, and for how long. It may change while leases are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The length of a lease, in milliseconds.
    pub ttl_ms: u64,
    /// How much a gateway's clock may fall behind the center's in the length of a lease, in milliseconds.
    pub clock_error_ms: u64,
    /// The part of a limit that all leases together are to hold, in percent. The center keeps the rest for gateways that
    /// run low.
    pub lent_percent: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { ttl_ms: TTL_MS, clock_error_ms: CLOCK_ERROR_MS, lent_percent: 50 }
    }
}

impl Timing {
    /// How long after an answer the gateway has stopped spending what it granted, by any clock.
    pub(crate) fn outlived_ms(self) -> u64 {
        if hit(Point::ExpiredByOneClock) { self.ttl_ms } else { self.ttl_ms + self.clock_error_ms }
    }

    /// The part of an amount that leases are to hold.
    pub(super) fn lent(self, units: u64) -> u64 {
        let lent = u128::from(units) * u128::from(self.lent_percent.min(100)) / 100;
        u64::try_from(lent).unwrap_or(units)
    }
}
