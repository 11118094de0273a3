//! Reads the outbox rows of an invoice's line, and the windows that they belong to.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Question, RowLine};
use weir_ledger::LedgerError;

/// The rows and windows that match a question.
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
    pub(super) counted: i64,
    pub(super) not_closed: i64,
    pub(super) billed: i64,
    pub(super) billed_elsewhere: i64,
    pub(super) waiting: i64,
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
    let (from, to) = (question.period.from.as_millis(), question.period.to.as_millis());
    let rows = select.query_map(params![question.customer, question.meter, from, to], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn row(row: &Row<'_>) -> Result<RowLine, weir_database::Error> {
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
        billed_at: Timestamp::from_secs(row.get::<_, u64>(12)?),
        identifier: row.get(13)?,
        reported_at: row.get::<_, Option<u64>>(14)?.map(millis),
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
    let key = params![from.as_millis(), tenant, meter];
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

fn millis(stored: u64) -> Timestamp {
    Timestamp::from_millis(stored)
}
