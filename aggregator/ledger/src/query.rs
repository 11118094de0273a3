//! Reads the ledger on a read-only connection of its own, so that no query delays counting.
mod credentials;
mod last_window;
mod refusals;
pub(crate) mod units;

use std::collections::{BTreeMap, BTreeSet};

use weir_contract::{EventId, TenantId, Timestamp};
use weir_database::{Connection, Place, Row, Transaction, params};

pub use super::dedupe::LogRef;
use super::line::DIMENSIONS;
use super::ranges::Ranges;
use super::totals::Totals;
use super::view::{
    AnalysisQuery, AnalysisRow, LedgerView, MISSING_RANGES_SHOWN, MeterView, RefusedRow, SOURCES_SHOWN, SourceView,
    UsageQuery, UsageRow, UsageView, WorkerView,
};
use super::{LedgerError, dedupe, kept_answers};
pub(crate) use units::costs_by_tenant;
use units::rows_of;
pub use units::{FirstWindows, MeterUnits, TenantUnits};

/// The most rows of one answer to a usage query.
pub(crate) const USAGE_ROWS_MAX: u32 = 100_000;

/// A reader of the ledger.
#[derive(Debug)]
pub struct LedgerReader(Connection);

impl LedgerReader {
    /// Opens the ledger at `place` for reading.
    pub fn open(place: impl Into<Place>) -> Result<Self, LedgerError> {
        Ok(LedgerReader(Connection::open_read_only(place)?))
    }

    /// Whether there is a ledger, of whatever version: a file may be there in which none was made yet.
    pub fn is_made(&self) -> Result<bool, LedgerError> {
        Ok(self.0.schema_version()? != 0)
    }

    /// The name of the event log that the ledger counts. None in a file in which no ledger was made yet.
    pub fn log_id(&self) -> Result<Option<String>, LedgerError> {
        if !self.is_made()? {
            return Ok(None);
        }
        Ok(Some(self.0.query_row("SELECT log_id FROM ledger", [], |row| row.get(0))?))
    }

    /// Where a ledger in PostgreSQL is: see [`Connection::place_in_server`].
    pub fn place_in_server(&self) -> Result<String, LedgerError> {
        Ok(self.0.place_in_server()?)
    }

    pub fn db(&mut self) -> &mut Connection {
        &mut self.0
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }

    /// Whether the ledger can go on with these meters, as [`crate::SqliteLedger::open`] asks.
    pub fn check_meters(&self, meters: &crate::meters::Meters) -> Result<(), LedgerError> {
        crate::schema::check_meters(&self.0, meters)
    }

    /// Usage by tenant and meter, and refusals by tenant and reason.
    pub fn usage(&mut self, query: &UsageQuery) -> Result<UsageView, LedgerError> {
        let tx = self.0.transaction()?;
        Ok(UsageView { usage: usage_rows(&tx, query)?, refused: refused_rows(&tx, query)? })
    }

    /// Usage by dimensions. None if a dimension does not exist.
    pub fn analysis(&mut self, query: &AnalysisQuery) -> Result<Option<Vec<AnalysisRow>>, LedgerError> {
        let by: Vec<&str> = query.by.split(',').map(str::trim).collect();
        if !by.iter().all(|dimension| DIMENSIONS.contains(dimension)) {
            return Ok(None);
        }
        let columns = by.join(", ");
        let (times, rows) = rows_of(("analysis", "window_start"), query.tenant.as_deref());
        let sql = format!(
            "{times}SELECT tenant, sum(requests), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
                    sum(reasoning_tokens), {columns}
             FROM {rows}
             GROUP BY tenant, {columns} ORDER BY tenant, {columns} LIMIT {USAGE_ROWS_MAX}"
        );
        let (from, to) = span(query.from, query.to);
        let mut select = self.0.prepare(&sql)?;
        let rows = select.query_map(params![from, to, query.tenant], |row| {
            let number = |column| row.get::<_, u64>(column);
            Ok(AnalysisRow {
                tenant: row.get(0)?,
                requests: number(1)?,
                input_tokens: number(2)?,
                output_tokens: number(3)?,
                cache_read_tokens: number(4)?,
                reasoning_tokens: number(5)?,
                values: (6..6 + by.len()).map(|column| row.get(column)).collect::<Result<_, _>>()?,
            })
        })?;
        Ok(Some(rows.collect::<Result<_, _>>()?))
    }

    /// The numbers that must balance, except the log's end, which only the log knows.
    pub fn ledger(&mut self) -> Result<LedgerView, LedgerError> {
        let view = self.totals()?;
        Ok(LedgerView { sources: sources(&self.0)?, ..view })
    }

    /// The same without single sources, in time that does not grow with their number.
    pub fn totals(&mut self) -> Result<LedgerView, LedgerError> {
        let tx = self.0.transaction()?;
        let (ledger, position) =
            tx.query_row("SELECT id, position FROM ledger", [], |row| Ok((row.get(0)?, row.get::<_, u64>(1)?)))?;
        let totals = Totals::read(&tx)?;
        let meters = meters(&tx, &totals)?;
        let balanced = meters.iter().all(|meter| meter.balanced);
        Ok(LedgerView {
            ledger,
            position,
            log_position: position,
            early: totals.get("early", "events"),
            quarantine: totals.of("refused"),
            quarantine_dropped: totals.get("quarantine", "dropped"),
            sources_dropped: totals.get("silent", "dropped"),
            events_unbooked: totals.get("unbooked", "events"),
            unpriced: totals.of("unpriced"),
            security: totals.of("security"),
            attempts: totals.of("attempts"),
            audit_dropped: totals.of("audit_dropped"),
            totals: totals.sources(),
            sources: Vec::new(),
            meters,
            balanced,
        })
    }

    /// The position of the last counted record.
    pub fn position(&self) -> Result<u64, LedgerError> {
        Ok(self.0.query_row("SELECT position FROM ledger", [], |row| row.get(0))?)
    }

    /// The sources that were heard of since then.
    pub fn workers_since(&self, since: Timestamp) -> Result<Vec<WorkerView>, LedgerError> {
        let sql = "SELECT name, accepted, missing, closed, last_at FROM source WHERE last_at >= ?1";
        let mut select = self.0.prepare(sql)?;
        let rows = select.query_map([since.as_millis()], |row| {
            Ok(WorkerView {
                source: row.get(0)?,
                accepted: row.get(1)?,
                missing: row.get(2)?,
                closed: row.get(3)?,
                last_at: millis(row.get(4)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The position of an event in the log, if it was counted.
    pub fn find(&self, id: EventId) -> Result<Option<LogRef>, LedgerError> {
        dedupe::find(&self.0, id)
    }

    /// Returns true if the usage of an answer that the provider keeps was counted with an earlier event. None if that is no longer
    /// known.
    pub(crate) fn is_told_before(&self, of: (&TenantId, &str), id: EventId) -> Result<Option<bool>, LedgerError> {
        kept_answers::is_repeat(&self.0, of, id)
    }
}

/// A span in milliseconds: all of time where the query says nothing.
fn span(from: Option<Timestamp>, to: Option<Timestamp>) -> (u64, u64) {
    let last = i64::MAX.unsigned_abs();
    (from.unwrap_or_default().as_millis().min(last), to.map_or(last, |to| to.as_millis().min(last)))
}

fn usage_rows(tx: &Transaction<'_>, query: &UsageQuery) -> Result<Vec<UsageRow>, LedgerError> {
    let of = |table: &str, columns: &str, more: &str| {
        let (times, rows) = rows_of((table, "window_start"), query.tenant.as_deref());
        format!("SELECT * FROM ({times}SELECT window_start, tenant, meter, {columns} FROM {rows}{more}) AS of_{table}")
    };
    let sql = format!(
        "SELECT CASE WHEN ?5 = 1 THEN window_start END AS hour, tenant, meter, sum(billable), sum(excluded), sum(reported)
         FROM ({} UNION ALL {} UNION ALL {}) AS sums
         WHERE (?4 IS NULL OR meter = ?4)
         GROUP BY hour, tenant, meter ORDER BY hour, tenant, meter LIMIT {USAGE_ROWS_MAX}",
        of("usage", "billable, 0 AS excluded, 0 AS reported", ""),
        of("excluded", "0 AS billable, amount AS excluded, 0 AS reported", ""),
        of("outbox", "0 AS billable, 0 AS excluded, value AS reported", " AND state = 'reported'"),
    );
    let (from, to) = span(query.from, query.to);
    let mut select = tx.prepare(&sql)?;
    let rows = select.query_map(params![from, to, query.tenant, query.meter, query.hourly], |row| {
        Ok(UsageRow {
            window: row.get::<_, Option<u64>>(0)?.map(millis),
            tenant: row.get(1)?,
            meter: row.get(2)?,
            billable: row.get::<_, u64>(3)?,
            excluded: row.get::<_, u64>(4)?,
            reported: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn refused_rows(tx: &Transaction<'_>, query: &UsageQuery) -> Result<Vec<RefusedRow>, LedgerError> {
    let (times, rows) = rows_of(("refused", "window_start"), query.tenant.as_deref());
    let sql = format!(
        "{times}SELECT tenant, reason, sum(count) FROM {rows}
         GROUP BY tenant, reason ORDER BY tenant, reason LIMIT {USAGE_ROWS_MAX}"
    );
    let (from, to) = span(query.from, query.to);
    let mut select = tx.prepare(&sql)?;
    let rows = select.query_map(params![from, to, query.tenant], |row| {
        Ok(RefusedRow { tenant: row.get(0)?, reason: row.get(1)?, count: row.get::<_, u64>(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The sources to show: first those with problems, the latest first, then the others.
fn sources(db: &Connection) -> Result<Vec<SourceView>, LedgerError> {
    const COLUMNS: &str =
        "name, ranges, announced, accepted, quarantined, duplicates, conflicts, spilled, closed, first_at, last_at";
    let mut views = Vec::new();
    for condition in ["missing + quarantined + conflicts > 0", "NOT (missing + quarantined + conflicts > 0)"] {
        let sql = format!("SELECT {COLUMNS} FROM source WHERE {condition} ORDER BY last_at DESC LIMIT ?1");
        let mut select = db.prepare_cached(&sql)?;
        let mut rows = select.query([SOURCES_SHOWN - views.len()])?;
        while let Some(row) = rows.next()? {
            views.push(source(&row)?);
        }
    }
    Ok(views)
}

fn source(row: &Row<'_>) -> Result<SourceView, LedgerError> {
    let number = |column| row.get::<_, u64>(column);
    let name: String = row.get(0)?;
    let ranges: Ranges = serde_json::from_str(&row.get::<_, String>(1)?)
        .map_err(|error| LedgerError::Inconsistent(format!("{name}: ranges: {error}")))?;
    let last = ranges.highest().max(number(2)?);
    let mut missing_ranges = ranges.missing(last);
    let missing = missing_ranges.iter().map(|(from, to)| to - from + 1).sum();
    missing_ranges.truncate(MISSING_RANGES_SHOWN);
    Ok(SourceView {
        source: name,
        last,
        accepted: number(3)?,
        quarantined: number(4)?,
        missing,
        missing_ranges,
        duplicates: number(5)?,
        conflicts: number(6)?,
        spilled: number(7)?,
        closed: row.get(8)?,
        first_at: Timestamp::from_millis(number(9)?),
        last_at: Timestamp::from_millis(number(10)?),
    })
}

fn meters(tx: &Transaction<'_>, totals: &Totals) -> Result<Vec<MeterView>, LedgerError> {
    let mut carried: BTreeMap<String, u64> = BTreeMap::new();
    let mut select = tx.prepare("SELECT meter, sum(nano) FROM carry WHERE reason = '' GROUP BY meter")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        carried.insert(row.get(0)?, row.get::<_, u64>(1)?);
    }
    let mut names: BTreeSet<String> =
        tx.prepare("SELECT DISTINCT name FROM meter")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    names.extend(totals.of("billable").into_keys());
    Ok(names.iter().map(|name| totals.meter(name, carried.get(name).copied().unwrap_or(0))).collect())
}

fn millis(stored: u64) -> Timestamp {
    Timestamp::from_millis(stored)
}
