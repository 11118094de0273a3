//! Misbehaviour on demand.

use super::call::Call;
use http::Method;
use jiff::Timestamp;
use serde_json::json;
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
    /// Somebody between Stripe and the caller answers with this status; nothing is done.
    ForeignBefore(u16, Foreign),
    /// The work, and an answer of somebody in between instead of Stripe's own. A repeat under the same `Idempotency-Key` gets
    /// Stripe's answer, which was lost.
    ForeignAfter(u16, Foreign),
}

/// The form of an answer that is not Stripe's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// An empty body.
    Empty,
    /// `{}`.
    EmptyObject,
    /// JSON of another service: `{"status":"ok"}`.
    OtherJson,
    /// A proxy's HTML page.
    Page,
    /// A meter event of Stripe's shape with another identifier than the caller's.
    OtherEvent,
    /// An error of Stripe's shape that repeats the caller's key, as its request id does.
    KeyEcho,
    /// A body that never ends.
    Endless,
}

impl Foreign {
    /// The body; none where it never ends.
    pub(super) fn body(self, authorization: &str) -> Option<String> {
        Some(match self {
            Self::Empty => String::new(),
            Self::EmptyObject => "{}".to_owned(),
            Self::OtherJson => json!({"status": "ok"}).to_string(),
            Self::Page => "<html><body><h1>Please sign in</h1></body></html>".to_owned(),
            Self::OtherEvent => json!({"object": "billing.meter_event", "identifier": "somebody-elses"}).to_string(),
            Self::KeyEcho => {
                let message = format!("Bad header Authorization: {authorization}");
                json!({"error": {"type": "invalid_request_error", "message": message}}).to_string()
            }
            Self::Endless => return None,
        })
    }
}

/// When a fault strikes: at the next calls that send meter events (v1 or v2), this many; at the next calls that make or remove
/// customers and subscriptions, this many.
#[derive(Debug, Default)]
pub(super) struct Faults {
    queue: VecDeque<Fault>,
    provisioning: VecDeque<Option<Fault>>,
    down_until: Option<Timestamp>,
}

impl Faults {
    pub(super) fn push(&mut self, times: usize, fault: Fault) {
        self.queue.extend(std::iter::repeat_n(fault, times));
    }

    pub(super) fn push_provisioning(&mut self, after: usize, fault: Fault) {
        self.provisioning.extend(std::iter::repeat_n(None, after).chain([Some(fault)]));
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
        if sends {
            return self.queue.pop_front();
        }
        let is_of = |kind: &str| call.path == kind || call.path.starts_with(&format!("{kind}/"));
        let provisions = call.method != Method::GET && (is_of("/v1/customers") || is_of("/v1/subscriptions"));
        if provisions { self.provisioning.pop_front().flatten() } else { None }
    }
}
