//! The latest events that fit a query, as a person asks for them: from the end of the log backwards, a bounded part of it for each page.
//! A page says how far back it looked, and its cursor goes on from there, so that no event is in two pages or in none.
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_event_log::{LogReader, Position, Record};
use weir_ledger::query::LogRef;
use weir_ledger::validate;

use super::{Cursor, EventCost, EventCostQuery, EventCostsError, Search, earliest};
use crate::lookup::LookupError;
use crate::store::DataDir;

/// The most bytes of the log that a page reads, uncompressed: some 30 ms of work.
const PAGE_MAX_BYTES: usize = 24 * 1024 * 1024;
/// Bytes of the log that are taken at a time, and that one read returns, uncompressed.
const STEP_BYTES: usize = 2 * 1024 * 1024;
const PIECE_BYTES: usize = 512 * 1024;
/// Records of the first step, before it is known how large they are, and of any step.
const RECORDS_FIRST: u64 = 8;
const RECORDS_MAX: u64 = 4_096;
/// The most steps of a page: records may be far apart in logs whose positions have gaps.
const STEPS_MAX: usize = 256;
/// How long after an hour its events have come, but for those that come late, in milliseconds.
const ON_TIME_MS: u64 = 10 * 60_000;
/// Events of a page.
const LIMIT: usize = 100;

/// The cursor of the log's end.
pub(crate) const END: &str = "end";

/// A page of the latest events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest {
    /// The events, the latest received first.
    pub(crate) events: Vec<EventCost>,
    /// The cursor of the page with those before; absent on the last.
    pub(crate) further: Option<String>,
    /// When the first record that was looked at was received; None if there is none.
    pub(crate) since: Option<Timestamp>,
    /// Whether the page begins where events of the query's span end that came in time: others came later, and stand before the cursor
    /// [`END`].
    pub(crate) later: bool,
    /// Whether older events may have been dropped from the log: only their sums stand.
    pub(crate) is_pruned: bool,
    /// The last hour before those that were looked at in which the tenant had requests, and a cursor to its end. Absent where that is the
    /// hour in which looking ended.
    pub(crate) earlier: Option<(Timestamp, Cursor)>,
}

/// A part of the log that is still to be looked at.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// The last record before it.
    after: Position,
    /// Its end: what is at this place, or behind it, was looked at.
    end: Cursor,
}

impl Left {
    /// The last record of it; None if nothing is left.
    fn last(&self) -> Option<Position> {
        let last = if self.end.items > 0 { self.end.position } else { self.end.position.saturating_sub(1) };
        (last > self.after).then_some(last)
    }
}

/// Reads a page of the latest events that were counted and fit a query, before the cursor of the page before: without one from the end of
/// the query's span. The query's own cursor and
/// limit say nothing here.
pub(crate) fn latest(home: &DataDir, query: &EventCostQuery, before: &str) -> Result<Latest, EventCostsError> {
    let query = EventCostQuery { after: None, limit: None, ..query.clone() };
    query.check()?;
    let mut log = home.log_place().reader().map_err(LookupError::from)?;
    let mut search = Search::open(home, &query, LIMIT)?;
    let first = log.read_after(0, 1).map_err(LookupError::from)?.into_iter().next();
    let first = first.map_or((1, 0), |first| (first.position, first.follows));
    let counted = Cursor { position: search.ledger.position()? + 1, items: 0 };
    let end = match before {
        "" => on_time(log.as_mut(), &query)?.unwrap_or(counted).min(counted),
        END => counted,
        before => Cursor::parse(before).ok_or_else(no_cursor)?.min(counted),
    };
    let left = Left { after: earliest(log.as_mut(), &query)?.max(first.0 - 1), end };
    let later = before.is_empty() && end < counted;
    let mut page = Latest { later, is_pruned: first.1 > 0, ..Latest::default() };
    let left = read(log.as_mut(), &mut search, left, &mut page)?;
    page.further = left.last().map(|_| left.end.to_string());
    if let (Some(tenant), Some(since), Some(_)) = (&query.tenant, page.since, &page.further) {
        page.earlier = earlier(log.as_mut(), &search, tenant, since)?.filter(|(_, cursor)| *cursor < left.end);
    }
    Ok(page)
}

/// The place where those events of a span end that came in time; None for a span without an end.
fn on_time(log: &mut dyn LogReader, query: &EventCostQuery) -> Result<Option<Cursor>, EventCostsError> {
    let Some(to) = query.to else { return Ok(None) };
    let last = log.before(to.plus_millis(ON_TIME_MS)).map_err(LookupError::from)?;
    Ok(Some(Cursor { position: last + 1, items: 0 }))
}

/// The last hour before `since` in which a tenant had requests, and the place where those that came in time end. What came later stands
/// further on.
fn earlier(
    log: &mut dyn LogReader,
    search: &Search<'_>,
    tenant: &str,
    since: Timestamp,
) -> Result<Option<(Timestamp, Cursor)>, EventCostsError> {
    let Some(window) = search.ledger.last_window(tenant, since)?.filter(|window| *window < since.hour()) else {
        return Ok(None);
    };
    let end = window.plus_millis(HOUR_MS + ON_TIME_MS);
    let last = log.before(end).map_err(LookupError::from)?;
    Ok(Some((window, Cursor { position: last + 1, items: 0 })))
}

fn no_cursor() -> EventCostsError {
    EventCostsError::Question("`before` is the cursor of the page before".to_owned())
}

/// Adds events to a page, step by step, and returns what is left.
fn read(
    log: &mut dyn LogReader,
    search: &mut Search<'_>,
    mut left: Left,
    page: &mut Latest,
) -> Result<Left, EventCostsError> {
    let (mut bytes, mut records) = (0, RECORDS_FIRST);
    for _ in 0..STEPS_MAX {
        let Some(last) = left.last().filter(|_| bytes < PAGE_MAX_BYTES && page.events.len() < LIMIT) else { break };
        let step = Left { after: last.saturating_sub(records).max(left.after), ..left };
        let found = records_of(log, step, last)?;
        let size: usize = found.iter().map(|record| record.body.len()).sum();
        for record in found.iter().rev() {
            page.since = Some(record.received_at);
            left.end = add(search, record, left.end, page)?;
            if page.events.len() >= LIMIT {
                return Ok(left);
            }
        }
        left.end = Cursor { position: step.after + 1, items: 0 };
        bytes += size;
        records = match size / found.len().max(1) {
            0 => records * 8,
            mean => (STEP_BYTES / mean) as u64,
        };
        records = records.clamp(1, RECORDS_MAX);
    }
    Ok(left)
}

/// The records of a step, the last of which may be `last`.
fn records_of(log: &mut dyn LogReader, step: Left, last: Position) -> Result<Vec<Record>, EventCostsError> {
    let (mut found, mut after) = (Vec::new(), step.after);
    while after < last {
        let piece = log.read_after(after, PIECE_BYTES).map_err(LookupError::from)?;
        let Some(end) = piece.last() else { break };
        after = end.position;
        found.extend(piece.into_iter().filter(|record| record.position <= last));
    }
    Ok(found)
}

/// Adds the events of a record before `end`, the last one first, and returns the place of the first that was looked at.
fn add(search: &mut Search<'_>, record: &Record, end: Cursor, page: &mut Latest) -> Result<Cursor, EventCostsError> {
    let whole = Cursor { position: record.position, items: 0 };
    if record.format.is_of_readings() || !search.may_have(&record.body) {
        return Ok(whole);
    }
    let items = validate::split(record.format, &record.body).map_err(LookupError::from)?;
    let before = if end.position == record.position { end.items.min(items.len()) } else { items.len() };
    // In their order, since of two with one id the first counts.
    let mut fitting = Vec::new();
    for (item, raw) in items.into_iter().enumerate().take(before) {
        let log_ref = LogRef { position: record.position, item };
        if let Some(event) = search.event(record, raw, log_ref)? {
            fitting.push((item, event));
        }
    }
    let room = LIMIT - page.events.len();
    let cut = fitting.len().saturating_sub(room);
    let place = fitting.get(cut).filter(|_| cut > 0).map(|(item, _)| Cursor { items: *item, ..whole });
    page.events.extend(fitting.drain(cut..).rev().map(|(_, event)| event));
    Ok(place.unwrap_or(whole))
}
