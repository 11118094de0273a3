//! The ledger against its floor: bare SQLite doing the same dedupe and the same sums, with nothing to parse.
use std::time::Instant;

use rusqlite::{Connection, params};
use weir::accept::{self, Admission, Format};
use weir::ledger::{Ledger, SqliteLedger};
use weir::log::Record;
use weir::meters::{self, Meters};

use crate::{events, print};

const BATCH: u64 = 1_000;
const BATCHES: u64 = 300;
/// Batches of one transaction.
const STEP: usize = 10;

pub(crate) fn judge() {
    let start = events::start();
    let body = events::batch(1, 0, BATCH, start);
    let admission = Admission { received_at: start, gateway: None, forgotten_before: 0 };
    let rounds = 200;
    let began = Instant::now();
    for _ in 0..rounds {
        for raw in accept::split(Format::Batch, &body).expect("a batch") {
            let event = accept::judge(raw, admission).expect("good");
            std::hint::black_box(&event);
        }
    }
    print("judge: splitting and judging", rounds * BATCH, began.elapsed());
    let began = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(weir::log::NewRecord::new(admission, Format::Batch, &body));
    }
    print("judge: packing", rounds * BATCH, began.elapsed());
}

pub(crate) fn run() {
    let start = events::start();
    let records: Vec<Record> = (0..BATCHES)
        .map(|n| Record {
            position: n + 1,
            received_at: start,
            format: Format::Batch,
            gateway: None,
            forgotten_before: 0,
            body: events::batch(1, n, BATCH, start),
        })
        .collect();
    let dir = tempfile::tempdir().expect("a directory");
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good");
    let mut ledger = SqliteLedger::open(&dir.path().join("ledger.sqlite"), "log", meters).expect("a ledger");
    let began = Instant::now();
    for step in records.chunks(STEP) {
        ledger.apply(step).expect("applied");
    }
    print("store: the ledger, from bodies in memory", BATCH * BATCHES, began.elapsed());
    floor(&dir.path().join("floor.sqlite"));
}

/// The same keys and the same number of sums, as plain statements.
fn floor(path: &std::path::Path) {
    let db = Connection::open(path).expect("a database");
    db.pragma_update(None, "journal_mode", "wal").expect("wal");
    db.pragma_update(None, "synchronous", "normal").expect("normal");
    db.execute_batch(
        "CREATE TABLE seen(id BLOB PRIMARY KEY, hash INTEGER, position INTEGER, item INTEGER) WITHOUT ROWID;
         CREATE TABLE sums(tenant INTEGER, meter INTEGER, amount INTEGER, PRIMARY KEY (tenant, meter)) WITHOUT ROWID;",
    )
    .expect("tables");
    let began = Instant::now();
    for step in 0..BATCHES / STEP as u64 {
        let tx = db.unchecked_transaction().expect("a transaction");
        {
            let mut seen = tx.prepare_cached("INSERT INTO seen VALUES (?1,?2,?3,?4)").expect("a statement");
            let sql = "INSERT INTO sums VALUES (?1,?2,?3) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount";
            let mut sums = tx.prepare_cached(sql).expect("a statement");
            let events = STEP as u64 * BATCH;
            for n in step * events..(step + 1) * events {
                let mut id = [0_u8; 16];
                id[..8].copy_from_slice(&n.to_be_bytes());
                seen.execute(params![id, n.cast_signed(), step.cast_signed(), 1]).expect("inserted");
            }
            for sum in 0..5_000_i64 {
                sums.execute(params![sum / 5, sum % 5, 10]).expect("summed");
            }
        }
        tx.commit().expect("committed");
    }
    print("store: bare SQLite, same keys and sums", BATCH * BATCHES, began.elapsed());
}
