//! Finds one event or reading by its id: the ledger knows its position, and the log has its bytes.
use serde::{Deserialize, Serialize};
use weir_contract::{EventId, Payload, TenantId, Timestamp, UsageData};

use crate::store::DataDir;
use weir_event_log::{LogError, Record};
use weir_ledger::LedgerError;
use weir_ledger::counted::{is_told_before, without_usage};
use weir_ledger::query::{LedgerReader, LogRef};
use weir_ledger::reading::Reading;
use weir_ledger::validate::{self, BatchError};
use weir_money::cost::explain;
use weir_money::prices::Book;

/// Answer to `GET /v1/events/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventView {
    /// The position of its log record.
    pub position: u64,
    /// Its index in the record, from 0.
    pub item: usize,
    /// When it was received.
    pub received_at: Timestamp,
    /// The window in which it counts.
    pub window: Timestamp,
    /// The event as received.
    pub event: serde_json::Value,
    /// True if the provider keeps the answer, and its usage was counted with an earlier event: this one is a request without usage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted_before: bool,
    /// What it cost, line by line, by the prices that its cost was computed with. Absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<serde_json::Value>,
}

/// Answer to `GET /v1/readings/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingView {
    /// The position of its log record.
    pub position: u64,
    /// Its index in the record, from 0.
    pub item: usize,
    /// When it was received.
    pub received_at: Timestamp,
    /// The window in which it counts.
    pub window: Timestamp,
    /// The reading.
    pub reading: Reading,
}

/// Why a look-up fails.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The record cannot be split into its items.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The item was accepted once and can no longer be parsed.
    #[error("record {position}, item {item}: {problem}")]
    Damaged {
        /// The record's position.
        position: u64,
        /// Its index in the record, from 0.
        item: usize,
        /// The problem.
        problem: String,
    },
}

impl LookupError {
    fn damaged(log_ref: LogRef, problem: impl std::fmt::Display) -> Self {
        LookupError::Damaged { position: log_ref.position, item: log_ref.item, problem: problem.to_string() }
    }
}

/// Finds an event by its id; None if it was not counted or is no longer stored.
pub(crate) fn find_event(home: &DataDir, id: EventId) -> Result<Option<EventView>, LookupError> {
    let ledger = LedgerReader::open(home.ledger())?;
    let Some(log_ref) = ledger.find(id)? else { return Ok(None) };
    let Some(record) = home.log_place().reader()?.get(log_ref.position)? else { return Ok(None) };
    let items = validate::split(record.format, &record.body)?;
    let Some(raw) = items.get(log_ref.item) else { return Ok(None) };
    let event: serde_json::Value = serde_json::from_slice(raw).map_err(|error| LookupError::damaged(log_ref, error))?;
    let parsed = validate::validate(raw, record.admission()).map_err(|error| LookupError::damaged(log_ref, error))?;
    let mut view = EventView {
        position: log_ref.position,
        item: log_ref.item,
        received_at: record.received_at,
        window: parsed.time.hour(),
        event,
        counted_before: false,
        cost: None,
    };
    if let (Payload::Usage(data), Some(tenant)) = (&parsed.payload, &parsed.subject) {
        view.counted_before = is_told_before((parsed.id, tenant), data, &ledger)?;
        let counted = if view.counted_before { &without_usage(data) } else { data.as_ref() };
        view.cost = cost(&ledger, log_ref, (tenant, parsed.time), counted)?;
    }
    Ok(Some(view))
}

/// What an event cost, by the book that priced it.
fn cost(
    ledger: &LedgerReader,
    log_ref: LogRef,
    (tenant, time): (&TenantId, Timestamp),
    data: &UsageData<'_>,
) -> Result<Option<serde_json::Value>, LookupError> {
    let Some(text) = ledger.book_text(log_ref.position, tenant, time.hour())? else { return Ok(None) };
    let book = Book::read(&text).map_err(|error| LookupError::damaged(log_ref, error))?;
    // Texts and numbers always serialize.
    Ok(serde_json::to_value(explain(&book, time, data)).ok())
}

/// A query for events by what identifies them elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// The gateway's name for the request (`x-request-id`), the provider's name for the answer, or the trace's id (`traceparent`).
    pub id: String,
    /// Received from this moment on. Absent: as far back as the event log goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Received before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl EventsQuery {
    fn fits(&self, event: &serde_json::Value) -> bool {
        let names = ["request_id", "response_id", "trace_id"];
        names.iter().any(|field| event["data"][field].as_str() == Some(&self.id))
    }

    /// The id as it stands in every body with such an event; None if JSON may write it in several ways.
    fn needle(&self) -> Option<&str> {
        plain(&self.id)
    }
}

/// A text that stands in JSON as it is; None if JSON may write it in several ways.
pub(crate) fn plain(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'/');
    text.bytes().all(is_plain).then_some(text)
}

/// The most events of one answer.
pub(crate) const FOUND_MAX: usize = 100;
/// Bytes of records that are read at a time, uncompressed.
const STEP_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Finds the events of a request, an answer or a trace: reads the log from `from` to `to`, since it has no index of them. Returns at
/// most [`FOUND_MAX`] events, in the order of receipt; refused ones and repeats are among them.
pub(crate) fn find_events(home: &DataDir, query: &EventsQuery) -> Result<Vec<EventView>, LookupError> {
    let mut log = home.log_place().reader()?;
    let (needle, mut found) = (query.needle(), Vec::new());
    let mut after = log.before(query.from.unwrap_or(Timestamp::from_millis(0)))?;
    loop {
        let records = log.read_after(after, STEP_MAX_BYTES)?;
        let Some(last) = records.last().map(|record| record.position) else { return Ok(found) };
        for record in records {
            if query.to.is_some_and(|to| record.received_at >= to) {
                return Ok(found);
            }
            let names = |needle| std::str::from_utf8(&record.body).map_or(true, |body| body.contains(needle));
            if needle.is_none_or(names) {
                add_matches(&record, query, &mut found);
            }
            if found.len() >= FOUND_MAX {
                return Ok(found);
            }
        }
        after = last;
    }
}

fn add_matches(record: &Record, query: &EventsQuery, found: &mut Vec<EventView>) {
    // Readings and bodies that are no batches have no events.
    let Ok(items) = validate::split(record.format, &record.body) else { return };
    for (item, raw) in items.into_iter().enumerate() {
        let Ok(event) = serde_json::from_slice::<serde_json::Value>(raw) else { continue };
        if !query.fits(&event) || found.len() >= FOUND_MAX {
            continue;
        }
        let time = event["time"].as_str().and_then(Timestamp::parse).unwrap_or(record.received_at);
        found.push(EventView {
            position: record.position,
            item,
            received_at: record.received_at,
            window: time.hour(),
            event,
            counted_before: false,
            cost: None,
        });
    }
}

/// Finds a reading by its id; None if it was not counted or is no longer stored.
pub fn find_reading(home: &DataDir, id: &str) -> Result<Option<ReadingView>, LookupError> {
    let Some((log_ref, _)) = LedgerReader::open(home.ledger())?.find_reading(id)? else { return Ok(None) };
    let Some(record) = home.log_place().reader()?.get(log_ref.position)? else { return Ok(None) };
    let items = validate::split(record.format, &record.body)?;
    let Some(raw) = items.get(log_ref.item) else { return Ok(None) };
    let reading = Reading::parse(raw).map_err(|error| LookupError::damaged(log_ref, error))?;
    let (position, item, received_at) = (log_ref.position, log_ref.item, record.received_at);
    Ok(Some(ReadingView { position, item, received_at, window: reading.time.hour(), reading }))
}
