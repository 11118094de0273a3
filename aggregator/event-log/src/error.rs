//! Why a log cannot be opened, read or written.
use std::borrow::Cow;
use std::path::PathBuf;

use super::Position;

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
    /// This kind of log does not do that. Nothing was changed.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// What a kind of log does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this event log cannot {what}: {instead}")]
pub struct Unsupported {
    /// What was asked for.
    pub what: &'static str,
    /// What to do instead.
    pub instead: &'static str,
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
