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
mod connect;
mod param;
mod place;
mod pool;
mod server;
mod sql;
mod tls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::{Client, Row, Statement};

pub(crate) use cell::cell;
pub use connect::quoted;
use connect::{IDLE_OWNER_MS, connect};
pub(crate) use param::{Column, Param, shown};
pub use place::PostgresPlace;
pub(crate) use pool::Leased;
pub use server::{Reach, Server};
use sql::variant;

use crate::{Error, Holder, right};

/// Prepared statements that a session keeps. Beyond them all are prepared anew.
const STATEMENTS_KEPT: usize = 512;
/// How long to wait for the right to write while another process has it: until the session of one that is paused or gone has ended.
const OWNER_WAIT_MS: u64 = IDLE_OWNER_MS + 2_000;
/// How often to ask for it.
const OWNER_ASK_MS: u64 = 200;

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
    server: Arc<dyn Server>,
    schema: Arc<str>,
    access: Access,
    /// The number under which this session may write, once it has one.
    epoch: Cell<Option<i64>>,
    /// Under which right of another session of this process this one writes.
    obeyed: RefCell<Option<Right>>,
    state: RefCell<State>,
}

/// The right to write that a session has, until another process takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    /// Where the owner's row is.
    schema: Arc<str>,
    /// What stands in it for as long as the right is good.
    epoch: i64,
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
        f.debug_struct("Session").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn open(server: &Arc<dyn Server>, schema: &Arc<str>, access: Access) -> Result<Self, Error> {
        let client = Arc::new(connect(&**server, schema, access)?);
        let state = State { client, statements: HashMap::new(), transaction: InTransaction::No };
        let (server, schema) = (Arc::clone(server), Arc::clone(schema));
        let (epoch, obeyed) = (Cell::new(None), RefCell::new(None));
        Ok(Session { server, schema, access, epoch, obeyed, state: RefCell::new(state) })
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) fn is_connected(&self) -> bool {
        !self.state.borrow().client.is_closed()
    }

    pub(crate) fn end_transaction(&self) {
        if self.is_in_transaction() {
            self.rollback();
        }
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
        let Some(Right { schema, epoch }) = self.right() else { return Ok(()) };
        // The lock holds until the transaction ends: who takes over waits for it, and finds everything or nothing. Sessions of one owner
        // share it, so that none of them waits for another.
        let found = self.query(&format!("SELECT epoch FROM {}.ledger_owner FOR SHARE", quoted(&schema)), &[]);
        let checked = found.and_then(|rows| right::check(rows.first().map(|row| row.get(0)), epoch));
        if checked.is_err() {
            self.rollback();
        }
        checked
    }

    /// The right under which this session writes: its own, or the one that it obeys.
    pub(crate) fn right(&self) -> Option<Right> {
        let own = self.epoch.get().map(|epoch| Right { schema: Arc::clone(&self.schema), epoch });
        own.or_else(|| self.obeyed.borrow().clone())
    }

    /// Writes from now on only for as long as `right` is good.
    pub(crate) fn obey(&self, right: Right) {
        self.obeyed.replace(Some(right));
    }

    /// Takes the right to write, which ends with the session. Waits while another session has it, but not for ever.
    pub(crate) fn take_right(&self) -> Result<(), Error> {
        let client = self.client()?;
        for _ in 0..OWNER_WAIT_MS / OWNER_ASK_MS {
            if try_own(&client)? {
                break;
            }
            // Who may not end it, as another role of the server, waits until it ends by itself.
            let _ = block_on(client.query_one(&end_stuck_holder("current_schema()"), &[]));
            std::thread::sleep(Duration::from_millis(OWNER_ASK_MS));
        }
        own(&client)
    }

    /// As [`Session::take_right`], without waiting.
    pub(crate) fn take_right_now(&self) -> Result<(), Error> {
        let client = self.client()?;
        own(&client)
    }

    /// Takes the right to write, and the next number of those who had it: earlier ones are refused from then on.
    pub(crate) fn take_over(&self) -> Result<(), Error> {
        self.take_right()?;
        self.batch(right::OWNER)?;
        let taken = self.query(right::TAKE_OVER, &[])?;
        self.epoch.set(taken.first().map(|row| row.get(0)));
        Ok(())
    }

    /// Runs `work` in a transaction of its own where none is open, so that nobody writes who may not.
    fn owned<T>(&self, work: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        if self.right().is_none() || self.is_in_transaction() {
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

    /// Copies rows by a statement. All of a row's values are of the types of the first one's.
    pub(crate) fn copy(&self, sql: &str, rows: &[Vec<Param>]) -> Result<(), Error> {
        self.owned(|| {
            let client = self.client()?;
            let types: Vec<_> = rows.iter().take(1).flatten().map(Param::declared).collect();
            self.noted(block_on(async {
                let into = BinaryCopyInWriter::new(client.copy_in(sql).await?, &types);
                futures::pin_mut!(into);
                for row in rows {
                    into.as_mut().write_raw(row).await?;
                }
                into.finish().await
            }))?;
            Ok(())
        })
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
            let client = connect(&*self.server, &self.schema, self.access)?;
            if self.epoch.get().is_some() {
                own(&client)?;
            }
            state.client = Arc::new(client);
        }
        Ok(Arc::clone(&state.client))
    }

    /// Makes the schema anew.
    pub(crate) fn empty_schema(&self) -> Result<(), Error> {
        let schema = quoted(&self.schema);
        // Nobody has taken over who does not exist any more.
        self.epoch.set(None);
        self.state.borrow_mut().statements.clear();
        self.batch(&format!("DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}"))
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

/// Takes the right to write for a session, which may have it already. It ends with the session, and by the server's own clock once the
/// session has been silent.
fn try_own(client: &Client) -> Result<bool, Error> {
    let sql = "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) THEN TRUE
                 ELSE pg_try_advisory_lock(hashtextextended('weir ' || current_schema(), 0)) END";
    let row = block_on(client.query_one(sql, &[])).map_err(Error::Postgres)?;
    if !row.get::<_, bool>(0) {
        return Ok(false);
    }
    let limit = format!("SET idle_session_timeout = {IDLE_OWNER_MS}");
    block_on(client.batch_execute(&limit)).map_err(Error::Postgres)?;
    Ok(true)
}

/// As [`try_own`]; says who has the right otherwise.
fn own(client: &Client) -> Result<(), Error> {
    if try_own(client)? {
        return Ok(());
    }
    let found = block_on(client.query_opt(&holder_of("current_schema()"), &[])).map_err(Error::Postgres)?;
    let holder = found.map(|row| Holder { name: row.get(0), address: row.get(1) });
    Err(Error::Owned(holder.unwrap_or_default()))
}

/// Asks who has the right to write the schema that an expression names.
pub(crate) fn holder_of(schema: &str) -> String {
    format!(
        "SELECT coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'the server itself') {}",
        holding(schema)
    )
}

/// Ends the session that has the right to write the schema that an expression names, if it has waited for its client within a statement for
/// as long as a silent one may. The server's own limits are for sessions between statements: `COPY` is one that waits for the client.
pub(crate) fn end_stuck_holder(schema: &str) -> String {
    format!(
        "SELECT count(pg_terminate_backend(a.pid)) {} AND a.state = 'active' AND a.wait_event IN ('ClientRead', 'ClientWrite')
           AND a.state_change < clock_timestamp() - {IDLE_OWNER_MS} * interval '1 millisecond'",
        holding(schema)
    )
}

fn holding(schema: &str) -> String {
    format!(
        "FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended('weir ' || {schema}, 0)"
    )
}
