//! Why a log cannot be opened, read or written.
use std::borrow::Cow;
use std::path::PathBuf;

use super::Position;

/// Why an append failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full, or the log has reached its bound. Nothing was written.
    #[error("the disk of the event log is full: {0}")]
    Full(String),
    /// Another program has locked the file, or it is read-only. Nothing was written.
    #[error("the event log cannot be written at the moment: {0}")]
    Locked(String),
    /// A write or a sync failed.
    #[error("the event log cannot be written any more: {0}; see that its disk is healthy and start again")]
    Broken(String),
    /// This kind of log lacks the capability. Nothing was changed.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// A capability that a kind of log lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this event log cannot {what}: {instead}")]
pub struct Unsupported {
    /// The capability.
    pub what: &'static str,
    /// The alternative for the operator.
    pub instead: &'static str,
}

/// Why the log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// SQLite or the disk reports an error.
    #[error("event log {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// A record differs from what was written.
    #[error("event log {}: record {position} is damaged ({what}); restore the file from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The record.
        position: Position,
        /// The sign of the damage.
        what: Cow<'static, str>,
    },
    /// A later version of weir wrote the file.
    #[error("event log {}: written by a later version (format {found}, this one knows {known})", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// The latest format that this version reads.
        known: i64,
    },
}
