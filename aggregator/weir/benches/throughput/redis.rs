//! Compares the event log in a Redis to bare `XADD`s of the same bytes, into the same Redis, synced the same way.
use weir_clock::SystemClock;
use weir_event_log::redis::{RedisLog, RedisLogReader, RedisPlace};
use weir_event_log::{EventLog, NewRecord};
use weir_rig::redis::Redis;
use weir_settings::redis::RedisServer;

use crate::pairs::{self, Load, Pairs, ROUNDS};

pub(crate) fn run() {
    pairs::each_shape("redis", "appendfsync always", shape);
}

fn shape(load: &Load) {
    let redis = Redis::start().expect("a Redis; `make setup` fetches it");
    let place = RedisPlace::new(RedisServer::from(redis.url().as_str()), "bench");
    let mut log = RedisLog::open(&place, pairs::taking(), SystemClock::start()).expect("a log");
    let (mut bare, mut piped, mut both) = (Bare::connect(&redis), Vec::new(), Pairs::default());
    for _ in 0..ROUNDS {
        piped.push(pairs::round(load, |records| bare.append(records, false)));
        let floor = pairs::round(load, |records| bare.append(records, true));
        both.add(floor, pairs::round(load, |records| drop(log.append(records).expect("appended"))));
    }
    pairs::show("  bare XADD, one pipeline per group, synced many times", load.events, &mut piped);
    both.show(load, "  bare XADD, one transaction per group, synced once", "transaction");
    pairs::read_back(load, &mut RedisLogReader::open(&place).expect("a reader"));
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
