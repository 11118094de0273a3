//! `weir ledger rebuild`: counts the whole log again.
use anyhow::{Context, bail};

use super::access;
use super::access::audit_here;
use super::render::{chain, complain, json, progress, say};
use super::{EXIT_ATTENTION, EXIT_DONE};
use weir_contract::Timestamp;

use crate::config::Config;
use crate::store::{DataDir, Store, StoreError, private};
use weir_billing::outbox::adopt::adopt_outbox;
use weir_billing::outbox::sender;
use weir_database::{Connection, Failure, Place};
use weir_event_log::Position;
use weir_ledger::LedgerError;
use weir_ledger::query::LedgerReader;
use weir_ledger::rebuild::{self, rebuild};

/// Where a ledger is rebuilt, and where the one before it stays: beside the one in use.
const REBUILT: &str = "rebuilt";
const OLD: &str = "old";

pub(super) fn run(config: &Config, replace: bool, as_json: bool) -> anyhow::Result<u8> {
    let home = DataDir::of(config);
    if home.log_place().facts()?.is_none() {
        let place = home.log_place().label();
        bail!("{place}: there is no event log to count: look at `data` and `log` in {}", config.path.display());
    }
    access::check_alone(config)?;
    let now = access::clock().now();
    match catch_up(config, &home, now) {
        Ok(()) => compared(config, &home, now, replace, as_json),
        Err(error) if is_lost(&error) => anew(config, &home, now, replace, &error),
        Err(error) => Err(error),
    }
}

/// Whether an error says that the ledger's file is damaged or gone, and the log's is not.
fn is_lost(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(StoreError::LedgerMissing(..)) => true,
        Some(StoreError::Ledger(LedgerError::Database(error))) => error.failure() == Failure::Damaged,
        _ => false,
    }
}

fn compared(config: &Config, home: &DataDir, now: Timestamp, replace: bool, as_json: bool) -> anyhow::Result<u8> {
    let lock = home.take_lock()?;
    let new = room(home)?;
    let mut log = home.log_place().reader()?;
    let mut ledger = rebuild(&new, home.ledger(), log.as_mut(), config.rules()?, now, shown)?;
    complain!("");
    let differences = ledger.compare(home.ledger())?;
    if as_json {
        json(&differences)?;
    } else if differences.is_empty() {
        say!("the ledger and the event log agree");
    }
    for d in differences.iter().filter(|_| !as_json) {
        say!("{}: {} rows only in the ledger, {} only in the rebuilt one", d.table, d.only_living, d.only_rebuilt);
    }
    if replace {
        adopt_outbox(&mut ledger, home.ledger())?;
        let through = ledger.position();
        drop(ledger);
        put_in_place(home, &new, Some(through))?;
        drop(lock);
        let tables: Vec<&str> = differences.iter().map(|difference| difference.table).collect();
        let detail =
            if tables.is_empty() { "no difference".to_owned() } else { format!("differed: {}", tables.join(", ")) };
        note(config, home, detail, None)?;
        return Ok(EXIT_DONE);
    }
    drop((ledger, lock));
    new.remove()?;
    Ok(if differences.is_empty() { EXIT_DONE } else { EXIT_ATTENTION })
}

/// Counts the log into a new ledger, since the old one is lost. What was reported stood in the lost one: nothing of the hours
/// before now is sent until Stripe's summaries have settled each, as after a restore.
fn anew(config: &Config, home: &DataDir, now: Timestamp, replace: bool, why: &anyhow::Error) -> anyhow::Result<u8> {
    complain!("weir: {}", chain(why));
    if !replace {
        complain!("weir: nothing is left to compare with; --replace counts the event log into a new ledger");
        return Ok(EXIT_ATTENTION);
    }
    let lock = home.take_lock()?;
    let new = room(home)?;
    let log = home.log_place().facts()?.context("the event log is gone")?;
    let mut reader = home.log_place().reader()?;
    drop(rebuild::anew(&new, &log.id, reader.as_mut(), log.last, config.rules()?, now, shown)?);
    complain!("");
    put_in_place(home, &new, None)?;
    drop(lock);
    note(config, home, "the ledger was lost; counted anew from the event log".to_owned(), Some(now))?;
    say!("what was reported, adjusted and audited before is not known any more");
    say!("nothing of the hours before now is sent until Stripe's summaries say what is there already");
    Ok(EXIT_ATTENTION)
}

fn shown(position: Position) {
    progress(format_args!("counted up to record {position}"));
}

/// Notes in the audit that a ledger was put in place; one that knows nothing of what was reported since `restored` sends nothing.
fn note(config: &Config, home: &DataDir, detail: String, restored: Option<Timestamp>) -> anyhow::Result<()> {
    let store = Store::open(home.clone(), config.rules()?, access::clock())?;
    access::block_on(async {
        if let Some(now) = restored {
            store.ledger.call(move |ledger| ledger.durably(|db| sender::mark_restored(db, now))).await?;
        }
        audit_here(&store, "ledger rebuild --replace", detail).await
    })?;
    store.close().finish();
    say!("the rebuilt ledger is in place; the old one is {}", home.ledger().beside(OLD).label());
    Ok(())
}

/// Lets the ledger count what the log has and what is due by `now`, so that both are compared at the same position and moment.
fn catch_up(config: &Config, home: &DataDir, now: Timestamp) -> anyhow::Result<()> {
    let store = match Store::open(home.clone(), config.rules()?, access::clock()) {
        Ok(store) => store,
        Err(StoreError::Locked(_)) => bail!("stop the running server first: a ledger is rebuilt at rest"),
        Err(error) => return Err(error.into()),
    };
    access::block_on(async {
        store.catch_up().await?;
        Ok(store.ledger.call(move |ledger| ledger.release_early(now)).await?)
    })?;
    store.close().finish();
    Ok(())
}

/// Puts the new ledger in the place of the one that counted up to `through`; None if that one is lost. In a PostgreSQL, where the folder's
/// lock keeps nobody else away, with the right to write.
fn put_in_place(home: &DataDir, new: &Place, through: Option<Position>) -> anyhow::Result<()> {
    let place = home.ledger();
    let right = if place.file().is_none() { Some(Connection::open(place)?) } else { None };
    if let Some(right) = &right {
        right.take_right().context("a server has begun to write meanwhile: stop it, and rebuild again")?;
    }
    if let Some(through) = through
        && LedgerReader::open(place)?.position()? != through
    {
        bail!("the ledger has counted more meanwhile: stop every server, and rebuild again");
    }
    Ok(place.replace_by(new, &place.beside(OLD))?)
}

/// Makes room for a new ledger beside the one in use.
fn room(home: &DataDir) -> anyhow::Result<Place> {
    let new = home.ledger().beside(REBUILT);
    new.remove().with_context(|| new.label())?;
    if let Some(path) = new.file() {
        private(path)?;
    }
    Ok(new)
}
