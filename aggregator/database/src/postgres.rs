//! PostgreSQL, 15 and newer, under the same surface.
//!
//! # Constraints
//!
//! - All tables stand in one schema, which `search_path` names.
//! - A transaction sees one state of the database (repeatable read), as one of SQLite does.
//! - A session whose connection is lost makes a new one before the next statement outside a transaction. Whether a commit that lost
//!   its connection took effect is for the caller to find out.
//! - Rows of a query are read to the end before the first is handed out, so that other statements can run in between.
//! - PostgreSQL's texts cannot hold U+0000: it is stored as U+2400, the symbol for it.
mod cell;
mod param;
mod sql;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::executor::block_on;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Row, Statement};

pub(crate) use cell::cell;
pub(crate) use param::Param;
use sql::variant;

use crate::{Error, PostgresPlace};

/// The oldest server that is supported: the number of its major version, times 10,000.
const SERVER_MIN: i64 = 150_000;
/// Prepared statements that a session keeps. Beyond them all are prepared anew.
const STATEMENTS_KEPT: usize = 512;
/// How long an owner may do nothing inside a transaction before the server ends its session: a process that hangs there would
/// keep others from taking over.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The one writer.
    Write,
    /// One of the readers.
    Read,
}

/// One session at a server, and how to get another one.
pub(crate) struct Session {
    place: PostgresPlace,
    access: Access,
    /// The number under which this session may write, once it has one.
    epoch: Cell<Option<i64>>,
    state: RefCell<State>,
}

struct State {
    client: Arc<Client>,
    statements: HashMap<String, Statement>,
    transaction: InTransaction,
}

/// Whether a transaction is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InTransaction {
    No,
    Yes,
    /// Yes, and a statement failed: it can only be rolled back.
    Failed,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("schema", &self.place.schema).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn open(place: &PostgresPlace, access: Access) -> Result<Self, Error> {
        let client = Arc::new(connect(place, access)?);
        let state = State { client, statements: HashMap::new(), transaction: InTransaction::No };
        Ok(Session { place: place.clone(), access, epoch: Cell::new(None), state: RefCell::new(state) })
    }

    pub(crate) fn is_in_transaction(&self) -> bool {
        self.state.borrow().transaction != InTransaction::No
    }

    pub(crate) fn begin(&self) -> Result<(), Error> {
        let sql = match self.access {
            Access::Write => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        };
        self.batch(sql)?;
        self.state.borrow_mut().transaction = InTransaction::Yes;
        let Some(own) = self.epoch.get() else { return Ok(()) };
        // The lock holds until the transaction ends: who takes over waits for it, and finds everything or nothing.
        let found = self.query("SELECT epoch FROM ledger_owner FOR UPDATE", &[]);
        if found.as_ref().is_ok_and(|rows| rows.first().is_some_and(|row| row.get::<_, i64>(0) == own)) {
            return Ok(());
        }
        self.rollback();
        found.and(Err(Error::Fenced))
    }

    /// Takes the next number of those who may write. Earlier writers are refused from then on.
    pub(crate) fn take_over(&self) -> Result<(), Error> {
        let taken = self.query("UPDATE ledger_owner SET epoch = epoch + 1 RETURNING epoch", &[])?;
        self.epoch.set(taken.first().map(|row| row.get(0)));
        Ok(())
    }

    /// Runs `work` in a transaction of its own where none is open, so that nobody writes who may not.
    fn owned<T>(&self, work: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        if self.epoch.get().is_none() || self.is_in_transaction() {
            return work();
        }
        self.begin()?;
        let outcome = work();
        match outcome {
            Ok(done) => self.commit().map(|()| done),
            Err(error) => {
                self.rollback();
                Err(error)
            }
        }
    }

    pub(crate) fn commit(&self) -> Result<(), Error> {
        // The server would roll back a transaction in which a statement failed, and report no error.
        if self.state.borrow().transaction == InTransaction::Failed {
            self.rollback();
            return Err(Error::RolledBack);
        }
        let client = self.client()?;
        self.state.borrow_mut().transaction = InTransaction::No;
        block_on(client.batch_execute("COMMIT")).map_err(Error::Postgres)
    }

    pub(crate) fn rollback(&self) {
        let client = Arc::clone(&self.state.borrow().client);
        self.state.borrow_mut().transaction = InTransaction::No;
        // Where this fails the connection is lost, and the transaction with it.
        let _ = block_on(client.batch_execute("ROLLBACK"));
    }

    pub(crate) fn batch(&self, sql: &str) -> Result<(), Error> {
        let client = self.client()?;
        self.noted(block_on(client.batch_execute(&sql::translated(sql))))
    }

    /// Notes that a statement failed.
    fn noted<T>(&self, outcome: Result<T, tokio_postgres::Error>) -> Result<T, Error> {
        let mut state = self.state.borrow_mut();
        if outcome.is_err() && state.transaction == InTransaction::Yes {
            state.transaction = InTransaction::Failed;
        }
        outcome.map_err(Error::Postgres)
    }

    pub(crate) fn execute(&self, sql: &str, params: &[Param]) -> Result<usize, Error> {
        self.owned(|| self.change(sql, params))
    }

    fn change(&self, sql: &str, params: &[Param]) -> Result<usize, Error> {
        let (client, statement) = self.prepared(sql, params)?;
        let changed = self.noted(block_on(client.execute_raw(&statement, params)))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(crate) fn query(&self, sql: &str, params: &[Param]) -> Result<Vec<Row>, Error> {
        // A statement that returns rows of what it changes.
        if sql.trim_start().starts_with("SELECT") {
            self.read(sql, params)
        } else {
            self.owned(|| self.read(sql, params))
        }
    }

    fn read(&self, sql: &str, params: &[Param]) -> Result<Vec<Row>, Error> {
        let (client, statement) = self.prepared(sql, params)?;
        let borrowed: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        self.noted(block_on(client.query(&statement, &borrowed)))
    }

    /// The session's client; a new one if its connection is lost and no transaction is lost with it.
    fn client(&self) -> Result<Arc<Client>, Error> {
        let mut state = self.state.borrow_mut();
        if state.client.is_closed() && state.transaction == InTransaction::No {
            state.statements.clear();
            state.client = Arc::new(connect(&self.place, self.access)?);
        }
        Ok(Arc::clone(&state.client))
    }

    /// The version that [`Session::set_schema_version`] noted; 0 if none.
    pub(crate) fn schema_version(&self) -> Result<i64, Error> {
        let exists = self.query("SELECT to_regclass('schema_version') IS NOT NULL", &[])?;
        if !exists.first().is_some_and(|row| row.get(0)) {
            return Ok(0);
        }
        let found = self.query("SELECT version FROM schema_version", &[])?;
        Ok(found.first().map_or(0, |row| row.get(0)))
    }

    pub(crate) fn set_schema_version(&self, version: i64) -> Result<(), Error> {
        self.batch(&format!(
            "CREATE TABLE IF NOT EXISTS schema_version(version bigint NOT NULL);
             DELETE FROM schema_version;
             INSERT INTO schema_version VALUES ({version})"
        ))
    }

    fn prepared(&self, sql: &str, params: &[Param]) -> Result<(Arc<Client>, Statement), Error> {
        let client = self.client()?;
        let key = variant(sql, params);
        if let Some(known) = self.state.borrow().statements.get(&key) {
            return Ok((client, known.clone()));
        }
        let types: Vec<_> = params.iter().map(Param::declared).collect();
        let (text, expected) = sql::for_params(sql, params);
        if params.len() != expected {
            return Err(Error::Parameters { expected, given: params.len() });
        }
        let statement = self.noted(block_on(client.prepare_typed(&text, &types)))?;
        let mut state = self.state.borrow_mut();
        if state.statements.len() >= STATEMENTS_KEPT {
            state.statements.clear();
        }
        state.statements.insert(key, statement.clone());
        Ok((client, statement))
    }
}

/// Runs the connections of all sessions. Sessions block the threads that use them, so they must not depend on a runtime of those.
fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(running) = RUNTIME.get() {
        return Ok(running);
    }
    let made = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("postgres")
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    Ok(RUNTIME.get_or_init(|| made))
}

fn connect(place: &PostgresPlace, access: Access) -> Result<Client, Error> {
    let runtime = runtime()?;
    let mut config = (*place.config).clone();
    config.application_name("weir").connect_timeout(CONNECT).keepalives_idle(Duration::from_secs(10));
    config.tcp_user_timeout(Duration::from_secs(20));
    let (made, connected) = std::sync::mpsc::sync_channel(1);
    runtime.spawn(async move {
        match config.connect(NoTls).await {
            Ok((client, connection)) => {
                let _ = made.send(Ok(client));
                // The client's next call reports why a connection ended.
                let _ = connection.await;
            }
            Err(error) => {
                let _ = made.send(Err(error));
            }
        }
    });
    let client = connected.recv().map_err(|_| Error::Lost)?.map_err(Error::Postgres)?;
    prepare_session(&client, place, access)?;
    Ok(client)
}

fn prepare_session(client: &Client, place: &PostgresPlace, access: Access) -> Result<(), Error> {
    let version = block_on(client.query_one("SELECT current_setting('server_version_num')::int8", &[]));
    let version: i64 = version.map_err(Error::Postgres)?.get(0);
    if version < SERVER_MIN {
        return Err(Error::ServerTooOld(version / 10_000));
    }
    let schema = quoted(&place.schema);
    let limit = IDLE_IN_TRANSACTION.as_millis();
    let mut settings = format!("SET search_path TO {schema}; SET idle_in_transaction_session_timeout = {limit};");
    if access == Access::Read {
        settings.push_str("SET default_transaction_read_only = on;");
    } else {
        // Plans of the few statements that count do not depend on their parameters.
        settings.push_str("SET plan_cache_mode = force_generic_plan; SET jit = off;");
        // Who may use a schema may not always make one.
        let known = block_on(client.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema]));
        if !known.map_err(Error::Postgres)?.get::<_, bool>(0) {
            settings.insert_str(0, &format!("CREATE SCHEMA {schema};"));
        }
    }
    block_on(client.batch_execute(&settings)).map_err(Error::Postgres)
}

/// A name as SQL quotes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
