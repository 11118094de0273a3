//! Compares the ledger with its floor: bare SQLite with the same dedupe and sums, and no parsing.
use std::time::Instant;

use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};
use weir_ledger::validate::{self, Admission, Format};

use crate::{events, floor, print};

const BATCH: u64 = 1_000;
const BATCHES: u64 = 300;
/// Batches per transaction.
const STEP: usize = 10;

pub(crate) fn judge() {
    let start = events::start();
    let body = events::batch(1, 0, BATCH, start);
    let admission = Admission { received_at: start, gateway: None, forgotten_before: 0 };
    let rounds = 200;
    let began = Instant::now();
    for _ in 0..rounds {
        for item in validate::items(Format::Batch, &body).expect("a batch") {
            let event = item.validate(admission).expect("good");
            std::hint::black_box(&event);
        }
    }
    print("judge: splitting and judging", rounds * BATCH, began.elapsed());
    let began = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(weir_event_log::NewRecord::new(admission, Format::Batch, &body));
    }
    print("judge: packing", rounds * BATCH, began.elapsed());
}

pub(crate) fn run() {
    let start = events::start();
    let records: Vec<Record> = (0..BATCHES)
        .map(|n| Record {
            position: n + 1,
            follows: n,
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
    let bare = floor::bare_store(dir.path(), BATCH);
    println!("{:<58} {bare:>9.0} events/s", "store: bare SQLite, same dedupe and sums");
}
