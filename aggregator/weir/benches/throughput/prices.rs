//! Counting with prices beside counting without, in turns, so that both meet the same machine.
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::cost::Prices;
use weir_ledger::meters::{self, Meters};
use weir_ledger::validate::Format;
use weir_money::cost::read_book;
use weir_money::prices::{Book, shipped};

use crate::{events, http, print};

const BATCH: u64 = 1_000;
const BATCHES: u64 = 60;
/// Batches per transaction.
const STEP: usize = 10;
/// Turns of each; the best of each is compared, since what disturbs a turn only ever slows it down.
const ROUNDS: usize = 7;
/// What is to be reached, in percent.
const TARGET: u64 = 90;

/// The ledger alone, from bodies in memory: what prices cost where they are computed.
pub(crate) fn ledger() {
    let book = Arc::new(Book::new(vec![shipped::layer()]).expect("the shipped list"));
    let (mut without, mut with) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        let records = records(u8::try_from(round).unwrap_or(0) + 1);
        without = without.min(count(&records, None));
        with = with.min(count(&records, Some(&book)));
    }
    print("prices: the ledger without", BATCH * BATCHES, without);
    print("prices: the ledger with the shipped list", BATCH * BATCHES, with);
    let share = without.as_secs_f64() / with.as_secs_f64() * 100.0;
    println!("  with prices: {share:.1} % of without; best of {ROUNDS} turns each");
}

/// End to end over HTTP.
pub(crate) fn served() {
    println!("prices: batches of {BATCH} over HTTP; to reach: {TARGET} % of the rate without");
    let rates = [0, 1, 2].map(|_| (http::rate_with(false), http::rate_with(true)));
    let best = |of: fn(&(f64, f64)) -> f64| rates.iter().map(of).fold(0.0, f64::max);
    let (without, with) = (best(|rate| rate.0), best(|rate| rate.1));
    println!(
        "  without {without:.0} events/s, with {with:.0} events/s: {:.1} %; best of 3 turns each",
        with / without * 100.0
    );
}

fn records(life: u8) -> Vec<Record> {
    let start = events::start();
    let record = |n: u64| Record {
        position: n + 1,
        follows: n,
        received_at: start,
        format: Format::Batch,
        gateway: None,
        forgotten_before: 0,
        body: events::batch(life, n, BATCH, start),
    };
    (0..BATCHES).map(record).collect()
}

fn count(records: &[Record], book: Option<&Arc<Book>>) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good");
    let mut ledger = SqliteLedger::open(&dir.path().join("ledger.sqlite"), "log", meters).expect("a ledger");
    let prices = Prices { book: book.map(|book| Arc::clone(book) as _), read: read_book };
    ledger.set_prices(prices, events::start()).expect("set");
    let began = Instant::now();
    for step in records.chunks(STEP) {
        ledger.apply(step).expect("applied");
    }
    began.elapsed()
}
