//! Forgets end users: what they have used is dropped, and history and messages no longer name them.
use weir_database::{Connection, Transaction, params};
use weir_event_log::redact::Users;
use weir_ledger::LedgerError;

/// Forgets these users. Returns whether a count of one was dropped: then the caller reviews the budgets.
pub fn users(db: &mut Connection, users: &Users) -> Result<bool, LedgerError> {
    let tx = db.transaction()?;
    let mut dropped = 0;
    for table in ["budget_use", "budget_stage"] {
        for (subject, _) in named(
            &tx,
            &format!("SELECT DISTINCT subject, subject FROM {table} WHERE instr(subject, '#hmac:') > 1"),
            users,
        )? {
            dropped += tx.execute(&format!("DELETE FROM {table} WHERE subject = ?1"), [subject])?;
        }
    }
    let changes = "SELECT DISTINCT subject, subject FROM budget_transition WHERE instr(subject, '#hmac:') > 1";
    for (subject, without) in named(&tx, changes, users)? {
        tx.execute("UPDATE budget_transition SET subject = ?2 WHERE subject = ?1", params![subject, without])?;
    }
    for (id, body) in named(&tx, "SELECT id, body FROM notice WHERE instr(body, '#hmac:') > 0", users)? {
        tx.execute("UPDATE notice SET body = ?2 WHERE id = ?1", params![id, body])?;
    }
    tx.commit()?;
    Ok(dropped > 0)
}

/// Keys and texts of the rows that name one of the users, the texts without them.
fn named(tx: &Transaction<'_>, sql: &str, users: &Users) -> Result<Vec<(String, String)>, LedgerError> {
    let mut select = tx.prepare(sql)?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (key, text): (String, String) = (row.get(0)?, row.get(1)?);
        let mut bytes = text.into_bytes();
        if users.redact(&mut bytes) {
            found.push((key, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(found)
}
