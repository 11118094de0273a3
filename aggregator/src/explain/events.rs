//! The event log's part: the single events of some windows, judged as the ledger judged them.
use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use weir_contract::time::HOUR_MS;
use weir_contract::{EventId, Payload, Timestamp, UsageData};

use super::books::Window;
use super::{ExplainError, decimal};
use crate::ledger::LedgerError;
use crate::ledger::query::{LedgerReader, LogRef};
use crate::log::sqlite::SqliteLogReader;
use crate::log::{LogReader, Position, Record};
use crate::meters::weight::NANO;
use crate::meters::{Measure, Meters};
use crate::validate;

/// The log is read in pieces of this many bytes, uncompressed.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// An event is received at most a day before its time, and clocks are set back: so long before a window, in milliseconds,
/// the log is read from.
const BEFORE_MS: u64 = validate::AHEAD_MAX_MS + 24 * HOUR_MS;

/// One event, as a customer may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// The window it is counted in.
    pub window: Timestamp,
    /// When the request ended.
    pub time: Timestamp,
    /// The event's id.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// Our meter.
    pub meter: String,
    /// The name of what was read, if it is a reading and no event; then what only requests have is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<String>,
    /// The gateway's id of the request.
    pub request_id: String,
    /// The provider's id of the answer.
    pub response_id: Option<String>,
    /// The model that answered, else the one asked for.
    pub model: Option<String>,
    /// What kind of request it was.
    pub class: String,
    /// The route.
    pub route: Option<String>,
    /// The feature.
    pub feature: Option<String>,
    /// Which key or issuer identified the tenant.
    pub credential: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// How well its usage is known.
    pub usage: String,
    /// What it counts for, as an exact decimal.
    pub amount: String,
}

/// What the events of a window add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) events: u64,
    /// In billionths.
    pub(super) nano: i128,
    /// Events that count for a fraction.
    pub(super) fractions: u64,
}

/// What the log has.
#[derive(Debug)]
pub(super) struct Found {
    /// A sum for each window.
    pub(super) sums: Vec<Sum>,
    /// When the oldest record that is kept was received.
    pub(super) kept_since: Option<Timestamp>,
    /// Whether records were dropped before it.
    pruned: bool,
}

impl Found {
    /// Whether a record that was dropped may have held events of a window that starts at `from`.
    pub(super) fn expired(&self, from: Timestamp) -> bool {
        let earliest = from.as_millis().saturating_sub(validate::AHEAD_MAX_MS);
        self.pruned && self.kept_since.is_none_or(|since| since.as_millis() > earliest)
    }
}

/// Finds the events of `windows` and hands each to `take`.
pub(super) fn find(
    log: &mut SqliteLogReader,
    ledger: &mut LedgerReader,
    meters: &Meters,
    windows: &[Window],
    take: &mut dyn FnMut(super::EventLine) -> std::io::Result<()>,
) -> Result<Found, ExplainError> {
    let first = log.read_after(0, 1)?.into_iter().next();
    let end = counted_up_to(ledger.db())?;
    let mut search = Search {
        windows,
        by_tenant: by_tenant(windows),
        meters,
        numbers: meters.names().iter().enumerate().map(|(number, name)| (name.as_str(), number)).collect(),
        waiting: waiting(ledger.db())?,
        waiting_readings: super::readings::waiting(ledger.db())?,
        quarantined: quarantined(ledger.db())?,
        forgotten: HashSet::new(),
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
    let pruned = first.as_ref().is_some_and(|first| first.position > 1);
    Ok(Found { sums: search.sums, kept_since: first.map(|first| first.received_at), pruned })
}

type ByTenant<'a> = HashMap<&'a str, Vec<usize>>;

fn by_tenant(windows: &[Window]) -> ByTenant<'_> {
    let mut by_tenant: ByTenant<'_> = HashMap::new();
    for (at, window) in windows.iter().enumerate() {
        by_tenant.entry(&window.tenant).or_default().push(at);
    }
    by_tenant
}

/// The last position before the records received at or after `time`. Records follow one another in time but for clocks
/// that are set back.
fn position_before(
    log: &mut SqliteLogReader,
    first: Position,
    last: Position,
    time: Timestamp,
) -> Result<Position, ExplainError> {
    let (mut low, mut high) = (first - 1, last);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match log.get(middle)? {
            Some(record) if record.received_at >= time => high = middle,
            _ => low = middle,
        }
    }
    Ok(low)
}

pub(super) struct Search<'a> {
    pub(super) windows: &'a [Window],
    by_tenant: ByTenant<'a>,
    pub(super) meters: &'a Meters,
    numbers: HashMap<&'a str, usize>,
    /// Events ahead of the clock: not counted yet.
    waiting: HashSet<EventId>,
    /// The same of readings.
    pub(super) waiting_readings: HashSet<String>,
    /// Events and readings that are refused as conflicts.
    pub(super) quarantined: HashSet<(Position, usize)>,
    /// Ids whose day the ledger has forgotten, met in this search.
    forgotten: HashSet<EventId>,
    pub(super) forgotten_readings: HashSet<String>,
    sums: Vec<Sum>,
    take: &'a mut dyn FnMut(EventLine) -> std::io::Result<()>,
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
            if windows.is_empty() || !self.counted(event.id, log_ref, ledger)? {
                continue;
            }
            let measures: BTreeMap<usize, Measure> = self.meters.measure(event.time.hour(), data).collect();
            for at in windows {
                self.count(at, &measures, |window, nano| line(window, event.id, event.time, data, nano))?;
            }
        }
        Ok(())
    }

    /// Which windows of `tenant` a moment lies in.
    pub(super) fn windows_at(&self, tenant: &str, time: Timestamp) -> Vec<usize> {
        let inside = |at: &usize| self.windows[*at].from <= time && time < self.windows[*at].to;
        self.by_tenant.get(tenant).map_or(Vec::new(), |windows| windows.iter().copied().filter(inside).collect())
    }

    /// Whether the ledger counted the event from this place.
    fn counted(&mut self, id: EventId, log_ref: LogRef, ledger: &LedgerReader) -> Result<bool, ExplainError> {
        if self.waiting.contains(&id) || self.quarantined.contains(&(log_ref.position, log_ref.item)) {
            return Ok(false);
        }
        Ok(match ledger.find(id)? {
            Some(first) => first == log_ref,
            None => self.forgotten.insert(id),
        })
    }

    /// Adds what the window's meter has of `measures`, and hands on what `line` makes of it.
    pub(super) fn count(
        &mut self,
        at: usize,
        measures: &BTreeMap<usize, Measure>,
        line: impl FnOnce(&Window, i128) -> EventLine,
    ) -> Result<(), ExplainError> {
        let window = &self.windows[at];
        let Some(number) = self.numbers.get(window.meter.as_str()) else { return Ok(()) };
        let Some(measure) = measures.get(number).filter(|measure| measure.excluded.is_none()) else { return Ok(()) };
        let nano = i128::from(measure.amount) * i128::from(NANO) + i128::from(measure.nano);
        if nano == 0 {
            return Ok(());
        }
        let sum = &mut self.sums[at];
        sum.events += 1;
        sum.nano += nano;
        sum.fractions += u64::from(measure.nano > 0);
        Ok((self.take)(line(window, nano))?)
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
    let position: Option<i64> = db.query_row("SELECT position FROM ledger", [], |row| row.get(0)).optional()?;
    Ok(position.unwrap_or(0).unsigned_abs())
}

fn waiting(db: &Connection) -> Result<HashSet<EventId>, LedgerError> {
    let mut select = db.prepare("SELECT body FROM early WHERE NOT reading")?;
    let bodies = select.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let mut ids = HashSet::new();
    for body in bodies {
        if let Ok(event) = weir_contract::Event::parse(&body?) {
            ids.insert(event.id);
        }
    }
    Ok(ids)
}

/// At most as many as the quarantine keeps.
fn quarantined(db: &Connection) -> Result<HashSet<(Position, usize)>, LedgerError> {
    let mut select = db.prepare("SELECT position, item FROM quarantine")?;
    let places = select.query_map([], |row| {
        let (position, item): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok((position.unsigned_abs(), usize::try_from(item).unwrap_or(usize::MAX)))
    })?;
    Ok(places.collect::<Result<_, _>>()?)
}
