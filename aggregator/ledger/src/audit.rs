//! The audit of administrators' acts. The table only grows: triggers refuse anything else.
use rusqlite::{Connection, Transaction, params};
use weir_contract::Timestamp;

use super::view::AuditEntry;
use super::{LedgerError, SqliteLedger};
use crate::query::LedgerReader;
use crate::validate::EventHasher;

/// The most entries of one answer.
pub(crate) const ENTRIES_SHOWN: u32 = 1_000;

impl SqliteLedger {
    /// Records, durably, that `who` did `act`.
    pub fn audit(&mut self, at: Timestamp, who: &str, act: &str, detail: &str) -> Result<(), LedgerError> {
        self.durably(|db| note(db, at, who, act, detail))
    }

    /// Removes `user` from every stored single event. Sums stay, because they contain no users. Returns the number of
    /// changed events.
    pub fn forget_user(&mut self, user: &str) -> Result<u64, LedgerError> {
        let (nobody, hasher) = (weir_event_log::redact::nobody(user), self.hasher);
        self.durably(|db| {
            db.pragma_update(None, "secure_delete", true)?;
            let tx = db.transaction()?;
            let changed = replace_in_quarantine(&tx, &hasher, user, &nobody)? + replace_in_early(&tx, user, &nobody)?;
            tx.commit()?;
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            Ok(changed)
        })
    }
}

/// Records, in the caller's transaction, that `who` did `act`.
pub fn note(db: &Connection, at: Timestamp, who: &str, act: &str, detail: &str) -> Result<(), LedgerError> {
    let sql = "INSERT INTO audit(at, who, act, detail) VALUES (?1, ?2, ?3, ?4)";
    db.execute(sql, params![at.as_millis(), who, act, detail])?;
    Ok(())
}

/// A refused event is keyed by the hash of its bytes, so its key changes with them, as it would in a ledger rebuilt
/// from the log.
fn replace_in_quarantine(
    tx: &Transaction<'_>,
    hasher: &EventHasher,
    user: &str,
    nobody: &str,
) -> Result<u64, LedgerError> {
    let sql = "SELECT hash, CAST(replace(CAST(body AS TEXT), ?1, ?2) AS BLOB) FROM quarantine
               WHERE instr(body, CAST(?1 AS BLOB)) > 0";
    let mut select = tx.prepare(sql)?;
    let found: Vec<(i64, Vec<u8>)> =
        select.query_map([user, nobody], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (known, body) in &found {
        let sql = "UPDATE OR REPLACE quarantine SET hash = ?2, body = ?3 WHERE hash = ?1";
        tx.execute(sql, params![known, hasher.hash(body), body])?;
    }
    tx.execute("UPDATE quarantine SET detail = replace(detail, ?1, ?2) WHERE instr(detail, ?1) > 0", [user, nobody])?;
    Ok(found.len() as u64)
}

fn replace_in_early(tx: &Transaction<'_>, user: &str, nobody: &str) -> Result<u64, LedgerError> {
    let sql = "UPDATE early SET body = CAST(replace(CAST(body AS TEXT), ?1, ?2) AS BLOB)
               WHERE instr(body, CAST(?1 AS BLOB)) > 0";
    Ok(tx.execute(sql, [user, nobody])? as u64)
}

impl LedgerReader {
    /// The audit, the latest entries first.
    pub fn audit(&mut self) -> Result<Vec<AuditEntry>, LedgerError> {
        let mut select = self.db().prepare("SELECT at, who, act, detail FROM audit ORDER BY id DESC LIMIT ?1")?;
        let rows = select.query_map([ENTRIES_SHOWN], |row| {
            let at = Timestamp::from_millis(row.get::<_, u64>(0)?);
            Ok(AuditEntry { at, who: row.get(1)?, act: row.get(2)?, detail: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
