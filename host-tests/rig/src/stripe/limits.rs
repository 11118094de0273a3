//! Rate limits and locks.

use super::error::ApiError;
use jiff::Timestamp;
use std::collections::HashSet;

/// How many calls a second are let through. Stripe counts in ways it does not document; here a second is a whole one of
/// the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All calls.
    pub calls_per_second: u32,
    /// Calls that create a v1 meter event.
    pub meter_events_per_second: u32,
    /// Calls to the v2 stream.
    pub stream_calls_per_second: u32,
}

impl Limits {
    /// The documented limits of a sandbox.
    pub(crate) const SANDBOX: Self =
        Self { calls_per_second: 25, meter_events_per_second: 25, stream_calls_per_second: 25 };

    /// The documented limits of a live account.
    pub const LIVE: Self =
        Self { calls_per_second: u32::MAX, meter_events_per_second: 1_000, stream_calls_per_second: 10_000 };

    /// No limits.
    pub const NONE: Self =
        Self { calls_per_second: u32::MAX, meter_events_per_second: u32::MAX, stream_calls_per_second: u32::MAX };
}

/// Which limits a call counts towards, besides that of all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    MeterEvent,
    Stream,
    Other,
}

#[derive(Debug)]
pub(super) struct RateLimiter {
    pub(super) limits: Limits,
    second: i64,
    calls: u32,
    meter_events: u32,
    streams: u32,
}

impl RateLimiter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, second: i64::MIN, calls: 0, meter_events: 0, streams: 0 }
    }

    pub(super) fn admit(&mut self, now: Timestamp, kind: Kind) -> Result<(), ApiError> {
        if self.second != now.as_second() {
            *self = Self { second: now.as_second(), ..Self::new(self.limits) };
        }
        self.calls += 1;
        let mut over = self.calls > self.limits.calls_per_second;
        match kind {
            Kind::MeterEvent => {
                self.meter_events += 1;
                over |= self.meter_events > self.limits.meter_events_per_second;
            }
            Kind::Stream => {
                self.streams += 1;
                over |= self.streams > self.limits.stream_calls_per_second;
            }
            Kind::Other => {}
        }
        if over { Err(ApiError::rate_limit(None)) } else { Ok(()) }
    }
}

/// One customer's series of one meter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) customer: String,
    pub(super) event_name: String,
}

/// One call at a time per customer and meter.
#[derive(Debug, Default)]
pub(super) struct Locks(HashSet<Series>);

impl Locks {
    pub(super) fn lock(&mut self, series: &Series) -> Result<(), ApiError> {
        if self.0.insert(series.clone()) { Ok(()) } else { Err(ApiError::lock_timeout()) }
    }

    pub(super) fn release(&mut self, series: &Series) {
        self.0.remove(series);
    }
}
