//! The ledger's part: rows, and the windows they are of.
use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use weir_contract::Timestamp;

use super::events::{Found, Sum};
use super::{Question, RowLine, WindowLine, decimal};
use crate::ledger::{LedgerError, signed};
use crate::meters::weight::NANO;

/// What the outbox has of the question.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) rows: Vec<RowLine>,
    pub(super) windows: Vec<Window>,
}

/// A window with its sums.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) tenant: String,
    pub(super) meter: String,
    counted: i64,
    not_closed: i64,
    billed: i64,
    billed_elsewhere: i64,
    waiting: i64,
}

pub(super) fn read(db: &mut Connection, question: &Question) -> Result<Books, LedgerError> {
    let tx = db.transaction()?;
    let rows = rows(&tx, question)?;
    let usage = rows.iter().filter(|row| row.kind == "usage");
    let keys: BTreeMap<(Timestamp, String, String), Timestamp> =
        usage.map(|row| ((row.window, row.tenant.clone(), row.meter.clone()), row.window_end)).collect();
    let windows = keys.into_iter().map(|((from, tenant, meter), to)| window(&tx, &rows, from, to, tenant, meter));
    let windows = windows.collect::<Result<_, _>>()?;
    Ok(Books { rows, windows })
}

fn rows(tx: &Transaction<'_>, question: &Question) -> Result<Vec<RowLine>, LedgerError> {
    let mut select = tx.prepare(
        "SELECT id, kind, window_start, window_end, customer, tenant, meter, event_name, revision, value, state, reason,
                timestamp, identifier, reported_at, adjustment.who, adjustment.why
         FROM outbox LEFT JOIN adjustment ON adjustment.outbox = outbox.id
         WHERE (customer = ?1 OR tenant = ?1) AND (event_name = ?2 OR meter = ?2)
           AND timestamp * 1000 >= ?3 AND timestamp * 1000 < ?4
         ORDER BY timestamp, outbox.id",
    )?;
    let (from, to) = (signed(question.period.from.as_millis()), signed(question.period.to.as_millis()));
    let rows = select.query_map(params![question.customer, question.meter, from, to], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn row(row: &Row<'_>) -> Result<RowLine, rusqlite::Error> {
    Ok(RowLine {
        id: row.get(0)?,
        kind: row.get(1)?,
        window: millis(row.get(2)?),
        window_end: millis(row.get(3)?),
        customer: row.get(4)?,
        tenant: row.get(5)?,
        meter: row.get(6)?,
        event_name: row.get(7)?,
        revision: row.get(8)?,
        value: row.get(9)?,
        state: row.get(10)?,
        reason: row.get(11)?,
        billed_at: Timestamp::from_secs(row.get::<_, i64>(12)?.unsigned_abs()),
        identifier: row.get(13)?,
        reported_at: row.get::<_, Option<i64>>(14)?.map(millis),
        who: row.get(15)?,
        because: row.get(16)?,
    })
}

fn window(
    tx: &Transaction<'_>,
    rows: &[RowLine],
    from: Timestamp,
    to: Timestamp,
    tenant: String,
    meter: String,
) -> Result<Window, LedgerError> {
    let key = params![signed(from.as_millis()), tenant, meter];
    let sql = "SELECT billable, outboxed FROM usage WHERE window_start = ?1 AND tenant = ?2 AND meter = ?3";
    let sums = tx.prepare_cached(sql)?.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (counted, outboxed): (i64, i64) = sums.unwrap_or_default();
    let sql = "SELECT coalesce(sum(CASE WHEN state = 'reported' THEN value END), 0),
                      coalesce(sum(CASE WHEN state <> 'reported' THEN value END), 0)
               FROM outbox WHERE window_start = ?1 AND tenant = ?2 AND meter = ?3 AND kind = 'usage'";
    let (reported, waiting): (i64, i64) =
        tx.prepare_cached(sql)?.query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))?;
    if reported + waiting != outboxed {
        let what = format!("window {from} of {tenant}, {meter}: rows hold {}, not {outboxed}", reported + waiting);
        return Err(LedgerError::Inconsistent(what));
    }
    let here = rows.iter().filter(|row| {
        row.kind == "usage"
            && row.state == "reported"
            && (row.window, &row.tenant, &row.meter) == (from, &tenant, &meter)
    });
    let billed: i64 = here.map(|row| row.value).sum();
    let (not_closed, billed_elsewhere) = (counted - outboxed, reported - billed);
    Ok(Window { from, to, tenant, meter, counted, not_closed, billed, billed_elsewhere, waiting })
}

impl Window {
    /// With what its events add up to.
    pub(super) fn line(&self, sum: &Sum, found: &Found) -> WindowLine {
        let nano = i128::from(NANO);
        let short = i128::from(self.counted) * nano - sum.nano;
        // Each run of events takes in less than a unit and leaves less than one. How many runs there were is not kept where
        // some are gone.
        let runs = if found.expired(self.from) { 1 } else { i128::from(sum.fractions) };
        let carried = if sum.fractions > 0 && short.abs() < nano * runs { short } else { 0 };
        let without_events = i64::try_from((short - carried).div_euclid(nano)).unwrap_or(i64::MAX);
        // What the whole units leave over of a window whose events are partly gone was carried, too.
        let carried = short - i128::from(without_events) * nano;
        WindowLine {
            window: self.from,
            window_end: self.to,
            tenant: self.tenant.clone(),
            meter: self.meter.clone(),
            events: sum.events,
            of_events: decimal(sum.nano),
            carried: decimal(carried),
            without_events,
            expired: without_events > 0 && found.expired(self.from),
            counted: self.counted,
            billed_elsewhere: self.billed_elsewhere,
            waiting: self.waiting,
            not_closed: self.not_closed,
            billed: self.billed,
        }
    }
}

fn millis(stored: i64) -> Timestamp {
    Timestamp::from_millis(stored.unsigned_abs())
}
