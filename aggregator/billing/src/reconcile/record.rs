//! Remembers the last comparison, for metrics and `weir stripe status`.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, params};

use super::ReconcileView;
use super::compare::Cause;
use weir_ledger::LedgerError;

/// The last comparison of all series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReconciliation {
    /// When it was made.
    pub at: Timestamp,
    /// Its first hour.
    pub from: Timestamp,
    /// Its end, exclusive.
    pub to: Timestamp,
    /// Hours compared.
    pub windows: u64,
    /// Differing hours by cause.
    pub by_cause: BTreeMap<Cause, u64>,
    /// True if a cause needed a person.
    pub attention: bool,
}

/// Stores a comparison of all series as the last one.
pub fn write(db: &mut Connection, view: &ReconcileView) -> Result<(), LedgerError> {
    let json = |error: serde_json::Error| LedgerError::Inconsistent(error.to_string());
    let by_cause = serde_json::to_string(&view.by_cause).map_err(json)?;
    let at = view.at.as_millis();
    let tx = db.transaction()?;
    tx.execute("DELETE FROM reconciliation", [])?;
    tx.execute(
        "INSERT INTO reconciliation(at, from_at, to_at, series, windows, attention, by_cause) VALUES (?1,?2,?3,?4,?5,?6,?7)",
        params![
            at,
            view.from.as_millis(),
            view.to.as_millis(),
            view.series,
            view.windows,
            view.attention,
            by_cause
        ],
    )?;
    // A suspect time is settled once a comparison covers all hours of its rows.
    tx.execute(
        "UPDATE suspect SET compared_at = ?1 WHERE compared_at IS NULL AND NOT EXISTS
           (SELECT 1 FROM outbox WHERE outbox.event_name = suspect.event_name AND reported_at BETWEEN from_at AND to_at
              AND (timestamp < ?2 OR timestamp >= ?3))",
        params![at, view.from.as_secs(), view.to.as_secs()],
    )?;
    Ok(tx.commit()?)
}

/// The last comparison, if any.
pub fn last(db: &Connection) -> Result<Option<LastReconciliation>, LedgerError> {
    let sql = "SELECT at, from_at, to_at, windows, by_cause, attention FROM reconciliation";
    let found = db.query_row(sql, [], |row| {
        let time = |column| row.get::<_, u64>(column).map(Timestamp::from_millis);
        let by_cause: String = row.get(4)?;
        let last = LastReconciliation {
            at: time(0)?,
            from: time(1)?,
            to: time(2)?,
            windows: row.get::<_, u64>(3)?,
            by_cause: BTreeMap::new(),
            attention: row.get(5)?,
        };
        Ok((last, by_cause))
    });
    let Some((last, by_cause)) = found.optional()? else { return Ok(None) };
    let by_cause = serde_json::from_str(&by_cause)
        .map_err(|error| LedgerError::Inconsistent(format!("the last reconciliation: {error}")))?;
    Ok(Some(LastReconciliation { by_cause, ..last }))
}
