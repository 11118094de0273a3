//! The log over two brokers: the conformance suite and kills over a real one, faults by name over one that is told what to do.
mod faults;
mod looks;
mod losses;
mod readers;
mod refusals;
mod writers;

use std::sync::Arc;

use krafka::testing::FakeBroker;
use weir_clock::{Clock, SystemClock};
use weir_contract::Timestamp;
use weir_rig::kafka::Kafka;
use weir_settings::kafka::KafkaServer;

use super::{KafkaLog, KafkaLogReader, KafkaPlace, bridge};
use crate::conformance::{Bench, conformance};
use crate::{
    Admission, AppendError, Create, EventLog, Format, LogError, LogReader, NewRecord, Placement, Record, Taking,
};

/// A broker that obeys, with a log.
struct World {
    broker: Arc<FakeBroker>,
    place: KafkaPlace,
}

impl World {
    fn start() -> Self {
        let broker = bridge::wait(async { Ok(FakeBroker::start().await.expect("a broker")) }).expect("a broker");
        let place = place(&broker.bootstrap_servers());
        World { broker: Arc::new(broker), place }
    }

    fn writer(&self) -> KafkaLog {
        writer(&self.place)
    }

    /// Opens the log again as a process does whose ledger follows `id`.
    fn again(&self, id: &str) -> Result<KafkaLog, LogError> {
        KafkaLog::open(&self.place, taking("one", Create::Never(id.to_owned())), clock())
    }

    fn refusal(&self, id: &str) -> String {
        self.again(id).expect_err("refused").to_string()
    }

    fn numbers(&self) -> Vec<u64> {
        numbers(&read(&self.place).expect("read"))
    }
}

/// The conformance suite over the broker that obeys.
mod told {
    use super::*;

    impl Bench for World {
        type Log = KafkaLog;
        type Reader = KafkaLogReader;

        fn fresh() -> Self {
            World::start()
        }

        fn open(&self) -> (KafkaLog, KafkaLogReader) {
            (self.writer(), KafkaLogReader::open(&self.place).expect("a reader"))
        }
    }

    conformance!(World);
}

/// The conformance suite over a real broker.
mod real {
    use super::*;

    struct Real {
        _kafka: Kafka,
        place: KafkaPlace,
    }

    impl Bench for Real {
        type Log = KafkaLog;
        type Reader = KafkaLogReader;

        fn fresh() -> Self {
            let kafka = Kafka::start().expect("a broker; `make setup` fetches it");
            Real { place: place(&kafka.address().to_string()), _kafka: kafka }
        }

        fn open(&self) -> (KafkaLog, KafkaLogReader) {
            (writer(&self.place), KafkaLogReader::open(&self.place).expect("a reader"))
        }
    }

    conformance!(Real);
}

fn place(brokers: &str) -> KafkaPlace {
    KafkaPlace::new(KafkaServer::from(format!("kafka://{brokers}/test").as_str()))
}

fn taking(owner: &str, create: Create) -> Taking {
    Taking { owner: owner.to_owned(), holder: format!("the weir {owner}"), create }
}

fn clock() -> Arc<dyn Clock> {
    SystemClock::start()
}

fn writer(place: &KafkaPlace) -> KafkaLog {
    KafkaLog::open(place, taking("one", Create::IfMissing), clock()).expect("a log")
}

fn record(number: u64) -> NewRecord {
    body(number, format!("[{number}]").as_bytes())
}

fn body(second: u64, body: &[u8]) -> NewRecord {
    let admission = Admission { received_at: Timestamp::from_secs(second), gateway: None, forgotten_before: 0 };
    NewRecord::new(admission, Format::Batch, body)
}

fn read(place: &KafkaPlace) -> Result<Vec<Record>, LogError> {
    KafkaLogReader::open(place)?.read_after(0, usize::MAX)
}

/// The numbers of the records. Fails if one is missing between them.
fn numbers(records: &[Record]) -> Vec<u64> {
    let follows: Vec<u64> = records.iter().skip(1).map(|record| record.follows).collect();
    let positions: Vec<u64> = records.iter().map(|record| record.position).take(follows.len()).collect();
    assert_eq!(follows, positions, "each follows the one before");
    let number = |record: &Record| String::from_utf8_lossy(&record.body).trim_matches(['[', ']']).parse();
    records.iter().map(|record| number(record).expect("a number")).collect()
}

fn appended(placed: &Result<Vec<Placement>, AppendError>) -> usize {
    placed.as_ref().expect("appended").len()
}

/// Writes into the topic as somebody else does.
fn write(place: &KafkaPlace, value: Vec<u8>) {
    let client = place.connect().expect("connected");
    let producer = client.producer().expect("a producer");
    assert!(producer.append(vec![(0, value)]).is_ok());
}
