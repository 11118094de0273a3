//! The log over a real Redis: the conformance suite, faults by name, and refusals by name.
mod encrypted;
mod faults;
mod losses;
mod refusals;
mod writers;

use std::sync::Arc;

use weir_clock::{Clock, SystemClock};
use weir_contract::Timestamp;
use weir_rig::redis::Redis;
use weir_settings::redis::RedisServer;

use super::{RedisLog, RedisLogReader, RedisPlace};
use crate::conformance::{Bench, conformance};
use crate::{
    Admission, AppendError, Create, EventLog, Format, LogError, LogReader, NewRecord, Placement, Record, Taking,
};

/// A Redis with a log.
struct World {
    redis: Redis,
    place: RedisPlace,
}

impl World {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let redis = Redis::start_with(arguments).expect("a Redis");
        let place = place(&redis.url());
        World { redis, place }
    }

    fn writer(&self) -> RedisLog {
        writer(&self.place)
    }

    /// Opens the log again as a process does whose ledger follows `id`.
    fn again(&self, id: &str) -> Result<RedisLog, LogError> {
        RedisLog::open(&self.place, taking("one", Create::Never(id.to_owned())), clock())
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        let mut reader = RedisLogReader::open(&self.place).expect("a reader");
        reader.read_after(0, usize::MAX).expect("read").into_iter().map(|record| record.body).collect()
    }

    fn refusal(&self, id: &str) -> String {
        self.again(id).expect_err("refused").to_string()
    }
}

impl Bench for World {
    type Log = RedisLog;
    type Reader = RedisLogReader;

    fn fresh() -> Self {
        World::start()
    }

    fn open(&self) -> (RedisLog, RedisLogReader) {
        (self.writer(), RedisLogReader::open(&self.place).expect("a reader"))
    }
}

conformance!(World);

fn place(url: &str) -> RedisPlace {
    RedisPlace::new(RedisServer::from(url), "test")
}

fn taking(owner: &str, create: Create) -> Taking {
    Taking { owner: owner.to_owned(), holder: format!("the weir {owner}"), create }
}

fn clock() -> Arc<dyn Clock> {
    SystemClock::start()
}

fn writer(place: &RedisPlace) -> RedisLog {
    RedisLog::open(place, taking("one", Create::IfMissing), clock()).expect("a log")
}

fn record(number: u64) -> NewRecord {
    body(number, format!("[{number}]").as_bytes())
}

fn body(second: u64, body: &[u8]) -> NewRecord {
    let admission = Admission { received_at: Timestamp::from_secs(second), gateway: None, forgotten_before: 0 };
    NewRecord::new(admission, Format::Batch, body)
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| rng.u8(..)).collect()
}

fn last(placed: Result<Vec<Placement>, AppendError>) -> u64 {
    placed.expect("appended").last().expect("a place").position
}

fn numbers(bodies: &[Vec<u8>]) -> Vec<u64> {
    let number = |body: &Vec<u8>| String::from_utf8_lossy(body).trim_matches(['[', ']']).parse().expect("a number");
    bodies.iter().map(number).collect()
}

fn read(place: &RedisPlace) -> Result<Vec<Record>, LogError> {
    RedisLogReader::open(place)?.read_after(0, usize::MAX)
}
