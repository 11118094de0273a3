//! Compares the event log in a Kafka to a bare producer of the same client, with the same bytes and the same acknowledgements, on the same
//! broker.
use std::time::Duration;

use krafka::producer::{Acks, Producer};
use krafka::{Kafka, Record};
use tokio::runtime::Runtime;
use weir_clock::SystemClock;
use weir_event_log::kafka::{KafkaLog, KafkaLogReader, KafkaPlace};
use weir_event_log::{EventLog, NewRecord};
use weir_rig::kafka::Kafka as Broker;
use weir_settings::kafka::KafkaServer;

use crate::pairs::{self, Load, Pairs, ROUNDS};

/// Bytes that the log adds to a body: a header and the log's name.
const HEADER_BYTES: usize = 94 + 32;

pub(crate) fn run() {
    pairs::each_shape("kafka", "acks=all, idempotent", shape);
}

fn shape(load: &Load) {
    let broker = Broker::start().expect("a broker; `make setup` fetches it");
    broker.create_topic("bare", 1).expect("a topic");
    let place = KafkaPlace::new(KafkaServer::from(broker.url("weir").as_str()));
    let mut log = KafkaLog::open(&place, pairs::taking(), SystemClock::start()).expect("a log");
    let (bare, mut both) = (Bare::connect(&broker), Pairs::default());
    for _ in 0..ROUNDS {
        let floor = pairs::round(load, |records| bare.append(records));
        both.add(floor, pairs::round(load, |records| drop(log.append(records).expect("appended"))));
    }
    both.show(load, "  bare producer, one batch per group", "producer");
    pairs::read_back(load, &mut KafkaLogReader::open(&place).expect("a reader"));
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
