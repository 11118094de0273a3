use rusqlite::ErrorCode;
use rusqlite::types::FromSqlError;

/// Why the database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite or the disk under it failed.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// A query that must have a row has none.
    #[error("the query returned no row")]
    NoRows,
    /// A value is not what the caller asked for.
    #[error("column {column}: {problem}")]
    Column {
        /// The column's index, from 0.
        column: usize,
        /// What is wrong with the value.
        problem: FromSqlError,
    },
    /// A statement was given another number of parameters than it has.
    #[error("a statement with {expected} parameters was given {given}")]
    Parameters {
        /// How many the statement has.
        expected: usize,
        /// How many it was given.
        given: usize,
    },
}

/// What an [`Error`] means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another writer was in the way. The same transaction may succeed later.
    Busy,
    /// A constraint of the schema refused the change.
    Constraint,
    /// There is no room for what was to be written.
    Full,
    /// A sync failed: the state on disk is unknown.
    Unsynced,
    /// The stored data is damaged, or is no database.
    Damaged,
    /// Anything else.
    Other,
}

impl Error {
    /// What the error means to the caller.
    pub fn failure(&self) -> Failure {
        match self {
            Error::Sqlite(error) => of_sqlite(error),
            Error::NoRows | Error::Column { .. } | Error::Parameters { .. } => Failure::Other,
        }
    }
}

fn of_sqlite(error: &rusqlite::Error) -> Failure {
    let rusqlite::Error::SqliteFailure(error, _) = error else { return Failure::Other };
    if error.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC {
        return Failure::Unsynced;
    }
    match error.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Failure::Busy,
        ErrorCode::ConstraintViolation => Failure::Constraint,
        ErrorCode::DiskFull => Failure::Full,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Failure::Damaged,
        _ => Failure::Other,
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::QueryReturnedNoRows => Error::NoRows,
            error => Error::Sqlite(error),
        }
    }
}

impl From<FromSqlError> for Error {
    fn from(error: FromSqlError) -> Self {
        Error::Sqlite(error.into())
    }
}

/// Makes a missing row a value.
pub trait OptionalExtension<T> {
    /// None for [`Error::NoRows`].
    fn optional(self) -> Result<Option<T>, Error>;
}

impl<T> OptionalExtension<T> for Result<T, Error> {
    fn optional(self) -> Result<Option<T>, Error> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Error::NoRows) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
