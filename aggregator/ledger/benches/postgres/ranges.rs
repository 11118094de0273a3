//! Two ranges of tenants at once in one PostgreSQL, beside one of them alone: what a second ledger adds on this machine.
use std::str::FromStr;
use std::time::{Duration, Instant};

use tokio_postgres::Config;
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_ledger::thread::{LedgerHandle, LedgerThread};
use weir_rig::postgres::Postgres;

use super::bare::{self, Bare};
use super::{BATCH, EVENTS, Log, ROUNDS, events, records};

const TENANTS: u64 = 1_000;
/// As in the ledger's own transactions.
const STEP: u64 = 15_000;

/// A ledger with a log of its own.
struct Range {
    log: Log,
    ledger: LedgerHandle,
    thread: LedgerThread,
    rounds: u64,
}

impl Range {
    fn new(config: &Config, schema: &str) -> Self {
        let log = Log::default();
        let ledger = bare::ledger(config, schema);
        let (ledger, thread) =
            LedgerHandle::start(ledger, Box::new(log.clone()), SystemClock::start()).expect("a thread");
        Self { log, ledger, thread, rounds: 0 }
    }

    /// Counts one more round of events.
    fn count(&mut self, start: Timestamp) -> Duration {
        let records = records(TENANTS, self.rounds, start);
        self.rounds += 1;
        let began = Instant::now();
        self.log.0.lock().expect("whole").records.extend(records);
        self.ledger.wake();
        while self.ledger.progress().applied().counted < self.rounds * EVENTS {
            assert_eq!(self.ledger.progress().failure(), None);
            std::thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    }
}

/// A bare client, which writes the rows of as many events.
struct Floor {
    client: Bare,
    rounds: u64,
}

impl Floor {
    fn new(config: &Config, schema: &str, start: Timestamp) -> Self {
        Self { client: Bare::connect(config, schema, start, usize::try_from(TENANTS).expect("few")), rounds: 0 }
    }

    fn write(&mut self) -> Duration {
        let before = self.rounds * EVENTS;
        self.rounds += 1;
        let step = |done: u64| self.client.rows(before + done, STEP.min(EVENTS - done));
        let rows: Vec<_> = (0..EVENTS).step_by(usize::try_from(STEP).expect("small")).map(step).collect();
        let began = Instant::now();
        rows.iter().for_each(|rows| self.client.step(rows));
        began.elapsed()
    }
}

/// Prints how many times the rate of one range two have, and the same of bare clients.
pub(crate) fn compare() {
    let server = Postgres::start().expect("a PostgreSQL; `make setup` installs it");
    let config = Config::from_str(&server.url()).expect("an address");
    // Four events lie in a millisecond, and those of one range are counted twice as often: none is to be ahead of the clock.
    let start = Timestamp::from_millis(events::start().as_millis() - 2 * ROUNDS * EVENTS / 4);
    let (mut one, mut other) = (Range::new(&config, "weir_one"), Range::new(&config, "weir_other"));
    let (mut bare, mut second) = (Floor::new(&config, "bare_one", start), Floor::new(&config, "bare_other", start));
    let (mut alone, mut both, mut ledgers, mut floors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let single = one.count(start).as_secs_f64();
        let pair = at_once(|| one.count(start), || other.count(start));
        alone.push(EVENTS as f64 / single);
        both.push(2.0 * EVENTS as f64 / pair);
        ledgers.push(2.0 * single / pair);
        let single = bare.write().as_secs_f64();
        floors.push(2.0 * single / at_once(|| bare.write(), || second.write()));
    }
    one.thread.stop();
    other.thread.stop();
    println!(
        "postgres: two ranges at once, each with {TENANTS} tenants, bodies of {BATCH} events, a log and a schema of its own"
    );
    println!("  one range alone, events/s {:>47.0}", median(&mut alone));
    println!("  two ranges, events/s {:>52.0}", median(&mut both));
    println!("  two ranges to one {:>55.2} times (median of {ROUNDS} pairs)", median(&mut ledgers));
    println!("  two bare clients to one {:>49.2} times", median(&mut floors));
}

/// The seconds until both have ended.
fn at_once(one: impl FnOnce() -> Duration + Send, other: impl FnOnce() -> Duration + Send) -> f64 {
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(other);
        (one(), other.join().expect("no panic"))
    });
    one.max(other).as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
