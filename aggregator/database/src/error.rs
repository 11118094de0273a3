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
    /// A PostgreSQL cannot be reached, or is not fit for a ledger.
    #[error("{place}: {why}")]
    Unreachable {
        /// Its address.
        place: String,
        /// Why.
        why: Refused,
    },
    /// All connections for readers stayed in use.
    #[error("all {0} connections for readers are in use; try again")]
    Crowded(usize),
    /// Two databases are of different kinds.
    #[error("{0}: a database of another kind")]
    OtherKind(String),
    /// A database's file cannot be moved or removed.
    #[error("{0}")]
    File(std::io::Error),
    /// Another process writes the ledger, and lives.
    #[error("another weir writes this ledger ({0}): stop it first")]
    Owned(Holder),
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

/// Why there is no connection to a PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The server refused, or does not answer.
    #[error("{}", with_remedy(.0))]
    Server(tokio_postgres::Error),
    /// The server is of an older version than 15.
    #[error("the server is PostgreSQL {0}; weir needs 15 or newer")]
    TooOld(i64),
    /// The database stores texts in another encoding.
    #[error(
        "the database's encoding is {0}, and weir needs UTF8: CREATE DATABASE weir ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// The server does not sync what it commits.
    #[error(
        "`fsync` is off, so a crash loses what was counted and reported: ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"
    )]
    Unsynced,
}

/// The process that writes a ledger, as the server knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// What it calls itself.
    pub name: String,
    /// The address that it comes from.
    pub address: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.is_empty() { f.write_str("unknown") } else { write!(f, "{} from {}", self.name, self.address) }
    }
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
            // Nothing was sent, but an earlier commit may have taken effect.
            Error::Unreachable { .. } | Error::Owned(_) | Error::Lost => Failure::Lost,
            Error::Crowded(_) => Failure::Busy,
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

/// What the server or the connection says, with its cause, and what to do where that is known.
fn postgres_message(error: &tokio_postgres::Error) -> String {
    format!("PostgreSQL: {}", with_remedy(error))
}

fn with_remedy(error: &tokio_postgres::Error) -> String {
    let said = match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    };
    match error.code().map_or_else(|| of_connection(&said), |code| of_code(code.code())) {
        Some(remedy) => format!("{said}; {remedy}"),
        None => said,
    }
}

/// What to do about an answer of the server.
fn of_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" | "28000" => "correct the user in the address, or `password`",
        "3D000" => "make it: CREATE DATABASE name OWNER user ENCODING 'UTF8' TEMPLATE template0",
        "42501" => "the user needs CREATE on the database, or to own the schema: CREATE SCHEMA weir AUTHORIZATION user",
        "53100" => "free space on the server's disk",
        "53300" => "raise `max_connections`: weir uses at most 19",
        "25006" => {
            "the server or the database takes no writes: it is a standby, or `default_transaction_read_only` is on"
        }
        _ => return None,
    })
}

/// What to do about a connection that was not made. The library tells these apart by words alone.
fn of_connection(said: &str) -> Option<&'static str> {
    Some(match said {
        _ if said.contains("password missing") => {
            "the server asks for a password: give `password: {env: NAME}` or `{file: PATH}`"
        }
        _ if said.contains("server does not support TLS") => {
            "set `ssl = on` there, or on a closed network end the address in ?sslmode=disable"
        }
        _ if said.contains("UnknownIssuer") || said.contains("BadSignature") => {
            "name the file of the authority that signed the server's certificate in `ca`"
        }
        _ if said.contains("not valid for name") || said.contains("NotValidForName") => {
            "the certificate is for another name than the one in the address"
        }
        _ if said.contains("does not allow writes") => "name the primary: this server takes no writes",
        _ => return None,
    })
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
