//! Compares the ledger in a PostgreSQL with a bare client that sends the same statements with as many bytes to the same server, in turns,
//! since a machine and its disk have good and bad seconds.
//!
//! `make bench parts=aggregator PART=postgres` runs it. Both sides fill tables of the same schema; the bare one knows its rows
//! beforehand, and reads no event.
#![allow(clippy::disallowed_methods, clippy::float_arithmetic, reason = "a benchmark measures real time")]

#[path = "postgres/bare.rs"]
mod bare;
#[path = "../../weir/benches/throughput/events.rs"]
mod events;
#[path = "postgres/ranges.rs"]
mod ranges;

use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bare::Bare;
use tokio_postgres::Config;
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_event_log::{LogError, LogReader, Position, Record};
use weir_ledger::thread::LedgerHandle;
use weir_ledger::validate::Format;
use weir_rig::postgres::Postgres;

/// Events of a body, bodies of a round, and rounds of each side.
const BATCH: u64 = 1_000;
const BATCHES: u64 = 100;
const ROUNDS: u64 = 7;
const EVENTS: u64 = BATCH * BATCHES;

/// A log in memory, of which the ledger reads what is there.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    records: Vec<Record>,
    /// The most records of a transaction so far.
    most: usize,
}

impl LogReader for Log {
    /// As many records as make a transaction.
    fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let mut kept = self.0.lock().expect("whole");
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let fits = bytes < max_bytes;
            bytes += record.body.len();
            fits
        };
        let start = usize::try_from(after).expect("small");
        let read: Vec<_> = kept.records.iter().skip(start).take_while(fits).cloned().collect();
        kept.most = kept.most.max(read.len());
        Ok(read)
    }

    fn get(&mut self, _: Position) -> Result<Option<Record>, LogError> {
        Ok(None)
    }

    fn before(&mut self, _: Timestamp) -> Result<Position, LogError> {
        Ok(0)
    }
}

/// What a round took.
#[derive(Clone, Copy)]
struct Round {
    time: Duration,
    wal_bytes: u64,
}

fn main() {
    // Many events of a tenant in a transaction, and hardly two.
    for tenants in [1_000, 15_000] {
        compare(tenants);
    }
    ranges::compare();
}

/// Compares both sides with events of so many tenants.
fn compare(tenants: u64) {
    let server = Postgres::start().expect("a PostgreSQL; `make setup` installs it");
    let config = Config::from_str(&server.url()).expect("an address");
    let (log, start) = (Log::default(), events::start());
    let (ledger, thread) =
        LedgerHandle::start(bare::ledger(&config, "weir"), Box::new(log.clone()), SystemClock::start())
            .expect("a thread");
    let bare = Bare::connect(&config, "bare", start, usize::try_from(tenants).expect("few"));
    let (mut floors, mut ours, mut ratios, mut step) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for number in 0..ROUNDS {
        let records = records(tenants, number, start);
        let own = round(&server, || {
            log.0.lock().expect("whole").records.extend(records);
            ledger.wake();
            while ledger.progress().applied().counted < (number + 1) * EVENTS {
                assert_eq!(ledger.progress().failure(), None);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        // As many events in a transaction as the ledger takes.
        step = log.0.lock().expect("whole").most as u64 * BATCH;
        let rows: Vec<_> = (0..EVENTS.div_ceil(step))
            .map(|of_round| bare.rows(number * EVENTS + of_round * step, step.min(EVENTS - of_round * step)))
            .collect();
        let floor = round(&server, || rows.iter().for_each(|rows| bare.step(rows)));
        ratios.push(floor.time.as_secs_f64() / own.time.as_secs_f64());
        floors.push(floor);
        ours.push(own);
    }
    thread.stop();
    println!("postgres: one writer, {step} events of {tenants} tenants in a transaction");
    show("  a bare client: the same statements and rows", &mut floors);
    show("  weir's ledger, from a log in memory", &mut ours);
    ratios.sort_by(f64::total_cmp);
    println!(
        "  weir's ledger to the bare client: {:.0} % (median of {ROUNDS} pairs)",
        ratios[ratios.len() / 2] * 100.0
    );
    let ids = on_disk(&server, "relname LIKE 'seen_%'") / (EVENTS * ROUNDS);
    let sums = on_disk(&server, "relname IN ('usage', 'analysis')") / tenants;
    println!("  on disk: {ids} bytes for the id of an event, {sums} bytes for an hour of a tenant with one model");
}

/// Bytes of the ledger's tables with their indexes.
fn on_disk(server: &Postgres, which: &str) -> u64 {
    let sql = format!(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'weir' AND c.relkind = 'r' AND {which}"
    );
    server.run(&sql).expect("asked").parse().expect("a number")
}

/// The records of a round.
fn records(tenants: u64, number: u64, start: Timestamp) -> Vec<Record> {
    let received_at = events::start();
    let record = |number: u64| Record {
        position: number + 1,
        follows: number,
        received_at,
        format: Format::Batch,
        gateway: None,
        forgotten_before: 0,
        body: events::batch_of(tenants, 1, number, BATCH, start),
    };
    (number * BATCHES..(number + 1) * BATCHES).map(record).collect()
}

fn round(server: &Postgres, work: impl FnOnce()) -> Round {
    let wal = || -> u64 {
        let bytes = server.run("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").expect("asked");
        bytes.parse().expect("a number")
    };
    let (before, began) = (wal(), Instant::now());
    work();
    let time = began.elapsed();
    Round { time, wal_bytes: wal() - before }
}

/// Prints the median of some rounds.
fn show(name: &str, rounds: &mut [Round]) {
    rounds.sort_by_key(|round| round.wal_bytes);
    let wal = rounds[rounds.len() / 2].wal_bytes / EVENTS;
    rounds.sort_by_key(|round| round.time);
    let seconds = rounds[rounds.len() / 2].time.as_secs_f64();
    let (rate, micros) = (EVENTS as f64 / seconds, seconds * 1e6 / EVENTS as f64);
    println!("{name:<58} {rate:>9.0} events/s  {micros:.2} µs and {wal} bytes of WAL per event");
}
