//! `weir migrate`: copies the ledger into another database, and what is kept beside it.
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use weir_database::{Connection, Fence, Place};
use weir_ledger::transfer::{Progress, transfer};
use weir_settings::postgres::PostgresServer;
use weir_tenants::store::TenantStore;
use weir_tenants::store::moving::Moved;

use super::EXIT_DONE;
use super::access::{self, audit_here};
use super::args::migrate::MigrateArgs;
use super::render::{complain, json, progress, say};
use crate::config::Config;
use crate::config::ledger::LedgerPlace;
use crate::kept::owner_of;
use crate::leases::LeaseDatabase;
use crate::store::{DataDir, Store, StoreError, private};

/// The place `--to` of the ledger's file.
const FILE: &str = "file";

pub(super) fn run(config: &Config, args: &MigrateArgs, as_json: bool) -> anyhow::Result<u8> {
    let home = DataDir::of(config);
    let (from, setting) = (home.ledger().clone(), setting(args)?);
    let to = match &setting {
        None => Place::Sqlite(home.ledger_file()),
        Some(server) => LedgerPlace::new(server.clone(), &config.base).place(),
    };
    if from.label() == to.label() {
        bail!("--to: the ledger is there already: {}", to.label());
    }
    access::check_alone(config)?;
    note(config, &home, &to)?;
    let lock = home.take_lock()?;
    if let Some(path) = to.file() {
        private(path).with_context(|| to.label())?;
    }
    let kept = move_kept(&home, &home.with_ledger(to.clone()))?;
    let done = transfer(&from, &to, &mut shown);
    complain!("");
    let done = done?;
    drop(lock);
    if as_json {
        json(&done)?;
        return Ok(EXIT_DONE);
    }
    let rows: u64 = done.tables.iter().map(|table| table.rows).sum();
    say!(
        "copied {rows} rows of {} tables up to record {}; both ledgers hold the same",
        done.tables.len(),
        done.position
    );
    if kept > 0 {
        say!("copied {kept} rows of tenants, keys and tokens; both databases hold the same");
    }
    match setting {
        None => say!("now remove `ledger` from {} and start the server", config.path.display()),
        Some(server) => say!("now write `ledger: {server}` into {} and start the server", config.path.display()),
    }
    say!("the former ledger stays as it is, {}: start no server with it again", from.label());
    say!("nothing of the hours before now is sent until Stripe's summaries say what is there already");
    Ok(EXIT_DONE)
}

/// The PostgreSQL that the arguments name; None for the file.
fn setting(args: &MigrateArgs) -> anyhow::Result<Option<PostgresServer>> {
    let MigrateArgs { to, password_env, password_file, ca, schema } = args;
    if to == FILE {
        if password_env.is_some() || password_file.is_some() || ca.is_some() || schema.is_some() {
            bail!("--to file takes no password, roots or schema");
        }
        return Ok(None);
    }
    let mut written = Map::from_iter([("url".to_owned(), Value::from(to.as_str()))]);
    let password = match (password_env, password_file) {
        (Some(name), _) => Some(json!({ "env": name })),
        (None, Some(path)) => Some(json!({ "file": path })),
        (None, None) => None,
    };
    written.extend(password.map(|password| ("password".to_owned(), password)));
    written.extend(ca.as_ref().map(|ca| ("ca".to_owned(), json!(ca))));
    written.extend(schema.as_ref().map(|schema| ("schema".to_owned(), json!(schema))));
    Ok(Some(serde_json::from_value(written.into()).context("--to")?))
}

/// Copies what is kept beside the ledger, before the ledger itself makes the move complete. Returns how many rows of tenants there are.
fn move_kept(home: &DataDir, target: &DataDir) -> anyhow::Result<u64> {
    if Connection::open_read_only(target.ledger())?.schema_version()? > 0 {
        bail!("{}: there is a ledger already; nothing was changed", target.ledger().label());
    }
    let elsewhere = [home, target].into_iter().find(|home| home.ledger().file().is_none());
    let owner = elsewhere.map(|home| owner_of(home.ledger())).transpose()?;
    let right = owner.as_ref().map(Connection::fence).unwrap_or_default();
    let obeyed = |home: &DataDir| if home.ledger().file().is_none() { right.clone() } else { Fence::default() };
    if target.tenants().file().is_some() {
        for path in [target.tenants_file(), target.leases_file()] {
            private(&path).with_context(|| path.display().to_string())?;
        }
        LeaseDatabase::copy_to_file(home.leases(), &target.leases_file())?;
    } else {
        // Leases of an earlier move would count; the next start takes those of the file.
        target.leases().remove()?;
    }
    let moved = TenantStore::transfer((home.tenants(), &obeyed(home)), (target.tenants(), &obeyed(target)))?;
    Ok(if let Moved::Copied(rows) = moved { rows } else { 0 })
}

/// Lets the ledger count what the log has, and notes in its audit where it moves: the copy has it, too.
fn note(config: &Config, home: &DataDir, to: &Place) -> anyhow::Result<()> {
    if !home.has_ledger()? {
        bail!("{}: there is no ledger", home.ledger().label());
    }
    let store = match Store::open(home.clone(), config.rules()?, access::clock()) {
        Ok(store) => store,
        Err(StoreError::Locked(_)) => bail!("stop the running server first: a ledger is moved at rest"),
        Err(error) => return Err(error.into()),
    };
    access::block_on(async {
        store.catch_up().await?;
        audit_here(&store, "migrate", format!("to {}", to.label())).await
    })?;
    store.close().finish();
    Ok(())
}

fn shown(told: Progress<'_>) {
    let what = if told.comparing { "compared" } else { "copied" };
    let Progress { table, number, tables, rows, .. } = told;
    progress(format_args!("{what} table {number} of {tables}, {table}: {rows} rows\x1b[K"));
}
