//! Opens log and ledger of one data directory together, and drops records from the log that the ledger has counted.
use std::path::Path;

use weir_contract::Timestamp;
use weir_event_log::sqlite::{LogOptions, SqliteLog, SqliteLogReader};
use weir_event_log::writer::LogWriter;
use weir_event_log::{AppendError, EventLog, LogError, Position};
use weir_fault::{self as fault, Point};

use crate::meters::Meters;
use crate::thread::LedgerHandle;
use crate::{LedgerError, LedgerOptions, SqliteLedger, ValidatedBody};

/// Sizes for log and ledger; production uses the defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The log's sizes.
    pub log: LogOptions,
    /// The ledger's sizes.
    pub ledger: LedgerOptions,
}

/// The open files of a data directory, checked to belong together.
#[derive(Debug)]
pub struct Files {
    /// The writer of the log.
    pub log: SqliteLog,
    /// A reader of the log, for the ledger.
    pub reader: SqliteLogReader,
    /// The ledger.
    pub ledger: SqliteLedger,
}

impl Files {
    /// Opens the files, or creates them.
    pub fn open(log_path: &Path, ledger_path: &Path, meters: Meters, options: Options) -> Result<Self, FilesError> {
        let log = SqliteLog::open_with(log_path, options.log)?;
        let log_id = log.id().map_err(|source| LogError::Sqlite { path: log_path.to_owned(), source })?;
        let reader = SqliteLogReader::open(log_path)?;
        let ledger = SqliteLedger::open_with(ledger_path, &log_id, meters, options.ledger)?;
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
