//! `weir ledger rebuild`: counts the whole log again.
use anyhow::{Context, bail};

use super::access;
use super::access::audit_here;
use super::render::json;
use super::{EXIT_ATTENTION, EXIT_DONE};
use weir_contract::Timestamp;

use crate::config::Config;
use crate::store::{DataDir, Store, StoreError};
use weir_billing::outbox::adopt::adopt_outbox;
use weir_event_log::sqlite::SqliteLogReader;
use weir_ledger::rebuild::rebuild;

pub(super) fn run(config: &Config, replace: bool, as_json: bool) -> anyhow::Result<u8> {
    let home = DataDir::at(&config.data);
    let now = access::clock().now();
    catch_up(config, &home, now)?;
    let lock = home.take_lock()?;
    let new = home.dir().join("ledger.rebuilt.sqlite");
    remove(&new)?;
    let mut log = SqliteLogReader::open(&home.log())?;
    let shown = |position| eprint!("\rcounted up to record {position}");
    let mut ledger = rebuild(&new, &home.ledger(), &mut log, config.meters.clone(), now, shown)?;
    eprintln!();
    let differences = ledger.compare(&home.ledger())?;
    if as_json {
        json(&differences)?;
    } else if differences.is_empty() {
        println!("the ledger and the event log agree");
    }
    for d in differences.iter().filter(|_| !as_json) {
        println!("{}: {} rows only in the ledger, {} only in the rebuilt one", d.table, d.only_living, d.only_rebuilt);
    }
    if replace {
        adopt_outbox(&mut ledger, &home.ledger())?;
        drop(ledger);
        put_in_place(&home, &new)?;
        drop(lock);
        let store = Store::open(home.clone(), config.meters.clone(), access::clock())?;
        let tables: Vec<&str> = differences.iter().map(|difference| difference.table).collect();
        let detail =
            if tables.is_empty() { "no difference".to_owned() } else { format!("differed: {}", tables.join(", ")) };
        access::block_on(audit_here(&store, "ledger rebuild --replace", detail))?;
        store.close().finish();
        println!("the rebuilt ledger is in place; the old one is {}", home.dir().join("ledger.old.sqlite").display());
        return Ok(EXIT_DONE);
    }
    drop((ledger, lock));
    remove(&new)?;
    Ok(if differences.is_empty() { EXIT_DONE } else { EXIT_ATTENTION })
}

/// Lets the ledger count the rest of the log and the events due by `now`, so that both ledgers are compared at the same
/// position and time.
fn catch_up(config: &Config, home: &DataDir, now: Timestamp) -> anyhow::Result<()> {
    let store = match Store::open(home.clone(), config.meters.clone(), access::clock()) {
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

/// The suffixes of a database's files. A write-ahead log left under the old name would bring old pages back.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

fn put_in_place(home: &DataDir, new: &std::path::Path) -> anyhow::Result<()> {
    let old = home.dir().join("ledger.old.sqlite");
    remove(&old)?;
    for part in PARTS {
        rename(&part_of(&home.ledger(), part), &part_of(&old, part))?;
    }
    for part in PARTS {
        rename(&part_of(new, part), &part_of(&home.ledger(), part))?;
    }
    Ok(())
}

fn part_of(path: &std::path::Path, part: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(part);
    name.into()
}

fn rename(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context(from.display().to_string()),
        _ => Ok(()),
    }
}

fn remove(path: &std::path::Path) -> anyhow::Result<()> {
    for part in PARTS {
        let path = part_of(path, part);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(path.display().to_string());
            }
            _ => {}
        }
    }
    Ok(())
}
