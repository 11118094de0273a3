//! Splits a batch and validates each event in it.
//!
//! Pure, and run twice: when a batch comes in, for the answer, and when the ledger reads the log. Both must reach the
//! same verdict, so everything that a verdict depends on is in the log record: bytes, time of receipt, the token's
//! gateway.
mod attempts;
mod audit;
mod batch;
mod configured;
mod facts;
pub mod horizon;
mod readings;
mod validated;
mod verdict;

use serde::Deserialize;
use serde_json::value::RawValue;
use weir_contract::batch::{BATCH_MAX_EVENTS, EVENT_MAX_BYTES};
use weir_contract::{Event, EventId, Payload, RefusedData, Sequence, SourceData, SourceId, Timestamp, Usage};
use weir_fault::{self as fault, Point};

pub use batch::{Item, items};
pub use configured::Configured;
pub(crate) use configured::Last;
pub(crate) use facts::told;
pub use facts::{Fact, FactPayload, UsageFact};
pub use validated::ValidatedBatch;
pub use verdict::{EventHasher, Verdict};
pub use weir_event_log::{Admission, Format};

const DAY_MS: u64 = 24 * weir_contract::time::HOUR_MS;
/// How long the ledger remembers counted ids, in days. Repeats of an older event could not be recognised.
pub(crate) const DEDUPE_DAYS: u64 = 40;
/// An event further ahead of the clock than this, in milliseconds, waits until it is due.
pub(crate) const EARLY_AFTER_MS: u64 = 5 * 60 * 1000;
/// An event further ahead than this, in milliseconds, comes from a broken clock and is refused.
pub const AHEAD_MAX_MS: u64 = DAY_MS;
/// The largest count in one event: a hundred times the largest context window. It would take 9.2 billion such events in
/// one window to overflow its sum.
pub const VALUE_MAX: u64 = 1_000_000_000;

/// The highest number of a source that is accepted, and the most events that one may say it spilled or was refused: a worker
/// that numbers 100,000 events a second reaches it after four months. With [`crate::sources::SOURCES_MAX`] it keeps
/// the totals of all sources far below the end of SQLite's integers.
pub const NUMBER_MAX: u64 = 1 << 40;

/// The most reasons of one `weir.refused.v1`, and the longest one, in bytes: the filter knows about twenty.
const REASONS_MAX: usize = 64;
const REASON_MAX_BYTES: usize = 64;

/// Why a whole body is refused. Nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The body cannot be split.
    #[error("not JSON at byte {offset}: {message}")]
    Form {
        /// The offset, in bytes from the start of the uncompressed body.
        offset: usize,
        /// What was found there.
        message: String,
    },
    /// The body has more events or readings than allowed.
    #[error("{0} in one body, at most {BATCH_MAX_EVENTS} fit in one")]
    TooMany(usize),
    /// One of its readings is malformed.
    #[error("reading {index}: {problem}")]
    Reading {
        /// Index of the reading in the body, from 0.
        index: usize,
        /// The problem, and a valid form.
        problem: String,
    },
}

/// Splits a body into the bytes of its events.
pub fn split(format: Format, body: &[u8]) -> Result<Vec<&[u8]>, BatchError> {
    let events = match format {
        Format::Event => vec![body.trim_ascii()],
        Format::Lines | Format::ReadingLines => {
            body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect()
        }
        Format::Batch | Format::Readings => {
            let raw: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| form(body, &error))?;
            raw.into_iter().map(|event| event.get().as_bytes()).collect()
        }
    };
    if events.len() > BATCH_MAX_EVENTS { Err(BatchError::TooMany(events.len())) } else { Ok(events) }
}

fn form(body: &[u8], error: &serde_json::Error) -> BatchError {
    let before: usize =
        body.split_inclusive(|b| *b == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    BatchError::Form { offset: before + error.column().saturating_sub(1), message: error.to_string() }
}

/// Why one event is refused for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The event is larger than allowed.
    #[error("{0} bytes, an event has at most {EVENT_MAX_BYTES}")]
    TooLarge(usize),
    /// The event is malformed, or unknown to this version.
    #[error("{0}")]
    Malformed(String),
    /// The id is not a UUIDv7, so repeats could not be recognised.
    #[error("the id is not a UUIDv7")]
    Id,
    /// The time of the event or of its id is before the oldest remembered day.
    #[error("older than {DEDUPE_DAYS} days: whether it was counted before is no longer known")]
    TooOld,
    /// The event's clock is wrong.
    #[error("more than a day ahead of the aggregator's clock")]
    TooFarAhead,
    /// A number outside of what sources give.
    #[error("a source numbers its events from 1 to {NUMBER_MAX}, and announces and spills no more")]
    Sequence,
    /// A count is higher than any request can reach.
    #[error("{field} is above {VALUE_MAX}")]
    Value {
        /// The field of `usage`.
        field: &'static str,
    },
    /// The token is bound to another gateway.
    #[error("the token is bound to gateway {0:?}, and the event's source is another's")]
    ForeignSource(String),
}

impl Rejection {
    /// The reason code, for metrics and the quarantine.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::TooLarge(_) => "too_large",
            Rejection::Malformed(_) => "malformed",
            Rejection::Id => "id",
            Rejection::TooOld => "too_old",
            Rejection::TooFarAhead => "too_far_ahead",
            Rejection::Sequence => "sequence",
            Rejection::Value { .. } => "value",
            Rejection::ForeignSource(_) => "foreign_source",
        }
    }
}

/// Judges one event.
pub fn validate<'a>(raw: &'a [u8], admission: Admission<'_>) -> Result<Event<'a>, Rejection> {
    if raw.len() > EVENT_MAX_BYTES {
        return Err(Rejection::TooLarge(raw.len()));
    }
    check_event(Event::parse(raw).map_err(|error| Rejection::Malformed(error.to_string()))?, admission)
}

/// Judges the content of a parsed event.
fn check_event<'a>(event: Event<'a>, admission: Admission<'_>) -> Result<Event<'a>, Rejection> {
    check_source(&event.source, admission.gateway)?;
    check_time(event.time, admission)?;
    check_time(id_time(event.id.as_bytes())?, admission)?;
    if event.sequence.is_some_and(|number| !is_number(number)) {
        return Err(Rejection::Sequence);
    }
    match &event.payload {
        Payload::Usage(data) => check_values(&data.usage)?,
        Payload::Refused(data) => check_counts(data)?,
        Payload::Source(data) => check_announcement(*data)?,
        Payload::Security(data) => audit::check_findings(data)?,
        Payload::Search(data) => audit::check_search(data)?,
        Payload::Attempts(data) => attempts::check(data)?,
    }
    Ok(event)
}

fn is_number(sequence: Sequence) -> bool {
    (1..=NUMBER_MAX).contains(&sequence.0)
}

fn check_announcement(data: SourceData) -> Result<(), Rejection> {
    let fits = [data.first, data.last, data.spilled, data.refused].into_iter().all(|number| number <= NUMBER_MAX);
    if fits { Ok(()) } else { Err(Rejection::Sequence) }
}

fn check_source(source: &SourceId, gateway: Option<&str>) -> Result<(), Rejection> {
    let Some(bound) = gateway else { return Ok(()) };
    let fits = source.as_str().split('/').nth(2) == Some(bound);
    if fits { Ok(()) } else { Err(Rejection::ForeignSource(bound.to_owned())) }
}

fn check_time(time: Timestamp, admission: Admission<'_>) -> Result<(), Rejection> {
    // The day of receipt and the 40 days before it are remembered whole.
    let oldest = day(admission.received_at).saturating_sub(DEDUPE_DAYS).max(admission.forgotten_before);
    let oldest = if fault::hit(Point::LateEventFoldedIn) { 0 } else { oldest };
    if day(time) < oldest {
        return Err(Rejection::TooOld);
    }
    if time.millis_since(admission.received_at) > AHEAD_MAX_MS {
        return Err(Rejection::TooFarAhead);
    }
    Ok(())
}

fn check_values(usage: &Usage) -> Result<(), Rejection> {
    let fields = [
        ("input_tokens", usage.input_tokens),
        ("output_tokens", usage.output_tokens),
        ("cache_read_tokens", usage.cache_read_tokens),
        ("cache_write_tokens", usage.cache_write_tokens),
        ("reasoning_tokens", usage.reasoning_tokens),
        ("details", usage.details.values().max().copied()),
    ];
    match fields.into_iter().find(|(_, value)| value.is_some_and(|v| v > VALUE_MAX)) {
        Some((field, _)) => Err(Rejection::Value { field }),
        None => Ok(()),
    }
}

fn check_counts(data: &RefusedData) -> Result<(), Rejection> {
    let fits = |(reason, count): (&String, &u64)| reason.len() <= REASON_MAX_BYTES && *count <= VALUE_MAX;
    if data.counts.len() <= REASONS_MAX && data.counts.iter().all(fits) {
        Ok(())
    } else {
        Err(Rejection::Value { field: "counts" })
    }
}

/// The time in a UUIDv7's first 48 bits (RFC 9562, section 5.7).
pub(crate) fn id_time(id: &[u8; 16]) -> Result<Timestamp, Rejection> {
    if id[6] >> 4 != 7 {
        return Err(Rejection::Id);
    }
    let millis = id[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte));
    Ok(Timestamp::from_millis(millis))
}

/// The day of an accepted id, days since 1970-01-01: only UUIDv7 are accepted.
pub(crate) fn id_day(id: EventId) -> u64 {
    id_time(id.as_bytes()).map_or(0, day)
}

/// The day a moment lies in: days since 1970-01-01, UTC.
pub const fn day(time: Timestamp) -> u64 {
    time.as_millis() / DAY_MS
}

/// The source and number that refused bytes claim, for tracking the source.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Claim {
    /// The source.
    pub source: Option<SourceId>,
    /// Its number.
    pub sequence: Option<Sequence>,
}

impl Claim {
    /// Reads the parts that are readable.
    pub(crate) fn peek(raw: &[u8]) -> Self {
        let claim: Claim = serde_json::from_slice(raw).unwrap_or_default();
        Claim { sequence: claim.sequence.filter(|number| is_number(*number)), ..claim }
    }
}
