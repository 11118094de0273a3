use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use rusqlite::OpenFlags;

use crate::{Error, Params, Row, Statement};

/// How long a reader waits for a writer. In SQLite's WAL mode readers hardly ever wait.
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 64;

/// A connection to the database.
#[derive(Debug)]
pub struct Connection(Engine);

#[derive(Debug)]
enum Engine {
    Sqlite(rusqlite::Connection),
}

impl Connection {
    /// Opens the SQLite database at `path` for writing, or makes it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let db = rusqlite::Connection::open(path)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(Connection(Engine::Sqlite(db)))
    }

    /// Opens the SQLite database at `path` for reading.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let db = rusqlite::Connection::open_with_flags(path, flags)?;
        db.busy_timeout(BUSY)?;
        Ok(Connection(Engine::Sqlite(db)))
    }

    /// Opens a SQLite database that nothing keeps.
    pub fn open_in_memory() -> Result<Self, Error> {
        Ok(Connection(Engine::Sqlite(rusqlite::Connection::open_in_memory()?)))
    }

    /// Prepares a statement that is used a few times at once.
    pub fn prepare(&self, sql: &str) -> Result<Statement<'_>, Error> {
        match &self.0 {
            Engine::Sqlite(db) => Ok(Statement::sqlite(db.prepare(sql)?)),
        }
    }

    /// Prepares a statement and keeps it for later.
    pub fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>, Error> {
        match &self.0 {
            Engine::Sqlite(db) => Ok(Statement::sqlite_cached(db.prepare_cached(sql)?)),
        }
    }

    /// Runs a statement, and returns how many rows it changed.
    pub fn execute<P: Params>(&self, sql: &str, params: P) -> Result<usize, Error> {
        self.prepare(sql)?.execute(params)
    }

    /// Runs statements without parameters.
    pub fn execute_batch(&self, sql: &str) -> Result<(), Error> {
        match &self.0 {
            Engine::Sqlite(db) => Ok(db.execute_batch(sql)?),
        }
    }

    /// Runs a query, and hands its first row to `read`. [`Error::NoRows`] without one.
    pub fn query_row<T, P, F>(&self, sql: &str, params: P, read: F) -> Result<T, Error>
    where
        P: Params,
        F: FnOnce(&Row<'_>) -> Result<T, Error>,
    {
        self.prepare(sql)?.query_row(params, read)
    }

    /// Begins a transaction.
    pub fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        self.unchecked_transaction()
    }

    /// Begins a transaction that writes: no other writer comes in between.
    pub fn write_transaction(&mut self) -> Result<Transaction<'_>, Error> {
        self.begin("BEGIN IMMEDIATE")
    }

    /// As [`Connection::transaction`], where the caller knows that none is open.
    pub fn unchecked_transaction(&self) -> Result<Transaction<'_>, Error> {
        self.begin("BEGIN DEFERRED")
    }

    fn begin(&self, sql: &str) -> Result<Transaction<'_>, Error> {
        self.execute_batch(sql)?;
        Ok(Transaction { db: self })
    }

    fn is_in_transaction(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(db) => !db.is_autocommit(),
        }
    }

    /// Configures the one connection that writes a SQLite ledger: a write-ahead log that the caller moves into the database
    /// ([`Connection::checkpoint`]), and a page cache of `cache_kib`.
    pub fn configure_writer(&self, cache_kib: i64, journal_max_bytes: i64) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.0;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "cache_size", -cache_kib)?;
        db.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(db.pragma_update(None, "journal_size_limit", journal_max_bytes)?)
    }

    /// Whether commits are synced before they return.
    pub fn sync_commits(&self, synced: bool) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.0;
        Ok(db.pragma_update(None, "synchronous", if synced { "full" } else { "normal" })?)
    }

    /// From now on, what is deleted is overwritten.
    pub fn overwrite_deleted(&self) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.0;
        Ok(db.pragma_update(None, "secure_delete", true)?)
    }

    /// Moves what it can of the write-ahead log into the database, and syncs it.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    /// Moves the whole write-ahead log into the database, syncs it, and empties the log.
    pub fn checkpoint_all(&self) -> Result<(), Error> {
        self.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// The version of the schema; 0 where there is none yet.
    pub fn schema_version(&self) -> Result<i64, Error> {
        let Engine::Sqlite(db) = &self.0;
        Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
    }

    /// Notes the version of the schema.
    pub fn set_schema_version(&self, version: i64) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.0;
        Ok(db.pragma_update(None, "user_version", version)?)
    }
}

/// A transaction. It is rolled back when it is dropped before it is committed.
#[derive(Debug)]
pub struct Transaction<'c> {
    db: &'c Connection,
}

impl Transaction<'_> {
    /// Makes the changes of the transaction last.
    pub fn commit(self) -> Result<(), Error> {
        // A commit that fails leaves the transaction open; dropping it rolls it back.
        self.db.execute_batch("COMMIT")
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.db.is_in_transaction() {
            // SQLite rolls back by itself where this fails: the connection is beyond use.
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}
