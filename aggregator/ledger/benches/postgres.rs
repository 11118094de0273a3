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

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bare::Bare;
use tokio_postgres::Config;
use weir_contract::Timestamp;
use weir_database::{Place, PostgresPlace, Reach, Server};
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};
use weir_ledger::validate::Format;
use weir_rig::postgres::Postgres;

/// Events of a body, bodies of a transaction, transactions of a round, and rounds of each side.
const BATCH: u64 = 1_000;
const BATCHES: u64 = 10;
const STEPS: u64 = 5;
const ROUNDS: u64 = 7;
const EVENTS: u64 = BATCH * BATCHES * STEPS;

/// The server of the benchmark, which asks for no password.
#[derive(Debug)]
struct Near(Config);

impl Server for Near {
    fn label(&self) -> String {
        "the benchmark's PostgreSQL".to_owned()
    }

    fn reach(&self) -> Result<Reach, String> {
        Ok(Reach { config: self.0.clone(), tls: None })
    }
}

/// What a round took.
#[derive(Clone, Copy)]
struct Round {
    time: Duration,
    wal_bytes: u64,
}

fn main() {
    let server = Postgres::start().expect("a PostgreSQL; `make setup` installs it");
    let config = Config::from_str(&server.url()).expect("an address");
    let reached: Arc<dyn Server> = Arc::new(Near(config.clone()));
    let open = |schema: &str| {
        let place = Place::Postgres(PostgresPlace::new(Arc::clone(&reached), schema));
        SqliteLedger::open(place, "log", Meters::new(meters::defaults(), Vec::new()).expect("good")).expect("a ledger")
    };
    drop(open("bare"));
    let (mut ledger, start) = (open("weir"), events::start());
    let bare = Bare::connect(&config, start);
    let (mut floors, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        let rows: Vec<_> = (0..STEPS).map(|step| bare.rows(number * STEPS + step, BATCH * BATCHES)).collect();
        let floor = round(&server, || rows.iter().for_each(|rows| bare.step(rows)));
        let steps: Vec<Vec<Record>> = (0..STEPS).map(|step| records(number * STEPS + step, start)).collect();
        let own = round(&server, || {
            for step in &steps {
                let applied = ledger.apply(step).expect("applied");
                assert_eq!(applied.counted, BATCH * BATCHES);
            }
        });
        ratios.push(floor.time.as_secs_f64() / own.time.as_secs_f64());
        floors.push(floor);
        ours.push(own);
    }
    println!("postgres: one writer, {} events of {} tenants in a transaction", BATCH * BATCHES, bare::TENANTS);
    show("  a bare client: the same statements and rows", &mut floors);
    show("  weir's ledger, from bodies in memory", &mut ours);
    ratios.sort_by(f64::total_cmp);
    println!(
        "  weir's ledger to the bare client: {:.0} % (median of {ROUNDS} pairs)",
        ratios[ratios.len() / 2] * 100.0
    );
}

fn records(step: u64, start: Timestamp) -> Vec<Record> {
    let record = |number: u64| Record {
        position: number + 1,
        follows: number,
        received_at: start,
        format: Format::Batch,
        gateway: None,
        forgotten_before: 0,
        body: events::batch(1, number, BATCH, start),
    };
    (step * BATCHES..(step + 1) * BATCHES).map(record).collect()
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
