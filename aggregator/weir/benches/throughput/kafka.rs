//! Compares the event log in a Kafka to a bare producer of the same client, with the same bytes and the same acknowledgements, on the same
//! broker.
use std::time::{Duration, Instant};

use krafka::producer::{Acks, Producer};
use krafka::{Kafka, Record};
use tokio::runtime::Runtime;
use weir_clock::SystemClock;
use weir_event_log::kafka::{KafkaLog, KafkaLogReader, KafkaPlace};
use weir_event_log::{Create, EventLog, LogReader, NewRecord, Taking};
use weir_ledger::validate::{Admission, Format};
use weir_rig::kafka::Kafka as Broker;
use weir_settings::kafka::KafkaServer;

use crate::events;

/// Bodies per group, events per body, groups per round.
const SHAPES: [(u64, u64, u64); 3] = [(1, 100, 100), (16, 100, 60), (8, 1_000, 20)];
/// Rounds of each side, in turn: a machine has good and bad seconds.
const ROUNDS: u32 = 7;
/// Bytes that the log adds to a body: a header and the log's name.
const HEADER_BYTES: usize = 94 + 32;

pub(crate) fn run() {
    let start = events::start();
    let admission = Admission { received_at: start, gateway: None, forgotten_before: 0 };
    for (bodies, size, groups) in SHAPES {
        let plain: Vec<Vec<u8>> = (0..bodies).map(|n| events::batch(1, n, size, start)).collect();
        let records: Vec<NewRecord> = plain.iter().map(|body| NewRecord::new(admission, Format::Batch, body)).collect();
        let packed: usize = records.iter().map(NewRecord::packed_bytes).sum();
        let each = packed as u64 / (bodies * size);
        println!(
            "kafka: groups of {bodies} bodies of {size} events; {each} bytes an event, packed; acks=all, idempotent"
        );
        shape(&records, bodies * size * groups, groups);
    }
}

fn shape(records: &[NewRecord], events: u64, groups: u64) {
    let broker = Broker::start().expect("a broker; `make setup` fetches it");
    broker.create_topic("bare", 1).expect("a topic");
    let place = KafkaPlace::new(KafkaServer::from(broker.url("weir").as_str()));
    let taking = Taking { owner: "bench".to_owned(), holder: "the benchmark".to_owned(), create: Create::IfMissing };
    let mut log = KafkaLog::open(&place, taking, SystemClock::start()).expect("a log");
    let bare = Bare::connect(&broker);
    let (mut floors, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let floor = timed(|| (0..groups).for_each(|_| bare.append(records)));
        let own = timed(|| (0..groups).for_each(|_| drop(log.append(records).expect("appended"))));
        ratios.push(floor.as_secs_f64() / own.as_secs_f64());
        floors.push(floor);
        ours.push(own);
    }
    show("  bare producer, one batch per group", events, &mut floors);
    show("  weir's log", events, &mut ours);
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2] * 100.0;
    println!("  weir's log to the bare producer: {median:.0} % (median of {ROUNDS} pairs)");
    let (mut reader, mut read) = (KafkaLogReader::open(&place).expect("a reader"), 0);
    let took = timed(|| {
        let mut after = 0;
        loop {
            let records = reader.read_after(after, 8 * 1024 * 1024).expect("read");
            let Some(last) = records.last() else { break };
            (after, read) = (last.position, read + records.len() as u64);
        }
    });
    assert_eq!(read, groups * records.len() as u64 * u64::from(ROUNDS));
    crate::print("  read back, checked and unpacked", events * u64::from(ROUNDS), took);
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

/// A bare producer: one connection, a group per batch, values of the same size.
struct Bare {
    runtime: Runtime,
    producer: Producer,
}

impl Bare {
    fn connect(broker: &Broker) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let address = broker.address().to_string();
        let producer = runtime.block_on(async {
            let kafka = Kafka::builder(address).connect().await.expect("connected");
            let producer = kafka.producer().acks(Acks::All).idempotent(true).linger(Duration::from_secs(1));
            producer.batch_size(16 * 1024 * 1024).metrics_push(false).build().await.expect("a producer")
        });
        Bare { runtime, producer }
    }

    fn append(&self, records: &[NewRecord]) {
        self.runtime.block_on(async {
            let mut handles = Vec::with_capacity(records.len());
            for record in records {
                let value = [&[0_u8; HEADER_BYTES], record.packed()].concat();
                handles.push(self.producer.enqueue(Record::new("bare", value).partition(0)).await.expect("queued"));
            }
            self.producer.flush().await.expect("sent");
            for handle in handles {
                let _placed = handle.await.expect("acknowledged");
            }
        });
    }
}
