//! How the reporting stands, for people.
use rusqlite::{Connection, Row};
use weir_contract::Timestamp;

use crate::api::{BillingView, OutboxRow, ROWS_SHOWN};
use crate::ledger::LedgerError;
use crate::ledger::totals::Totals;

/// Reads how the reporting stands, without the single rows: nothing that takes longer the more there are.
pub fn totals(db: &mut Connection) -> Result<BillingView, LedgerError> {
    let tx = db.transaction()?;
    let totals = Totals::read(&tx)?;
    let rows = |state| totals.get("rows", state);
    // The first condition says nothing new: it is that of the index `outbox_open`, which SQLite takes only where it is said.
    let sql = "SELECT min(window_start) FROM outbox WHERE state <> 'reported' AND state = 'pending'";
    let oldest: Option<i64> = tx.query_row(sql, [], |row| row.get(0))?;
    Ok(BillingView {
        reported: rows("reported"),
        pending: rows("pending"),
        held: rows("held"),
        settled: rows("settled"),
        held_by_reason: totals.of("held_rows"),
        oldest_open: oldest.map(time),
        rows: Vec::new(),
    })
}

/// Reads how the reporting stands.
pub fn billing(db: &mut Connection) -> Result<BillingView, LedgerError> {
    let mut view = totals(db)?;
    let tx = db.transaction()?;
    let mut select = tx.prepare(
        "SELECT id, window_start, tenant, meter, revision, value, state, reason, detail, customer, identifier, attempts, created_at
         FROM outbox WHERE state <> 'reported' AND state <> 'settled' ORDER BY id LIMIT ?1",
    )?;
    view.rows = select.query_map([ROWS_SHOWN as i64], read)?.collect::<Result<_, _>>()?;
    Ok(view)
}

fn read(row: &Row<'_>) -> Result<OutboxRow, rusqlite::Error> {
    Ok(OutboxRow {
        id: row.get(0)?,
        window: time(row.get(1)?),
        tenant: row.get(2)?,
        meter: row.get(3)?,
        revision: row.get(4)?,
        value: row.get(5)?,
        state: row.get(6)?,
        reason: row.get(7)?,
        detail: row.get(8)?,
        customer: row.get(9)?,
        identifier: row.get(10)?,
        attempts: row.get(11)?,
        created_at: time(row.get(12)?),
    })
}

fn time(stored: i64) -> Timestamp {
    Timestamp::from_millis(stored.unsigned_abs())
}
