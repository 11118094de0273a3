//! Events and readings ahead of the clock, which wait in the table `early` until their time has come.
//!
//! Those of a record are written at once: the table has a running total, and PostgreSQL keeps each version of that row until the
//! transaction ends.
use weir_contract::Timestamp;
use weir_database::types::{ToSqlOutput, ValueRef};
use weir_database::{Transaction, Values};
use weir_event_log::Position;

use crate::{LedgerError, signed, totals};

/// The most that may wait.
const EARLY_MAX: u64 = 100_000;

/// What comes ahead of the clock within a transaction, until it is written.
#[derive(Default)]
pub(super) struct Early {
    rows: Vec<EarlyRow>,
    /// How many the table has, once that was read.
    kept: Option<u64>,
}

/// An event or a reading that waits.
pub(super) struct EarlyRow {
    /// The event's id or the reading's; no event has the id of a reading, since the ninth byte of a UUID is never ASCII.
    pub(super) id: Vec<u8>,
    pub(super) time: Timestamp,
    pub(super) body: Vec<u8>,
    pub(super) is_reading: bool,
    /// Of its record.
    pub(super) position: Position,
}

impl EarlyRow {
    fn values(&self) -> Result<Values<'_>, LedgerError> {
        let bytes = |bytes| ToSqlOutput::Borrowed(ValueRef::Blob(bytes));
        let (time, position) = (signed(self.time.as_millis())?, signed(self.position)?);
        let is_reading = i64::from(self.is_reading);
        Ok(vec![bytes(&self.id), time.into(), bytes(&self.body), is_reading.into(), position.into()])
    }
}

impl Early {
    /// Whether another one may wait.
    pub(super) fn has_room(&mut self, tx: &Transaction<'_>) -> Result<bool, LedgerError> {
        let kept = match self.kept {
            Some(kept) => kept,
            None => *self.kept.insert(totals::get(tx, "early", "events")?),
        };
        Ok(kept + (self.rows.len() as u64) < EARLY_MAX)
    }

    /// Lets one wait.
    pub(super) fn add(&mut self, row: EarlyRow) {
        self.rows.push(row);
    }

    /// Writes those that have come.
    pub(super) fn write(&mut self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = self.rows.iter().map(EarlyRow::values).collect::<Result<Vec<_>, _>>()?;
        tx.insert_rows("early(id, time, body, reading, position)", "", &rows)?;
        drop(rows);
        (self.rows, self.kept) = (Vec::new(), None);
        Ok(())
    }

    /// Takes those away that are due by `due`, in milliseconds.
    pub(super) fn remove(&mut self, tx: &Transaction<'_>, due: u64) -> Result<(), LedgerError> {
        self.kept = None;
        tx.execute("DELETE FROM early WHERE time <= ?1", [due])?;
        Ok(())
    }
}
