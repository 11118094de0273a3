//! Where a log is, whichever kind it is of.
use std::path::PathBuf;
use std::sync::Arc;

use weir_clock::Clock;

use crate::kafka::{KafkaLog, KafkaLogReader, KafkaPlace};
use crate::redact::Users;
use crate::redis::{RedisLog, RedisLogReader, RedisPlace};
use crate::sqlite::{LogOptions, SqliteLog, SqliteLogReader};
use crate::{Create, EventLog, LogError, LogReader, Position, Taking};

/// Where a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// A file.
    Sqlite(PathBuf),
    /// A Redis.
    Redis(RedisPlace),
    /// A Kafka.
    Kafka(KafkaPlace),
}

/// A log's name and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFacts {
    /// Its name.
    pub id: String,
    /// The position right behind the record that the first kept one follows.
    pub first: Position,
    /// The last position; before the first one in an empty log.
    pub last: Position,
}

/// Both ends of an open log.
pub struct OpenLog {
    /// Its name: 32 random hex digits, drawn when it was made. A ledger belongs to one log.
    pub id: String,
    /// The writing end.
    pub log: Box<dyn EventLog>,
    /// A reading end.
    pub reader: Box<dyn LogReader>,
}

impl std::fmt::Debug for OpenLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenLog").field("id", &self.id).finish_non_exhaustive()
    }
}

/// How a log is opened for writing.
#[derive(Debug)]
pub struct Opening {
    /// Sizes of an embedded log.
    pub options: LogOptions,
    /// The largest size of an embedded log, in bytes.
    pub max_bytes: Option<u64>,
    /// Who writes to a shared log.
    pub taking: Taking,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl LogPlace {
    /// Opens the log for writing. An embedded one is made if it is not there, a shared one as [`Taking::create`] says.
    pub fn open(&self, opening: Opening) -> Result<OpenLog, LogError> {
        match self {
            LogPlace::Sqlite(path) => {
                let log = SqliteLog::open_with(path, opening.options)?;
                let id = log.id().map_err(|source| LogError::Sqlite { path: path.clone(), source })?;
                if let Some(bytes) = opening.max_bytes {
                    log.bound(bytes)?;
                }
                Ok(OpenLog { id, log: Box::new(log), reader: self.reader()? })
            }
            LogPlace::Redis(place) => {
                let log = RedisLog::open(place, opening.taking, opening.clock)?;
                Ok(OpenLog { id: log.id().to_owned(), log: Box::new(log), reader: self.reader()? })
            }
            LogPlace::Kafka(place) => {
                let log = KafkaLog::open(place, opening.taking, opening.clock)?;
                Ok(OpenLog { id: log.id().to_owned(), log: Box::new(log), reader: self.reader()? })
            }
        }
    }

    /// Opens the log for reading.
    pub fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(match self {
            LogPlace::Sqlite(path) => Box::new(SqliteLogReader::open(path)?),
            LogPlace::Redis(place) => Box::new(RedisLogReader::open(place)?),
            LogPlace::Kafka(place) => Box::new(KafkaLogReader::open(place)?),
        })
    }

    /// The log's name and ends; None if there is no log.
    pub fn facts(&self) -> Result<Option<LogFacts>, LogError> {
        match self {
            LogPlace::Sqlite(path) if !path.exists() => Ok(None),
            LogPlace::Sqlite(path) => {
                let found = SqliteLogReader::open(path)?.facts()?;
                Ok(found.map(|(id, first, last)| LogFacts { id, first, last }))
            }
            LogPlace::Redis(place) => {
                let Some(mut reader) = RedisLogReader::find(place)? else { return Ok(None) };
                let (first, last) = reader.ends()?;
                Ok(Some(LogFacts { id: reader.id().to_owned(), first, last }))
            }
            LogPlace::Kafka(place) => {
                let Some(mut reader) = KafkaLogReader::find(place)? else { return Ok(None) };
                let (first, last) = reader.ends()?;
                Ok(Some(LogFacts { id: reader.id().to_owned(), first, last }))
            }
        }
    }

    /// The users that a shared log remembers to forget, and up to which record it does so. An embedded one overwrites names, and remembers
    /// nobody.
    pub fn forgotten(&self) -> Result<(Users, Position), LogError> {
        match self {
            LogPlace::Sqlite(_) => Ok((Users::default(), 0)),
            LogPlace::Redis(place) => RedisLogReader::open(place)?.forgotten(),
            LogPlace::Kafka(place) => KafkaLogReader::open(place)?.forgotten(),
        }
    }

    /// Checks a shared log's server as a start does, and changes nothing.
    pub fn check(&self) -> Result<(), LogError> {
        match self {
            LogPlace::Sqlite(_) => Ok(()),
            LogPlace::Redis(place) => place.check(),
            LogPlace::Kafka(place) => place.check(),
        }
    }

    /// The path or address, as errors say it.
    pub fn label(&self) -> String {
        match self {
            LogPlace::Sqlite(path) => path.display().to_string(),
            LogPlace::Redis(place) => place.label(),
            LogPlace::Kafka(place) => place.label(),
        }
    }
}

impl Opening {
    /// An embedded log with its defaults.
    pub fn embedded(clock: Arc<dyn Clock>) -> Self {
        let taking = Taking { owner: String::new(), holder: String::new(), create: Create::IfMissing };
        Opening { options: LogOptions::default(), max_bytes: None, taking, clock }
    }
}
