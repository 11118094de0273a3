//! Follows the state of rows after every transaction.
use weir_database::Connection;

use super::{Rows, World};
use weir_billing::outbox::BillingError;
use weir_ledger::SqliteLedger;

impl World {
    /// Runs work on the ledger and records the transitions of rows. None if the process died in it.
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut SqliteLedger) -> Result<T, BillingError> + Send + 'static,
    ) -> Result<Option<T>, String> {
        let Some(machine) = &mut self.machine else { return Ok(None) };
        // A new process may find changes that its predecessor did not live to report.
        let since_ms = if self.fresh { 0 } else { self.now_ms.saturating_sub(1) };
        let both = machine.ask(move |ledger| {
            let before = written(ledger.db())?;
            let done = call(ledger)?;
            let rows = if written(ledger.db())? == before { Rows::new() } else { snapshot(ledger.db(), since_ms)? };
            Ok::<_, BillingError>((done, rows))
        });
        self.fresh &= !matches!(both, Some(Ok(_)));
        match both {
            Some(Ok((done, rows))) => {
                self.follow(rows)?;
                Ok(Some(done))
            }
            Some(Err(error)) if weir_disk::with(|disk| disk.is_dead()) != Some(true) => {
                Err(format!("refused: {error}"))
            }
            _ => Ok(None),
        }
    }

    /// Counts transitions.
    pub(super) fn follow(&mut self, rows: Rows) -> Result<(), String> {
        for (id, now) in &rows {
            let before = self.rows.get(id).cloned().unwrap_or_default();
            if before == *now {
                continue;
            }
            if before == "reported" || before == "settled" {
                return Err(format!("row {id} was {before} and is {now}"));
            }
            self.say(|| format!("row {id}: {before} -> {now}"));
            *self.summary.transitions.entry((before, now.clone())).or_default() += 1;
        }
        self.rows.extend(rows);
        Ok(())
    }
}

/// The number of rows that this process has written, over all tables.
fn written(db: &Connection) -> Result<i64, BillingError> {
    Ok(db.prepare_cached("SELECT total_changes()")?.query_row([], |row| row.get(0))?)
}

/// The state of rows that may have changed: those not accepted, or accepted since then.
pub(super) fn snapshot(db: &Connection, since_ms: u64) -> Result<Rows, BillingError> {
    let mut select = db.prepare_cached(
        "SELECT id, CASE WHEN state = 'held' THEN 'held ' || reason WHEN state IN ('reported', 'settled') THEN state
           WHEN in_flight IS NOT NULL THEN 'sent' WHEN unsure_at IS NOT NULL THEN 'unsure' WHEN attempts > 0 THEN 'again'
           ELSE 'pending' END FROM outbox WHERE state <> 'reported' OR reported_at >= ?1",
    )?;
    let rows = select.query_map([since_ms.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
