//! The event log: what was acknowledged, in the order in which it was.
//!
//! Everything else follows from it: the ledger can be thrown away and rebuilt. One record is one accepted body, as it came;
//! a batch is acknowledged when its record is synced.
#![forbid(unsafe_code)]

mod record;
pub mod redact;
pub mod sqlite;
pub mod writer;

use std::borrow::Cow;
use std::path::PathBuf;

pub use record::{Admission, Format, NewRecord, Position, Record};
use redact::Redacted;
use weir_contract::Timestamp;

/// The writing end of a log. There is one, and one thread has it.
pub trait EventLog: Send {
    /// What the last record says of forgotten days; 0 when there is none.
    fn forgotten_before(&self) -> u64;

    /// Appends `records` in order and syncs. When this returns, they survive the machine.
    ///
    /// # Errors
    /// [`AppendError::Full`] leaves the log as it was and may be tried again. After [`AppendError::Broken`] nothing is
    /// known about what reached the disk: the log must not be written again before it was opened anew.
    fn append(&mut self, records: &[NewRecord]) -> Result<Position, AppendError>;

    /// Drops some records from the front: at most [`PRUNE_STEP`], none after `through`, none received at or after `before`,
    /// and never the last one, so that positions never start again. Returns how many went; 0 means no more to drop.
    fn prune(&mut self, through: Position, before: Timestamp) -> Result<usize, AppendError>;

    /// Takes a user out of some records after `after`; see [`redact`].
    fn redact(&mut self, after: Position, user: &str) -> Result<Redacted, AppendError>;

    /// Puts what was appended where it finally belongs, when there is enough of it. Nothing rests on when that happens,
    /// but a failed sync in it is as fatal as in [`EventLog::append`].
    fn checkpoint(&mut self) -> Result<(), AppendError>;
}

/// How many records one call of [`EventLog::prune`] drops: appends wait for no longer than that takes.
pub const PRUNE_STEP: u32 = 200;

/// A reading end of a log. There may be many.
pub trait LogReader: Send {
    /// The records after `after`, in order, until they exceed `max_bytes` uncompressed; at least one, if there is one.
    fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError>;

    /// One record; none if it was never there or is pruned.
    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError>;
}

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room. Nothing was written.
    #[error("the disk of the event log is full: {0}")]
    Full(String),
    /// Another program holds the file, or it may not be written. Nothing was written.
    #[error("the event log cannot be written at the moment: {0}")]
    Locked(String),
    /// A write or a sync failed.
    #[error("the event log cannot be written any more: {0}; see that its disk is healthy and start again")]
    Broken(String),
}

/// Why the log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// SQLite, or the disk under it, refused.
    #[error("event log {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A record is not what was written.
    #[error("event log {}: record {position} is damaged ({what}); restore the file from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The record.
        position: Position,
        /// How it shows.
        what: Cow<'static, str>,
    },
    /// It was written by a later version.
    #[error("event log {}: written by a later version (format {found}, this one knows {known})", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// Ours.
        known: i64,
    },
}
