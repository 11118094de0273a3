//! The machine's best case in the same run: the floors for other figures.
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::events;
use crate::load::Stream;

/// Events per transaction of the bare store, as many as the ledger has.
const STEP: u64 = 10_000;
/// Tenants and meters in the sums.
const TENANTS: i64 = 1_000;
const METERS: i64 = 5;
/// The duration of each floor.
const LASTS: Duration = Duration::from_secs(5);
/// Bodies that share a sync, one per connection.
const GROUP: usize = 8;

/// Runs bare SQLite with the same ids, in the order of eight workers, and the same sums. Returns events per second.
pub(crate) fn bare_store(dir: &Path, size: u64) -> f64 {
    let db = Connection::open(dir.join("floor.sqlite")).expect("a database");
    db.pragma_update(None, "journal_mode", "wal").expect("wal");
    db.pragma_update(None, "synchronous", "normal").expect("normal");
    db.pragma_update(None, "cache_size", -32 * 1024).expect("a cache");
    db.execute_batch(
        "CREATE TABLE seen(id BLOB PRIMARY KEY, hash INTEGER, position INTEGER, item INTEGER) WITHOUT ROWID;
         CREATE TABLE sums(tenant INTEGER, meter INTEGER, amount INTEGER, PRIMARY KEY (tenant, meter)) WITHOUT ROWID;",
    )
    .expect("tables");
    let mut streams: Vec<Stream> =
        (0..GROUP).map(|life| Stream::new(life as u8 + 100, size, |_| String::new())).collect();
    let (mut events, mut spent, mut turn) = (0, Duration::ZERO, 0);
    while spent < LASTS {
        let mut ids: Vec<[u8; 16]> = Vec::new();
        while (ids.len() as u64) < STEP {
            ids.extend(streams[turn % GROUP].next_ids(events::start()));
            turn += 1;
        }
        let began = Instant::now();
        step(&db, &ids, turn as i64);
        spent += began.elapsed();
        events += ids.len();
    }
    events as f64 / spent.as_secs_f64()
}

fn step(db: &Connection, ids: &[[u8; 16]], position: i64) {
    let tx = db.unchecked_transaction().expect("a transaction");
    {
        let mut seen =
            tx.prepare_cached("INSERT INTO seen VALUES (?1,?2,?3,?4) ON CONFLICT DO NOTHING").expect("a statement");
        let sql = "INSERT INTO sums VALUES (?1,?2,?3) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount";
        let mut sums = tx.prepare_cached(sql).expect("a statement");
        for (item, id) in ids.iter().enumerate() {
            let hash = i64::from_be_bytes(id[8..].try_into().expect("eight bytes"));
            seen.execute(params![id, hash, position, item as i64]).expect("inserted");
        }
        for sum in 0..TENANTS * METERS {
            sums.execute(params![sum / METERS, sum % METERS, 10]).expect("summed");
        }
    }
    tx.commit().expect("committed");
}

/// Appends the same bytes to a file, with one sync for a body of each connection. Returns events per second.
pub(crate) fn append_and_sync(dir: &Path, size: u64) -> f64 {
    let mut stream = Stream::new(99, size, |_| String::new());
    stream.next(events::start());
    let mut file = File::create(dir.join("floor.log")).expect("a file");
    let (began, mut events) = (Instant::now(), 0);
    while began.elapsed() < LASTS {
        (0..GROUP).for_each(|_| file.write_all(stream.body()).expect("written"));
        file.sync_data().expect("synced");
        events += GROUP as u64 * size;
    }
    let rate = events as f64 / began.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(dir.join("floor.log")).expect("removed");
    rate
}
