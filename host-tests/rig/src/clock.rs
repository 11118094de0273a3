//! The one place of the rig that reads the machine's clocks.

use jiff::Timestamp;
use std::time::{Duration, Instant};

/// A point on the monotonic clock, for durations and deadlines.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the clock port of the rig, whose processes live in real time")]
pub fn instant() -> Instant {
    Instant::now()
}

/// The machine's time of day.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Asks `ready` every `step` until it yields a value; `None` once `limit` has passed.
pub fn wait_for<T>(limit: Duration, step: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = instant() + limit;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if instant() >= deadline {
            return None;
        }
        std::thread::sleep(step);
    }
}
