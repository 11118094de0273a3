//! Opens log and ledger of one data directory together, and drops records from the log that the ledger has counted.
use weir_contract::Timestamp;
use weir_database::{Connection, Place};
use weir_event_log::place::{LogPlace, OpenLog, Opening};
use weir_event_log::writer::LogWriter;
use weir_event_log::{AppendError, EventLog, LogError, LogReader, Position};
use weir_fault::{self as fault, Point};

use crate::meters::Meters;
use crate::thread::LedgerHandle;
use crate::{LedgerError, LedgerOptions, SqliteLedger, ValidatedBody, schema};

/// The open log and ledger of a data directory, checked to belong together.
pub struct Files {
    /// The writer of the log.
    pub log: Box<dyn EventLog>,
    /// A reader of the log, for the ledger.
    pub reader: Box<dyn LogReader>,
    /// The ledger.
    pub ledger: SqliteLedger,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl Files {
    /// Opens the log at `place` and the ledger, or makes them.
    pub fn open(
        place: &LogPlace,
        opening: Opening,
        ledger: &Place,
        meters: Meters,
        options: LedgerOptions,
    ) -> Result<Self, FilesError> {
        let log = place.open(opening)?;
        let db = Connection::open(ledger).map_err(LedgerError::from)?;
        Self::over(log, db, ledger, meters, options)
    }

    /// As [`Files::open`], and takes the right to write the ledger first, without waiting for another process that has it. So nobody
    /// takes the log who may not write the ledger.
    pub fn open_by_right(
        place: &LogPlace,
        opening: Opening,
        ledger: &Place,
        meters: Meters,
        options: LedgerOptions,
    ) -> Result<Self, FilesError> {
        let db = Connection::open(ledger).map_err(LedgerError::from)?;
        schema::check_version(&db, ledger)?;
        db.take_right_now().map_err(LedgerError::from)?;
        Self::over(place.open(opening)?, db, ledger, meters, options)
    }

    fn over(
        OpenLog { id, log, reader }: OpenLog,
        db: Connection,
        ledger: &Place,
        meters: Meters,
        options: LedgerOptions,
    ) -> Result<Self, FilesError> {
        let ledger = SqliteLedger::open_on(db, ledger, &id, meters, options)?;
        ledger.check_log(log.end().position)?;
        Ok(Files { log, reader, ledger })
    }
}

/// Prunes some records that are counted and were received before `before`; returns their number. Syncs the ledger
/// first: counts that a power loss takes must still be in the log.
pub async fn prune(
    log: &LogWriter<ValidatedBody>,
    ledger: &LedgerHandle,
    before: Timestamp,
) -> Result<usize, PruneError> {
    let through = ledger.call(SqliteLedger::sync_to_disk).await?;
    let through = if fault::hit(Point::PrunedUncounted) { Position::MAX } else { through };
    Ok(log.prune(through, before).await.unwrap_or(Ok(0))?)
}

/// Why nothing was pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The ledger cannot be synced.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] AppendError),
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
