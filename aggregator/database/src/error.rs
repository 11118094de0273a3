use std::error::Error as _;

use rusqlite::ErrorCode;
use rusqlite::types::FromSqlError;

/// Why the database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite or the disk under it failed.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// PostgreSQL refused a statement, or its connection failed.
    #[error("{}", postgres_message(.0))]
    Postgres(tokio_postgres::Error),
    /// The server of a PostgreSQL is of an older version than 15.
    #[error("the server is PostgreSQL {0}; weir needs 15 or newer")]
    ServerTooOld(i64),
    /// Another process has opened the ledger for writing.
    #[error("another process has taken over this ledger; this one writes nothing more")]
    Fenced,
    /// The connection to the server is lost.
    #[error("the connection to the server is lost")]
    Lost,
    /// A transaction is committed in which a statement failed.
    #[error("a statement of the transaction failed, so it is rolled back")]
    RolledBack,
    /// A value that the database does not store: a floating-point number.
    #[error("a value is neither integer, text nor bytes")]
    Unstorable,
    /// The thread of connections cannot be started.
    #[error("the thread of connections cannot be started: {0}")]
    Runtime(std::io::Error),
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
    /// The connection to the server is lost: a transaction that was being committed may have taken effect.
    Lost,
    /// Anything else.
    Other,
}

impl Error {
    /// What the error means to the caller.
    pub fn failure(&self) -> Failure {
        match self {
            Error::Sqlite(error) => of_sqlite(error),
            Error::Postgres(error) => of_postgres(error),
            Error::Lost => Failure::Lost,
            _ => Failure::Other,
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

/// By the classes of <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn of_postgres(error: &tokio_postgres::Error) -> Failure {
    let Some(code) = error.code() else {
        return if error.is_closed() || error.source().is_some() { Failure::Lost } else { Failure::Other };
    };
    match code.code() {
        "40001" | "40P01" | "55P03" => Failure::Busy,
        "53100" => Failure::Full,
        // The server shuts down or starts, or an administrator or a time limit ended the session.
        "25P03" | "57P01" | "57P02" | "57P03" | "57P05" => Failure::Lost,
        "XX001" | "XX002" => Failure::Damaged,
        code if code.starts_with("08") => Failure::Lost,
        code if code.starts_with("23") => Failure::Constraint,
        _ => Failure::Other,
    }
}

/// What the server or the connection says, with its cause.
fn postgres_message(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("PostgreSQL: {} ({})", said.message(), said.code().code()),
        (None, Some(cause)) => format!("PostgreSQL: {error}: {cause}"),
        (None, None) => format!("PostgreSQL: {error}"),
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
