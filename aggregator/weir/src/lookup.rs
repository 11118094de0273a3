//! Finds one event or reading by its id: the ledger knows its position, and the log has its bytes.
use serde::{Deserialize, Serialize};
use weir_contract::{Event, EventId, Payload, Timestamp};

use crate::store::DataDir;
use weir_event_log::sqlite::SqliteLogReader;
use weir_event_log::{LogError, LogReader};
use weir_ledger::LedgerError;
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
    let ledger = LedgerReader::open(&home.ledger())?;
    let Some(log_ref) = ledger.find(id)? else { return Ok(None) };
    let Some(record) = SqliteLogReader::open(&home.log())?.get(log_ref.position)? else { return Ok(None) };
    let items = validate::split(record.format, &record.body)?;
    let Some(raw) = items.get(log_ref.item) else { return Ok(None) };
    let event: serde_json::Value = serde_json::from_slice(raw).map_err(|error| LookupError::damaged(log_ref, error))?;
    let parsed = validate::validate(raw, record.admission()).map_err(|error| LookupError::damaged(log_ref, error))?;
    Ok(Some(EventView {
        position: log_ref.position,
        item: log_ref.item,
        received_at: record.received_at,
        window: parsed.time.hour(),
        event,
        cost: cost(&ledger, log_ref, &parsed)?,
    }))
}

/// What an event cost, by the book that priced it.
fn cost(ledger: &LedgerReader, log_ref: LogRef, event: &Event<'_>) -> Result<Option<serde_json::Value>, LookupError> {
    let (Payload::Usage(data), Some(tenant)) = (&event.payload, &event.subject) else { return Ok(None) };
    let Some(text) = ledger.book_text(log_ref.position, tenant, event.time.hour())? else { return Ok(None) };
    let book = Book::read(&text).map_err(|error| LookupError::damaged(log_ref, error))?;
    // Texts and numbers always serialize.
    Ok(serde_json::to_value(explain(&book, event.time, data)).ok())
}

/// Finds a reading by its id; None if it was not counted or is no longer stored.
pub fn find_reading(home: &DataDir, id: &str) -> Result<Option<ReadingView>, LookupError> {
    let Some((log_ref, _)) = LedgerReader::open(&home.ledger())?.find_reading(id)? else { return Ok(None) };
    let Some(record) = SqliteLogReader::open(&home.log())?.get(log_ref.position)? else { return Ok(None) };
    let items = validate::split(record.format, &record.body)?;
    let Some(raw) = items.get(log_ref.item) else { return Ok(None) };
    let reading = Reading::parse(raw).map_err(|error| LookupError::damaged(log_ref, error))?;
    let (position, item, received_at) = (log_ref.position, log_ref.item, record.received_at);
    Ok(Some(ReadingView { position, item, received_at, window: reading.time.hour(), reading }))
}
