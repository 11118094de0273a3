//! Schedules the calls that fetch tenants and keys, and reads what their answers allow.
//!
//! The plugin sends a [`Fetch`] from its tick, since no gateway lets a request's context do it safely, and returns a
//! [`Fetched`].
use std::rc::Rc;

use weir_contract::Timestamp;

/// The pause after a first failure, in milliseconds; doubled each time, up to the ordinary interval.
const RETRY_MS: u64 = 1_000;

/// What a call fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The tenants.
    Directory,
    /// The keys of an issuer, by its index.
    Keys(usize),
}

/// A `GET` to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// What it fetches.
    pub target: Target,
    /// The gateway's name for the server.
    pub cluster: Rc<str>,
    /// `https` or `http`.
    pub scheme: &'static str,
    /// `:authority`.
    pub authority: Rc<str>,
    /// `:path`.
    pub path: String,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
}

/// Why a fetch brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The gateway did not take the call.
    Unsent,
    /// Nobody answered.
    NoAnswer,
    /// An answer with this status.
    Status(u16),
    /// An answer that is longer than what is read.
    TooLong,
    /// An answer that is no set of keys.
    NoSet,
    /// A set in which no key can be used.
    NoUsableKey,
    /// An answer that is none of the protocol of leases.
    NoLeases,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Unsent => f.write_str("the gateway does not send the call; has it a cluster of that name?"),
            Failure::NoAnswer => f.write_str("no answer"),
            Failure::Status(status @ (502..=504)) => {
                write!(f, "status {status}, which a gateway also answers by itself where nobody listens")
            }
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::TooLong => f.write_str("the answer is too long"),
            Failure::NoSet => f.write_str("the answer is no JSON web key set"),
            Failure::NoLeases => f.write_str("the answer is none about leases"),
            Failure::NoUsableKey => f.write_str("no key of the set can be used"),
        }
    }
}

/// The answer to a call.
#[derive(Clone, Copy, Debug)]
pub enum Fetched<'a> {
    /// The gateway did not take the call.
    Unsent,
    /// Nobody answered.
    Nothing,
    /// An answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// `etag`
        etag: Option<&'a [u8]>,
        /// `cache-control`
        cache_control: Option<&'a [u8]>,
        /// The body.
        body: &'a [u8],
    },
}

impl<'a> Fetched<'a> {
    /// The body of a 200.
    pub fn ok(&self) -> Result<&'a [u8], Failure> {
        match *self {
            Fetched::Answer { status: 200, body, .. } => Ok(body),
            Fetched::Answer { status, .. } => Err(Failure::Status(status)),
            Fetched::Nothing => Err(Failure::NoAnswer),
            Fetched::Unsent => Err(Failure::Unsent),
        }
    }

    /// `max-age` (RFC 9111, 5.2.2.1).
    pub(crate) fn max_age_secs(&self) -> Option<u64> {
        let Fetched::Answer { cache_control: Some(value), .. } = self else { return None };
        let mut parts = std::str::from_utf8(value).ok()?.split(',');
        parts.find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
    }
}

/// When the next call is due.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    due: Timestamp,
    /// When the fetch under way was started.
    started: Option<Timestamp>,
    failures: u32,
}

/// After this long without an answer, in milliseconds, the gateway has lost the call, and it is sent again. Time-outs
/// are far shorter.
const LOST_MS: u64 = 120_000;

impl Schedule {
    /// Due from then on.
    pub(crate) fn due_at(due: Timestamp) -> Self {
        Schedule { due, started: None, failures: 0 }
    }

    /// Milliseconds until the next call.
    pub fn wait_ms(&self, now: Timestamp) -> u64 {
        self.due.millis_since(now)
    }

    /// Whether it is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.started.is_some()
    }

    /// Whether it is to be sent now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let lost = self.started.is_some_and(|started| now.millis_since(started) >= LOST_MS);
        (self.started.is_none() && now >= self.due) || lost
    }

    /// Moves the next call forward.
    pub(crate) fn not_later_than(&mut self, due: Timestamp) {
        self.due = self.due.min(due);
    }

    /// Marks it as under way, if it is due.
    pub fn start(&mut self, now: Timestamp) -> bool {
        let due = self.is_due(now);
        if due {
            self.started = Some(now);
        }
        due
    }

    /// After a success: the next call is due after `interval_ms`.
    pub fn succeeded(&mut self, interval_ms: u64, now: Timestamp) {
        *self = Schedule::due_at(now.plus_millis(interval_ms));
    }

    /// After a failure: the next call is due soon, later each time, and at the latest after `interval_ms`.
    pub fn failed(&mut self, interval_ms: u64, now: Timestamp) {
        let wait = RETRY_MS.saturating_mul(1 << self.failures.min(10)).min(interval_ms.max(RETRY_MS));
        *self = Schedule { due: now.plus_millis(wait), started: None, failures: self.failures.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn failures_are_retried_soon_and_then_ever_less_often_up_to_the_interval() {
        let mut schedule = Schedule::due_at(NOW);
        let mut waits = Vec::new();
        for _ in 0..5 {
            schedule.failed(6_000, NOW);
            waits.push(schedule.due.millis_since(NOW));
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 6_000, 6_000]);
        schedule.succeeded(6_000, NOW);
        schedule.failed(6_000, NOW);
        assert_eq!(schedule.due.millis_since(NOW), 1_000, "one success forgets the failures");
    }

    #[test]
    fn one_is_under_way_at_a_time_and_a_lost_one_is_sent_again() {
        let mut schedule = Schedule::due_at(NOW);
        assert!(schedule.start(NOW) && !schedule.start(NOW.plus_millis(1_000)));
        assert!(schedule.start(NOW.plus_millis(LOST_MS)));
    }

    #[test]
    fn the_age_that_an_answer_grants_is_read() {
        let age = |value: &'static str| {
            let cache_control = Some(value.as_bytes());
            Fetched::Answer { status: 200, etag: None, cache_control, body: b"" }.max_age_secs()
        };
        assert_eq!(
            (age("public, max-age=600, must-revalidate"), age("no-store"), age("max-age=x")),
            (Some(600), None, None)
        );
    }
}
