//! Makes a session: connects, checks that the server keeps what it acknowledges, and sets what weir needs.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::executor::block_on;
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_postgres::config::TargetSessionAttrs;

use super::server::{Reach, Server};
use super::{Access, tls};
use crate::{Error, Refused};

/// The oldest server that is supported: the number of its major version, times 10,000.
const SERVER_MIN: i64 = 150_000;
/// How long an owner may do nothing inside a transaction before the server ends its session: a process that hangs there would
/// keep others from taking over.
const IDLE_IN_TRANSACTION_MS: u64 = 3_000;
/// How long an owner may do nothing at all before the server ends its session, and with it the right to write. The ledger's thread asks
/// something once a second, so that only a process that is paused or cut off is silent for so long.
pub(super) const IDLE_OWNER_MS: u64 = 3_000;
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a silent connection is trusted; then it is asked so often, so many times. Both sides do so.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVES: u32 = 3;
/// How long bytes may wait for the other side's acknowledgement before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

pub(super) fn connect(server: &dyn Server, schema: &str, access: Access) -> Result<Client, Error> {
    let refused = |why| Error::Unreachable { place: server.label(), why };
    let mut reach = server.reach().map_err(|problem| refused(Refused::Settings(problem)))?;
    configure(&mut reach);
    let (made, connected) = std::sync::mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        match tls::connect(reach).await {
            Ok((client, connection)) => {
                let _ = made.send(Ok(client));
                connection.await;
            }
            Err(error) => {
                let _ = made.send(Err(error));
            }
        }
    });
    let client = connected.recv().map_err(|_| Error::Lost)?.map_err(|error| refused(Refused::Server(error)))?;
    check(&client).map_err(refused)?;
    prepare(&client, schema, access).map_err(|error| refused(Refused::Server(error)))?;
    Ok(client)
}

fn configure(reach: &mut Reach) {
    let config = &mut reach.config;
    config.application_name(format!("weir, process {}", std::process::id()));
    // The ledger is where it can be written; a standby may lag.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite).connect_timeout(CONNECT);
    config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVES);
    config.tcp_user_timeout(UNACKNOWLEDGED);
}

/// Checks that the server is one that weir knows, and keeps what it acknowledges.
fn check(client: &Client) -> Result<(), Refused> {
    let sql = "SELECT current_setting('server_version_num')::int8, current_setting('server_encoding'), current_setting('fsync')";
    let row = block_on(client.query_one(sql, &[])).map_err(Refused::Server)?;
    let version: i64 = row.get(0);
    let (encoding, fsync): (String, String) = (row.get(1), row.get(2));
    if version < SERVER_MIN {
        return Err(Refused::TooOld(version / 10_000));
    }
    if encoding != "UTF8" {
        return Err(Refused::Encoding(encoding));
    }
    if fsync != "on" {
        return Err(Refused::Unsynced);
    }
    Ok(())
}

fn prepare(client: &Client, schema: &str, access: Access) -> Result<(), tokio_postgres::Error> {
    let schema = quoted(schema);
    let mut settings = format!(
        "SET search_path TO {schema}; SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS};
         SET statement_timeout = 0; SET lock_timeout = 0; SET jit = off;"
    );
    if access == Access::Read {
        settings.push_str("SET default_transaction_read_only = on;");
        return block_on(client.batch_execute(&settings));
    }
    // Plans of the few statements that count do not depend on their parameters, and are made while tables are small. Without synchronous commits a crash of the server
    // would take rows of the outbox whose events are sent.
    settings.push_str(&format!(
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         SET synchronous_commit = on;
         SET tcp_keepalives_idle = {}; SET tcp_keepalives_interval = {}; SET tcp_keepalives_count = {KEEPALIVES};
         SET tcp_user_timeout = {};",
        KEEPALIVE_IDLE.as_secs(),
        KEEPALIVE_INTERVAL.as_secs(),
        UNACKNOWLEDGED.as_millis()
    ));
    // Who may use a schema may not always make one.
    let known = block_on(client.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema]))?;
    if !known.get::<_, bool>(0) {
        // Several servers may come at once; the lock is that of this batch, which is one transaction.
        let make = format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('weir schemas', 0)); CREATE SCHEMA IF NOT EXISTS {schema};"
        );
        settings.insert_str(0, &make);
    }
    block_on(client.batch_execute(&settings))
}

/// Runs the connections of all sessions. Sessions block the threads that use them, so they must not depend on a runtime of those.
fn runtime() -> Result<&'static Runtime, Error> {
    // Made once: a second one could not be dropped on a thread of another runtime.
    static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);
    let mut running = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = *running {
        return Ok(running);
    }
    let made = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("postgres")
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    Ok(running.insert(Box::leak(Box::new(made))))
}

/// A name as SQL quotes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
