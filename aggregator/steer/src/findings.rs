//! Critical findings about the borders between tenants, as receivers of alerts are told them: a record or a name of another tenant
//! stood in an answer. Several become one message, and messages keep their distance: a leak that lasts is told, and floods nobody.
use rusqlite::Connection;
use serde::Serialize;
use weir_contract::Timestamp;
use weir_ledger::LedgerError;

/// The least time between two messages about findings, in milliseconds.
pub(crate) const DISTANCE_MS: u64 = 5 * 60 * 1_000;
/// How old a finding may be, in milliseconds: older ones come from a log that is counted anew.
pub(crate) const AGE_MAX_MS: u64 = 3_600 * 1_000;
/// The most findings that one message tells of.
const TOLD_MAX: u32 = 200;
/// The most findings that one message lists.
pub(crate) const LISTED_MAX: usize = 20;

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    #[serde(skip)]
    pub(crate) id: i64,
    /// The minute that it is from.
    pub(crate) minute: Timestamp,
    /// Whose request it was.
    pub(crate) tenant: String,
    pub(crate) kind: String,
    pub(crate) operation: String,
    pub(crate) count: u64,
    /// Whose records or names they were.
    pub(crate) owners: Vec<String>,
}

impl Finding {
    /// Whether it is new enough to be told.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        now.millis_since(self.minute) <= AGE_MAX_MS
    }
}

/// Whether findings wait to be told now.
pub(crate) fn are_due(db: &Connection, now: Timestamp) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM security WHERE told = 0)";
    let waits: bool = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    if !waits {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM notice WHERE at > ?1 AND id LIKE 'msg!_%!_findings!_%' ESCAPE '!')";
    let since = now.as_millis().saturating_sub(DISTANCE_MS);
    Ok(!db.prepare_cached(sql)?.query_row([since], |row| row.get::<_, bool>(0))?)
}

/// The findings that wait, the oldest first.
pub(crate) fn untold(db: &Connection) -> Result<Vec<Finding>, LedgerError> {
    let sql =
        "SELECT id, minute, tenant, kind, operation, count, owners FROM security WHERE told = 0 ORDER BY id LIMIT ?1";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([TOLD_MAX], |row| {
        let owners: String = row.get(6)?;
        Ok(Finding {
            id: row.get(0)?,
            minute: Timestamp::from_millis(row.get(1)?),
            tenant: row.get(2)?,
            kind: row.get(3)?,
            operation: row.get(4)?,
            count: row.get(5)?,
            owners: serde_json::from_str(&owners).unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes that the findings up to this one are told.
pub(crate) fn mark_told(db: &Connection, last: i64) -> Result<(), LedgerError> {
    db.prepare_cached("UPDATE security SET told = 1 WHERE told = 0 AND id <= ?1")?.execute([last])?;
    Ok(())
}
