//! A log beside a bare client of the same server, in turns: a machine and its disk have good and bad seconds.
use std::time::{Duration, Instant};

use weir_event_log::{Create, LogReader, NewRecord, Taking};
use weir_ledger::validate::{Admission, Format};

use crate::events;

/// Bodies per group, events per body, groups per round.
const SHAPES: [(u64, u64, u64); 3] = [(1, 100, 100), (16, 100, 60), (8, 1_000, 20)];
/// Rounds of each side.
pub(crate) const ROUNDS: u32 = 7;

/// What is appended in a round: the same group of records again and again.
pub(crate) struct Load {
    pub(crate) records: Vec<NewRecord>,
    pub(crate) groups: u64,
    /// Events of a round.
    pub(crate) events: u64,
}

/// Runs every shape. `terms`: what an acknowledgement means.
pub(crate) fn each_shape(name: &str, terms: &str, run: impl Fn(&Load)) {
    let start = events::start();
    let admission = Admission { received_at: start, gateway: None, forgotten_before: 0 };
    for (bodies, size, groups) in SHAPES {
        let plain: Vec<Vec<u8>> = (0..bodies).map(|n| events::batch(1, n, size, start)).collect();
        let records: Vec<NewRecord> = plain.iter().map(|body| NewRecord::new(admission, Format::Batch, body)).collect();
        let packed: usize = records.iter().map(NewRecord::packed_bytes).sum();
        let each = packed as u64 / (bodies * size);
        println!("{name}: groups of {bodies} bodies of {size} events; {each} bytes an event, packed; {terms}");
        run(&Load { records, groups, events: bodies * size * groups });
    }
}

/// The right to write, of the benchmark.
pub(crate) fn taking() -> Taking {
    Taking { owner: "bench".to_owned(), holder: "the benchmark".to_owned(), create: Create::IfMissing }
}

/// The time of one round.
pub(crate) fn round(load: &Load, mut append: impl FnMut(&[NewRecord])) -> Duration {
    timed(|| (0..load.groups).for_each(|_| append(&load.records)))
}

/// Rounds of the bare client and of the log, in turn.
#[derive(Default)]
pub(crate) struct Pairs {
    floors: Vec<Duration>,
    ours: Vec<Duration>,
    ratios: Vec<f64>,
}

impl Pairs {
    pub(crate) fn add(&mut self, floor: Duration, own: Duration) {
        self.ratios.push(floor.as_secs_f64() / own.as_secs_f64());
        self.floors.push(floor);
        self.ours.push(own);
    }

    /// Prints both sides and their ratio. `floor`: what the bare client does; `bare`: its short name.
    pub(crate) fn show(mut self, load: &Load, floor: &str, bare: &str) {
        show(floor, load.events, &mut self.floors);
        show("  weir's log", load.events, &mut self.ours);
        self.ratios.sort_by(f64::total_cmp);
        let median = self.ratios[self.ratios.len() / 2] * 100.0;
        println!("  weir's log to the bare {bare}: {median:.0} % (median of {ROUNDS} pairs)");
    }
}

/// Reads everything back, and prints how long that took.
pub(crate) fn read_back(load: &Load, reader: &mut impl LogReader) {
    let mut read = 0;
    let took = timed(|| {
        let mut after = 0;
        loop {
            let records = reader.read_after(after, 8 * 1024 * 1024).expect("read");
            let Some(last) = records.last() else { break };
            (after, read) = (last.position, read + records.len() as u64);
        }
    });
    assert_eq!(read, load.groups * load.records.len() as u64 * u64::from(ROUNDS));
    crate::print("  read back, checked and unpacked", load.events * u64::from(ROUNDS), took);
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// Prints the median of some rounds.
pub(crate) fn show(name: &str, events: u64, rounds: &mut [Duration]) {
    rounds.sort();
    let took = rounds[rounds.len() / 2];
    let micros = took.as_secs_f64() * 1e6 / events as f64;
    println!("{name:<58} {:>9.0} events/s  {micros:.2} µs per event", events as f64 / took.as_secs_f64());
}
