//! Compares the event log in a Redis to bare `XADD`s of the same bytes, into the same Redis, synced the same way.
use std::time::{Duration, Instant};

use weir_clock::SystemClock;
use weir_event_log::redis::{RedisLog, RedisLogReader, RedisPlace};
use weir_event_log::{Create, EventLog, LogReader, NewRecord, Taking};
use weir_ledger::validate::{Admission, Format};
use weir_rig::redis::Redis;
use weir_settings::redis::RedisServer;

use crate::events;

/// Bodies per group, events per body, groups per round.
const SHAPES: [(u64, u64, u64); 3] = [(1, 100, 100), (16, 100, 60), (8, 1_000, 20)];
/// Rounds of each side, in turn: a disk has good and bad seconds.
const ROUNDS: u32 = 7;

pub(crate) fn run() {
    let start = events::start();
    let admission = Admission { received_at: start, gateway: None, forgotten_before: 0 };
    for (bodies, size, groups) in SHAPES {
        let plain: Vec<Vec<u8>> = (0..bodies).map(|n| events::batch(1, n, size, start)).collect();
        let records: Vec<NewRecord> = plain.iter().map(|body| NewRecord::new(admission, Format::Batch, body)).collect();
        let packed: usize = records.iter().map(NewRecord::packed_bytes).sum();
        let each = packed as u64 / (bodies * size);
        println!(
            "redis: groups of {bodies} bodies of {size} events; {each} bytes an event, packed; appendfsync always"
        );
        shape(&records, bodies * size * groups, groups);
    }
}

fn shape(records: &[NewRecord], events: u64, groups: u64) {
    let redis = Redis::start().expect("a Redis; `make setup` fetches it");
    let place = RedisPlace::new(RedisServer::from(redis.url().as_str()), "bench");
    let taking = Taking { owner: "bench".to_owned(), holder: "the benchmark".to_owned(), create: Create::IfMissing };
    let mut log = RedisLog::open(&place, taking, SystemClock::start()).expect("a log");
    let mut bare = Bare::connect(&redis);
    let (mut piped, mut floors, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        piped.push(timed(|| (0..groups).for_each(|_| bare.append(records, false))));
        let floor = timed(|| (0..groups).for_each(|_| bare.append(records, true)));
        let own = timed(|| (0..groups).for_each(|_| drop(log.append(records).expect("appended"))));
        ratios.push(floor.as_secs_f64() / own.as_secs_f64());
        floors.push(floor);
        ours.push(own);
    }
    show("  bare XADD, one pipeline per group, synced many times", events, &mut piped);
    show("  bare XADD, one transaction per group, synced once", events, &mut floors);
    show("  weir's log", events, &mut ours);
    ratios.sort_by(f64::total_cmp);
    println!(
        "  weir's log to the bare transaction: {:.0} % (median of {ROUNDS} pairs)",
        ratios[ratios.len() / 2] * 100.0
    );
    let (mut reader, mut read) = (RedisLogReader::open(&place).expect("a reader"), 0);
    let took = timed(|| {
        let mut after = 0;
        while let Some(last) = reader.read_after(after, 8 * 1024 * 1024).expect("read").last() {
            after = last.position;
            read = after;
        }
    });
    let all = events * u64::from(ROUNDS);
    assert_eq!(read, groups * records.len() as u64 * u64::from(ROUNDS));
    crate::print("  read back, checked and unpacked", all, took);
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn show(name: &str, events: u64, rounds: &mut [Duration]) {
    rounds.sort();
    let took = rounds[rounds.len() / 2];
    let micros = took.as_secs_f64() * 1e6 / events as f64;
    println!("{name:<58} {:>9.0} events/s  {micros:.2} µs per event", events as f64 / took.as_secs_f64());
}

/// A bare client: one connection, explicit ids, the same fields of the same size.
struct Bare {
    connection: redis::Connection,
    last: u64,
}

impl Bare {
    fn connect(redis: &Redis) -> Self {
        let client = redis::Client::open(redis.url()).expect("a client");
        Bare { connection: client.get_connection().expect("a connection"), last: 0 }
    }

    fn append(&mut self, records: &[NewRecord], at_once: bool) {
        let mut commands = redis::pipe();
        if at_once {
            commands.atomic();
        }
        for record in records {
            self.last += 1;
            let id = format!("{}-0", self.last);
            commands.cmd("XADD").arg("bare").arg(id).arg("h").arg(&[0_u8; 26]).arg("b").arg(record.packed()).ignore();
        }
        commands.exec(&mut self.connection).expect("appended");
    }
}
