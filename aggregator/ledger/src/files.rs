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

/// Sizes that production leaves as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Of the log.
    pub log: LogOptions,
    /// Of the ledger.
    pub ledger: LedgerOptions,
}

/// The open files of a data directory, found to belong together.
#[derive(Debug)]
pub struct Files {
    /// The log's writing end.
    pub log: SqliteLog,
    /// A reading end of it, for the ledger.
    pub reader: SqliteLogReader,
    /// The ledger.
    pub ledger: SqliteLedger,
}

impl Files {
    /// Opens the files, or starts them.
    pub fn open(log_path: &Path, ledger_path: &Path, meters: Meters, options: Options) -> Result<Self, FilesError> {
        let log = SqliteLog::open_with(log_path, options.log)?;
        let log_id = log.id().map_err(|source| LogError::Sqlite { path: log_path.to_owned(), source })?;
        let reader = SqliteLogReader::open(log_path)?;
        let ledger = SqliteLedger::open_with(ledger_path, &log_id, meters, options.ledger)?;
        ledger.check_log(log.end().position)?;
        Ok(Files { log, reader, ledger })
    }
}

/// Drops records received before `before` that are counted, a few; returns how many. What is counted is made durable first:
/// a ledger that the power takes something from must find it in the log again.
pub async fn prune(
    log: &LogWriter<ValidatedBody>,
    ledger: &LedgerHandle,
    before: Timestamp,
) -> Result<usize, PruneError> {
    let through = ledger.call(SqliteLedger::sync_to_disk).await?;
    let through = if fault::hit(Point::PrunedUncounted) { Position::MAX } else { through };
    Ok(log.prune(through, before).await.unwrap_or(Ok(0))?)
}

/// Why nothing was dropped from the log.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log.
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
