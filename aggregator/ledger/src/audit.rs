//! The audit of administrators' acts. The table only grows: triggers refuse anything else.
use weir_contract::Timestamp;
use weir_database::{Connection, Transaction, params};

use super::view::AuditEntry;
use super::{LedgerError, SqliteLedger};
use crate::query::LedgerReader;
use crate::validate::EventHasher;
use weir_event_log::redact::Users;

/// The most entries of one answer.
pub(crate) const ENTRIES_SHOWN: u32 = 1_000;

impl SqliteLedger {
    /// Records, durably, that `who` did `act`.
    pub fn audit(&mut self, at: Timestamp, who: &str, act: &str, detail: &str) -> Result<(), LedgerError> {
        self.durably(|db| note(db, at, who, act, detail))
    }

    /// Removes `users` from every stored single event. Sums stay, because they contain no users. Returns the number of
    /// changed events.
    pub fn forget_users(&mut self, users: &Users) -> Result<u64, LedgerError> {
        let hasher = self.hasher;
        self.durably(|db| {
            db.overwrite_deleted()?;
            let tx = db.transaction()?;
            let changed = redact_quarantine(&tx, &hasher, users)? + redact_early(&tx, users)?;
            tx.commit()?;
            db.checkpoint_all()?;
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
/// from the log. Events that differed in the user alone are the same bytes then, and one event.
fn redact_quarantine(tx: &Transaction<'_>, hasher: &EventHasher, users: &Users) -> Result<u64, LedgerError> {
    let mut select = tx.prepare(
        "SELECT hash, body, detail FROM quarantine WHERE instr(body, CAST('hmac:' AS BLOB)) > 0 OR instr(detail, 'hmac:') > 0
         ORDER BY position, item",
    )?;
    let mut rows = select.query([])?;
    let mut found: Vec<(i64, Vec<u8>, String, bool)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (hash, mut body, detail): (i64, Vec<u8>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let mut words = detail.into_bytes();
        let (in_body, in_words) = (users.redact(&mut body), users.redact(&mut words));
        if in_body || in_words {
            found.push((hash, body, String::from_utf8_lossy(&words).into_owned(), in_body));
        }
    }
    for (known, body, detail, _) in &found {
        tx.execute("UPDATE quarantine SET detail = ?2 WHERE hash = ?1", params![known, detail])?;
        let (hash, mut kept) = (hasher.hash(body), *known);
        if hash != *known {
            kept = merge_refused(tx, [*known, hash])?;
        }
        tx.execute("UPDATE quarantine SET hash = ?2, body = ?3 WHERE hash = ?1", params![kept, hash, body])?;
    }
    Ok(found.iter().filter(|(.., in_body)| *in_body).count() as u64)
}

/// Makes one of the refused events under two hashes, if there are two: the earlier one stays. Returns its hash.
///
/// The other one is deleted and not replaced, because SQLite fires no trigger for a replaced row, and triggers keep the totals.
fn merge_refused(tx: &Transaction<'_>, hashes: [i64; 2]) -> Result<i64, LedgerError> {
    let sql =
        "SELECT hash, times, takes_number, dropped FROM quarantine WHERE hash IN (?1, ?2) ORDER BY position, item";
    let mut select = tx.prepare(sql)?;
    let rows = select.query_map(hashes, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let rows: Vec<(i64, i64, bool, bool)> = rows.collect::<Result<_, _>>()?;
    let [(kept, times, takes_number, dropped), (other, more, takes_more, drops_more)] = rows[..] else {
        return Ok(hashes[0]);
    };
    tx.execute("DELETE FROM quarantine WHERE hash = ?1", [other])?;
    let sql = "UPDATE quarantine SET times = ?2, takes_number = ?3, dropped = ?4 WHERE hash = ?1";
    tx.execute(sql, params![kept, times + more, takes_number || takes_more, dropped && drops_more])?;
    Ok(kept)
}

fn redact_early(tx: &Transaction<'_>, users: &Users) -> Result<u64, LedgerError> {
    let mut select = tx.prepare("SELECT id, body FROM early WHERE instr(body, CAST('hmac:' AS BLOB)) > 0")?;
    let mut rows = select.query([])?;
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let mut body: Vec<u8> = row.get(1)?;
        if users.redact(&mut body) {
            found.push((row.get(0)?, body));
        }
    }
    for (id, body) in &found {
        tx.execute("UPDATE early SET body = ?2 WHERE id = ?1", params![id, body])?;
    }
    Ok(found.len() as u64)
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

#[cfg(test)]
mod tests;
