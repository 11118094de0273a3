//! Misbehaviour on demand.

use super::call::Call;
use http::Method;
use jiff::Timestamp;
use std::collections::VecDeque;

/// What goes wrong with a call. "Work" is what the call asks for; a fault after the work leaves it done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error with this status instead of the work. Under an `Idempotency-Key` the same error is replayed.
    ErrorBefore(u16),
    /// The work, then an error with this status. Under an `Idempotency-Key` the same error is replayed.
    ErrorAfter(u16),
    /// 429 `rate_limit`, with this `Retry-After` in seconds if any.
    RateLimit(Option<u64>),
    /// 429 `lock_timeout`.
    LockTimeout,
    /// The connection is reset, nothing is done.
    ResetBefore,
    /// The work, then a reset. A repeat under the same `Idempotency-Key` gets the answer that was lost.
    ResetAfter,
    /// No answer ever comes, nothing is done.
    HangBefore,
    /// The work, then no answer. A repeat under the same `Idempotency-Key` gets the answer that was lost.
    HangAfter,
}

/// When a fault strikes: the next so many calls that send meter events (v1 or v2).
#[derive(Debug, Default)]
pub(super) struct Faults {
    queue: VecDeque<Fault>,
    down_until: Option<Timestamp>,
}

impl Faults {
    pub(super) fn push(&mut self, times: usize, fault: Fault) {
        self.queue.extend(std::iter::repeat_n(fault, times));
    }

    pub(super) fn set_down_until(&mut self, until: Timestamp) {
        self.down_until = Some(until);
    }

    pub(super) fn is_down(&self, now: Timestamp) -> bool {
        self.down_until.is_some_and(|until| now < until)
    }

    pub(super) fn take(&mut self, call: &Call) -> Option<Fault> {
        let sends = call.method == Method::POST
            && matches!(call.path.as_str(), "/v1/billing/meter_events" | "/v2/billing/meter_event_stream");
        if sends { self.queue.pop_front() } else { None }
    }
}
