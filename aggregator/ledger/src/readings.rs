//! Remembers the ids of counted readings with a hash of their content.
//!
//! One table holds all days: readings are few compared with events, their ids are unordered texts, and an id with two
//! different times must be found as a conflict. As with events, days of the readings' own times are forgotten.
use weir_database::{Connection, OptionalExtension, Transaction, params};

use super::LedgerError;
use super::dedupe::{DedupeResult, LogRef};
use crate::query::LedgerReader;

/// Remembers a reading, unless its id is known.
pub(super) fn note(
    tx: &Transaction<'_>,
    id: &str,
    day: u64,
    hash: i64,
    log_ref: LogRef,
) -> Result<DedupeResult, LedgerError> {
    let sql = "INSERT INTO reading(id, day, hash, position, item) VALUES (?1,?2,?3,?4,?5) ON CONFLICT DO NOTHING";
    let row = params![id, day, hash, log_ref.position, log_ref.item as u64];
    if tx.prepare_cached(sql)?.execute(row)? == 1 {
        return Ok(DedupeResult::First);
    }
    let known: i64 = tx.prepare_cached("SELECT hash FROM reading WHERE id = ?1")?.query_row([id], |row| row.get(0))?;
    Ok(if known == hash { DedupeResult::Repeat } else { DedupeResult::Conflict })
}

/// Drops the days before `oldest`. Readings of those days are refused from then on.
pub(super) fn drop_days_before(tx: &Transaction<'_>, oldest: u64) -> Result<(), LedgerError> {
    tx.prepare_cached("DELETE FROM reading WHERE day < ?1")?.execute([oldest])?;
    Ok(())
}

impl LedgerReader {
    /// The position of the reading `id` in the log, and the hash of its content, if it was counted.
    pub fn find_reading(&self, id: &str) -> Result<Option<(LogRef, i64)>, LedgerError> {
        find(self.connection(), id)
    }
}

fn find(db: &Connection, id: &str) -> Result<Option<(LogRef, i64)>, LedgerError> {
    let mut select = db.prepare_cached("SELECT position, item, hash FROM reading WHERE id = ?1")?;
    Ok(select.query_row([id], |row| Ok((LogRef::read(row, 0)?, row.get(2)?))).optional()?)
}
