//! Finds the single events of some windows in the event log, and validates them as the ledger did.
use std::collections::{BTreeMap, HashSet};

use weir_contract::time::HOUR_MS;
use weir_contract::{EventId, Payload, Timestamp, UsageData};
use weir_database::{Connection, OptionalExtension};

use super::books::Window;
use super::readings;
use super::search::{EventLine, Found, Search, Sum, by_tenant};
use super::{ExplainError, decimal};
use weir_event_log::{LogReader, Position, Record};
use weir_ledger::LedgerError;
use weir_ledger::counted::Counted;
use weir_ledger::meters::{Measure, Meters};
use weir_ledger::query::{LedgerReader, LogRef};
use weir_ledger::validate;

/// Bytes of the log that one read returns, uncompressed.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// How long before a window the search starts, in milliseconds: an event may arrive up to a day before its own time,
/// and the clock may have been set back.
const BEFORE_MS: u64 = validate::AHEAD_MAX_MS + 24 * HOUR_MS;

/// Finds the events of `windows` and hands each to `take`.
pub(super) fn find(
    log: &mut dyn LogReader,
    ledger: &mut LedgerReader,
    meters: &Meters,
    windows: &[Window],
    take: &mut dyn FnMut(EventLine) -> std::io::Result<()>,
) -> Result<Found, ExplainError> {
    let first = log.read_after(0, 1)?.into_iter().next();
    let end = counted_up_to(ledger.db())?;
    let mut search = Search {
        windows,
        by_tenant: by_tenant(windows),
        meters,
        numbers: meters.names().iter().enumerate().map(|(number, name)| (name.as_str(), number)).collect(),
        counted: Counted::open(ledger)?,
        waiting_readings: readings::waiting(ledger.db())?,
        forgotten_readings: HashSet::new(),
        sums: vec![Sum::default(); windows.len()],
        take,
    };
    if let (Some(first), Some(earliest)) = (&first, windows.iter().map(|window| window.from).min()) {
        let earliest = Timestamp::from_millis(earliest.as_millis().saturating_sub(BEFORE_MS));
        let mut after = position_before(log, first.position, end, earliest)?;
        loop {
            let records = log.read_after(after, PIECE_BYTES)?;
            let Some(last) = records.last() else { break };
            after = last.position;
            for record in records.iter().filter(|record| record.position <= end) {
                search.record(record, ledger)?;
            }
            if after >= end {
                break;
            }
        }
    }
    let pruned = first.as_ref().is_some_and(|first| first.follows > 0);
    Ok(Found { sums: search.sums, kept_since: first.map(|first| first.received_at), pruned })
}

/// The last position before the records received at or after `time`. Records are ordered by receipt, except where a
/// clock was set back.
fn position_before(
    log: &mut dyn LogReader,
    first: Position,
    last: Position,
    time: Timestamp,
) -> Result<Position, ExplainError> {
    let (mut low, mut high) = (first - 1, last);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match log.read_after(middle - 1, 1)?.first() {
            Some(record) if record.position < high && record.received_at < time => low = record.position,
            _ => high = middle,
        }
    }
    Ok(low)
}

impl Search<'_> {
    fn record(&mut self, record: &Record, ledger: &LedgerReader) -> Result<(), ExplainError> {
        if record.format.is_of_readings() {
            return self.readings(record, ledger);
        }
        let broken = |error: &dyn std::fmt::Display| {
            LedgerError::Inconsistent(format!("record {} of the event log: {error}", record.position))
        };
        let items = validate::split(record.format, &record.body).map_err(|error| broken(&error))?;
        for (item, raw) in items.into_iter().enumerate() {
            let Ok(event) = validate::validate(raw, record.admission()) else { continue };
            let (Some(tenant), Payload::Usage(data)) = (&event.subject, &event.payload) else { continue };
            let windows = self.windows_at(tenant.as_str(), event.time);
            let log_ref = LogRef { position: record.position, item };
            if windows.is_empty() || !self.counted.has(event.id, log_ref, ledger)? {
                continue;
            }
            let data = self.counted.data((event.id, tenant), data, ledger)?;
            let measures: BTreeMap<usize, Measure> = self.meters.measure(event.time.hour(), &data).collect();
            for at in windows {
                self.count(at, &measures, |window, nano| line(window, event.id, event.time, &data, nano))?;
            }
        }
        Ok(())
    }
}

fn line(window: &Window, id: EventId, time: Timestamp, data: &UsageData<'_>, nano: i128) -> EventLine {
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let text = |value: &Option<weir_contract::Text<'_>>| value.as_deref().map(str::to_owned);
    EventLine {
        window: window.from,
        time,
        id: id.to_string(),
        tenant: window.tenant.clone(),
        meter: window.meter.clone(),
        reading: None,
        request_id: data.request_id.to_string(),
        response_id: text(&data.response_id),
        trace_id: text(&data.trace_id),
        model: text(&data.response_model).or_else(|| text(&data.request_model)),
        class: word(serde_json::to_value(data.class)),
        route: text(&data.route),
        feature: text(&data.feature),
        credential: text(&data.credential_id),
        outcome: word(serde_json::to_value(data.outcome)),
        usage: word(serde_json::to_value(data.usage.status)),
        amount: decimal(nano),
    }
}

fn counted_up_to(db: &Connection) -> Result<Position, LedgerError> {
    let position: Option<u64> = db.query_row("SELECT position FROM ledger", [], |row| row.get(0)).optional()?;
    Ok(position.unwrap_or(0))
}
