//! Why a log cannot be opened, read or written.
use std::borrow::Cow;
use std::path::PathBuf;

use super::Position;
use weir_settings::kafka::KafkaSettingsError;
use weir_settings::redis::RedisSettingsError;

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
    /// The log lacks records that were acknowledged.
    #[error("{0}")]
    Lost(String),
    /// Another process writes to the log now. Whether it took this record is unknown.
    #[error("{0}")]
    TakenOver(String),
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
    #[error("event log {log}: record {position} is damaged ({what}); restore it from a backup")]
    Damaged {
        /// The file, or the address and name.
        log: String,
        /// The record.
        position: Position,
        /// The sign of the damage.
        what: Cow<'static, str>,
    },
    /// A Redis that holds the log cannot be used.
    #[error("event log {log}: {source}")]
    Redis {
        /// Its address and name.
        log: String,
        /// The problem.
        source: RedisProblem,
    },
    /// A Kafka that holds the log cannot be used.
    #[error("event log {log}: {source}")]
    Kafka {
        /// Its address.
        log: String,
        /// The problem.
        source: KafkaProblem,
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

/// Why a Redis cannot serve as a log.
#[derive(Debug, thiserror::Error)]
pub enum RedisProblem {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] RedisSettingsError),
    /// It cannot be reached, or answers with an error.
    #[error("{}", .0)]
    Failed(String),
    /// It still loads its data after the longest wait.
    #[error("it still loads its data after {0} s; look at its log")]
    Loading(u64),
    /// It lacks commands that the log needs.
    #[error("its version is {found}; the event log needs Redis {needed} or newer")]
    TooOld {
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// It is set in a way that loses acknowledged events.
    #[error("{0}")]
    NotDurable(String),
    /// The log is not there, or is another one.
    #[error("the log is not the one that was written here: {0}; restore it from a backup (`weir restore`)")]
    Lost(String),
    /// A later version of weir wrote it.
    #[error("written by a later version (format {0}, this one knows 1)")]
    Version(String),
    /// Another weir writes to it.
    #[error("{0} writes to it; stop that one, or give this one a log of its own (`log.name`)")]
    InUse(String),
    /// Another weir has taken it over.
    #[error("another weir has taken it over, and this one writes nothing more")]
    Fenced,
}

/// Why a Kafka cannot serve as a log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KafkaProblem {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] std::sync::Arc<KafkaSettingsError>),
    /// It cannot be reached, or answers with an error.
    #[error("{0}")]
    Failed(String),
    /// Its topic is set in a way that loses acknowledged events, or drops them too early.
    #[error("{0}")]
    Unfit(String),
    /// The log is not there, or is another one.
    #[error(
        "the log is not the one that was written here: {0}; restore it from a backup into a new topic (`weir restore`)"
    )]
    Lost(String),
    /// An entry differs from what was written, or weir did not write it.
    #[error(
        "the entry at offset {offset} is damaged ({what}); restore the log from a backup into a new topic (`weir restore`)"
    )]
    Damaged {
        /// Its offset.
        offset: i64,
        /// The sign of the damage.
        what: String,
    },
    /// A later version of weir wrote it.
    #[error("written by a later version (format {0}, this one knows 1)")]
    Version(u8),
    /// Another weir writes to it.
    #[error("{0} writes to it; stop that one, or give this one a topic of its own")]
    InUse(String),
    /// Another weir has taken it over.
    #[error("another weir has taken it over, and this one writes nothing more")]
    Fenced,
}
