use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use rusqlite::OpenFlags;

use crate::postgres::{Leased, Right, end_stuck_holder, holder_of};
use crate::{Error, Holder, OptionalExtension, Params, Place, Row, Statement};

/// How long a reader waits for a writer. In SQLite's WAL mode readers hardly ever wait.
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 64;

/// A connection to the database.
#[derive(Debug)]
pub struct Connection {
    engine: Engine,
    /// What the simulator makes of a connection to SQLite.
    #[cfg(feature = "simulated")]
    session: Option<crate::simulated::Session>,
}

#[derive(Debug)]
pub(crate) enum Engine {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Leased>),
}

impl Connection {
    /// Opens the database at `place` for writing, or makes it.
    pub fn open(place: impl Into<Place>) -> Result<Self, Error> {
        match place.into() {
            Place::Sqlite(path) => {
                let db = rusqlite::Connection::open(path)?;
                db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
                #[cfg(feature = "simulated")]
                return Ok(Connection { engine: Engine::Sqlite(db), session: crate::simulated::Session::open()? });
                #[cfg(not(feature = "simulated"))]
                Ok(Self::over(Engine::Sqlite(db)))
            }
            Place::Postgres(place) => Ok(Self::over(Engine::Postgres(Box::new(place.writer()?)))),
        }
    }

    /// Opens the database at `place` for reading.
    pub fn open_read_only(place: impl Into<Place>) -> Result<Self, Error> {
        match place.into() {
            Place::Sqlite(path) => Self::open_file_read_only(&path),
            Place::Postgres(place) => Ok(Self::over(Engine::Postgres(Box::new(place.reader()?)))),
        }
    }

    fn open_file_read_only(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let db = rusqlite::Connection::open_with_flags(path, flags)?;
        db.busy_timeout(BUSY)?;
        Ok(Self::over(Engine::Sqlite(db)))
    }

    /// Opens a SQLite database that nothing keeps.
    pub fn open_in_memory() -> Result<Self, Error> {
        Ok(Self::over(Engine::Sqlite(rusqlite::Connection::open_in_memory()?)))
    }

    fn over(engine: Engine) -> Self {
        Connection {
            engine,
            #[cfg(feature = "simulated")]
            session: None,
        }
    }

    /// Asks the server of the simulator, outside a transaction.
    #[cfg(feature = "simulated")]
    fn reach(&self) -> Result<(), Error> {
        match &self.session {
            Some(session) if !self.is_in_transaction() => session.reach(),
            _ => Ok(()),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Prepares a statement that is used a few times at once.
    pub fn prepare(&self, sql: &str) -> Result<Statement<'_>, Error> {
        #[cfg(feature = "simulated")]
        self.reach()?;
        match &self.engine {
            Engine::Sqlite(db) => Ok(Statement::sqlite(db.prepare(sql)?)),
            Engine::Postgres(session) => Ok(Statement::postgres(session, sql)),
        }
    }

    /// Prepares a statement and keeps it for later.
    pub fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>, Error> {
        #[cfg(feature = "simulated")]
        self.reach()?;
        match &self.engine {
            Engine::Sqlite(db) => Ok(Statement::sqlite_cached(db.prepare_cached(sql)?)),
            Engine::Postgres(session) => Ok(Statement::postgres(session, sql)),
        }
    }

    /// Runs a statement, and returns how many rows it changed.
    pub fn execute<P: Params>(&self, sql: &str, params: P) -> Result<usize, Error> {
        #[cfg(feature = "simulated")]
        if self.session.as_ref().is_some_and(crate::simulated::Session::owns) && !self.is_in_transaction() {
            let tx = self.unchecked_transaction()?;
            let changed = tx.prepare(sql)?.execute(params)?;
            return tx.commit().map(|()| changed);
        }
        self.prepare(sql)?.execute(params)
    }

    /// Runs statements without parameters.
    pub fn execute_batch(&self, sql: &str) -> Result<(), Error> {
        #[cfg(feature = "simulated")]
        self.reach()?;
        match &self.engine {
            Engine::Sqlite(db) => Ok(db.execute_batch(sql)?),
            Engine::Postgres(session) => session.batch(sql),
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

    /// Begins a transaction that writes: in SQLite, no other writer comes in between.
    pub fn write_transaction(&mut self) -> Result<Transaction<'_>, Error> {
        self.begin("BEGIN IMMEDIATE")
    }

    /// As [`Connection::transaction`], where the caller knows that none is open.
    pub fn unchecked_transaction(&self) -> Result<Transaction<'_>, Error> {
        self.begin("BEGIN DEFERRED")
    }

    fn begin(&self, sqlite: &str) -> Result<Transaction<'_>, Error> {
        #[cfg(feature = "simulated")]
        self.reach()?;
        match &self.engine {
            Engine::Sqlite(db) => db.execute_batch(sqlite)?,
            Engine::Postgres(session) => session.begin()?,
        }
        let transaction = Transaction { db: self };
        #[cfg(feature = "simulated")]
        if let (Engine::Sqlite(db), Some(session)) = (&self.engine, &self.session) {
            session.check(db)?;
        }
        Ok(transaction)
    }

    fn is_in_transaction(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(db) => !db.is_autocommit(),
            Engine::Postgres(session) => session.is_in_transaction(),
        }
    }

    /// Whether the database is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Takes the right to write, before there is a table that [`Connection::take_over`] needs.
    pub fn take_right(&self) -> Result<(), Error> {
        #[cfg(feature = "simulated")]
        if let Some(session) = &self.session {
            return session.take_right();
        }
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(session) => session.take_right(),
        }
    }

    /// As [`Connection::take_right`]; fails with [`Error::Owned`] at once if another session has it.
    pub fn take_right_now(&self) -> Result<(), Error> {
        #[cfg(feature = "simulated")]
        if let Some(session) = &self.session {
            return session.take_right();
        }
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(session) => session.take_right_now(),
        }
    }

    /// Who has the right to write `schema` of this PostgreSQL database; None if nobody has, and for SQLite.
    pub fn writer_of(&self, schema: &str) -> Result<Option<Holder>, Error> {
        let Engine::Postgres(_) = &self.engine else { return Ok(None) };
        let holder = |row: &Row<'_>| Ok(Holder { name: row.get(0)?, address: row.get(1)? });
        self.query_row(&holder_of("?1"), [schema], holder).optional()
    }

    /// Ends the session that may write `schema` of this PostgreSQL database if its client was paused within a statement that waits for it.
    pub fn end_stuck_writer(&self, schema: &str) -> Result<(), Error> {
        let Engine::Postgres(_) = &self.engine else { return Ok(()) };
        self.query_row(&end_stuck_holder("?1"), [schema], |_| Ok(()))
    }

    /// Makes this connection the only one that may write: waits some seconds for an earlier one that ends, fails with [`Error::Owned`] if it
    /// lives, and makes its transactions fail with [`Error::Fenced`] if it was paused or cut off. A SQLite ledger has one writer by the lock
    /// of its folder.
    pub fn take_over(&self) -> Result<(), Error> {
        #[cfg(feature = "simulated")]
        if let (Engine::Sqlite(db), Some(session)) = (&self.engine, &self.session) {
            return session.take_over(db);
        }
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(session) => session.take_over(),
        }
    }

    /// The right of this connection to write, which further connections of this process can obey. Without [`Connection::take_over`] there
    /// is nothing to obey.
    pub fn fence(&self) -> Fence {
        match &self.engine {
            Engine::Sqlite(_) => Fence::default(),
            Engine::Postgres(session) => Fence(session.right()),
        }
    }

    /// Lets this connection write only for as long as the owner of `fence` may: its transactions fail with [`Error::Fenced`] once another
    /// process has taken over.
    pub fn obey(&self, fence: &Fence) {
        if let (Engine::Postgres(session), Some(right)) = (&self.engine, &fence.0) {
            session.obey(right.clone());
        }
    }

    /// Configures a connection to a small SQLite database whose every change must last: commits are synced, references checked, and
    /// SQLite moves its write-ahead log into the database by itself. PostgreSQL does so by itself.
    pub fn configure_synced(&self) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.engine else { return Ok(()) };
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        Ok(db.pragma_update(None, "foreign_keys", true)?)
    }

    /// Configures the one connection that writes a SQLite ledger: a write-ahead log that the caller moves into the database
    /// ([`Connection::checkpoint`]), and a page cache of `cache_kib`. PostgreSQL's server is configured by its owner.
    pub fn configure_writer(&self, cache_kib: i64, journal_max_bytes: i64) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.engine else { return Ok(()) };
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "cache_size", -cache_kib)?;
        db.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(db.pragma_update(None, "journal_size_limit", journal_max_bytes)?)
    }

    /// Whether commits are synced before they return. PostgreSQL syncs all of them.
    pub fn sync_commits(&self, synced: bool) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.engine else { return Ok(()) };
        Ok(db.pragma_update(None, "synchronous", if synced { "full" } else { "normal" })?)
    }

    /// From now on, what is deleted is overwritten. PostgreSQL does so when it vacuums.
    pub fn overwrite_deleted(&self) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.engine else { return Ok(()) };
        Ok(db.pragma_update(None, "secure_delete", true)?)
    }

    /// Moves what it can of SQLite's write-ahead log into the database, and syncs it.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.engine else { return Ok(()) };
        Ok(db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
    }

    /// Moves the whole of SQLite's write-ahead log into the database, syncs it, and empties the log.
    pub fn checkpoint_all(&self) -> Result<(), Error> {
        let Engine::Sqlite(db) = &self.engine else { return Ok(()) };
        Ok(db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    /// The version of the schema; 0 where there is none yet.
    pub fn schema_version(&self) -> Result<i64, Error> {
        match &self.engine {
            Engine::Sqlite(db) => Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?),
            Engine::Postgres(session) => session.schema_version(),
        }
    }

    /// Notes the version of the schema.
    pub fn set_schema_version(&self, version: i64) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(db) => Ok(db.pragma_update(None, "user_version", version)?),
            Engine::Postgres(session) => session.set_schema_version(version),
        }
    }

    /// Tells a schema of PostgreSQL from its copies: the server, its history (a standby that took over begins a new one), and the numbers
    /// that the server gave to database and schema. Empty for SQLite.
    pub fn place_in_server(&self) -> Result<String, Error> {
        let Engine::Postgres(_) = &self.engine else { return Ok(String::new()) };
        let sql = "SELECT 'server ' || s.system_identifier || ', history ' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
                     || ', database ' || d.oid || ', schema ' || n.oid
                   FROM pg_control_system() s, pg_database d, pg_namespace n
                   WHERE d.datname = current_database() AND n.nspname = current_schema()";
        self.query_row(sql, [], |row| row.get(0))
    }

    /// The tables whose names are `prefix` and a number.
    pub fn numbered_tables(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let sql = match &self.engine {
            Engine::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ?1 || '[0-9]*'",
            Engine::Postgres(_) => {
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename ~ ('^' || ?1 || '[0-9]+$')"
            }
        };
        self.prepare_cached(sql)?.query_map([prefix], |row| row.get(0))?.collect()
    }
}

/// What connections of one process obey that write for as long as one of them may; see [`Connection::fence`]. The default lets everything
/// pass: a SQLite database is locked by its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence(Option<Right>);

/// A transaction. It is rolled back when it is dropped before it is committed.
#[derive(Debug)]
pub struct Transaction<'c> {
    db: &'c Connection,
}

impl Transaction<'_> {
    /// Checks references between rows when the transaction is committed: until then rows come in any order.
    pub fn defer_references(&self) -> Result<(), Error> {
        self.db.execute_batch(match &self.db.engine {
            Engine::Sqlite(_) => "PRAGMA defer_foreign_keys = ON",
            Engine::Postgres(_) => "SET CONSTRAINTS ALL DEFERRED",
        })
    }

    /// Makes the changes of the transaction last.
    pub fn commit(self) -> Result<(), Error> {
        #[cfg(feature = "simulated")]
        if let (Engine::Sqlite(db), Some(session)) = (&self.db.engine, &self.db.session) {
            return session.commit(db);
        }
        // A commit that fails leaves SQLite's transaction open; dropping it rolls it back.
        match &self.db.engine {
            Engine::Sqlite(db) => Ok(db.execute_batch("COMMIT")?),
            Engine::Postgres(session) => session.commit(),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.db.is_in_transaction() {
            return;
        }
        match &self.db.engine {
            Engine::Sqlite(db) => {
                // SQLite rolls back by itself where this fails: the connection is beyond use.
                let _ = db.execute_batch("ROLLBACK");
            }
            Engine::Postgres(session) => session.rollback(),
        }
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}
