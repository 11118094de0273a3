//! A log that lost something is refused, by its writer, its readers and a new start; it is never taken for a new one.
use krafka::testing::{ApiKey, Control, RequestInfo};
use weir_clock::ManualClock;

use super::*;
use crate::Checkpoint;

/// A log with five records, and its name.
fn five(world: &World) -> (KafkaLog, String) {
    let mut log = world.writer();
    (1..=5).for_each(|number| assert_eq!(appended(&log.append(&[record(number)])), 1));
    let id = log.id().to_owned();
    (log, id)
}

fn broken(outcome: Result<Vec<Placement>, AppendError>) -> String {
    match outcome {
        Err(AppendError::Lost(why) | AppendError::Broken(why)) => why,
        other => panic!("expected to be broken, found {other:?}"),
    }
}

/// Takes the last batches away, as an unclean election does.
fn cut(world: &World, batches: usize) {
    world.broker.with_state(|state| {
        let partition = state.partition_mut("test", 0).expect("a partition");
        let kept = partition.log.len() - batches;
        partition.log.truncate(kept);
        partition.next_offset -= i64::try_from(batches).expect("few");
        partition.producers.clear();
    });
}

#[test]
fn a_deleted_topic_takes_nothing_more_and_is_not_made_anew() {
    let world = World::start();
    let (mut log, id) = five(&world);
    let mut reader = KafkaLogReader::open(&world.place).expect("a reader");
    assert!(world.broker.delete_topic("test"));
    let refused = log.append(&[record(6)]);
    assert!(matches!(&refused, Err(AppendError::Locked(why)) if why.contains("test")), "{refused:?}");
    assert!(reader.read_after(5, 1).is_err());
    assert!(world.refusal(&id).contains("there is none"), "{}", world.refusal(&id));
    assert!(world.broker.create_topic("test", 1));
    assert!(broken(log.append(&[record(6)])).contains("ends at offset 0"));
    assert!(world.refusal(&id).contains("there is none"), "an empty one is none");
}

#[test]
fn another_log_in_its_place_is_refused() {
    let world = World::start();
    let (mut log, id) = five(&world);
    let mut reader = KafkaLogReader::open(&world.place).expect("a reader");
    world.broker.delete_topic("test");
    world.broker.create_topic("test", 1);
    let mut other = KafkaLog::open(&world.place, taking("two", Create::IfMissing), clock()).expect("a new one");
    (1..=9).for_each(|number| drop(other.append(&[record(number)]).expect("appended")));
    assert!(broken(log.append(&[record(6)])).contains("another one"));
    assert!(reader.read_after(5, 1).expect_err("refused").to_string().contains("another one"));
    drop((log, other));
    assert!(world.refusal(&id).contains("another one"));
}

#[test]
fn a_log_that_lost_its_end_is_refused_by_writer_and_reader() {
    let world = World::start();
    let (mut log, id) = five(&world);
    let mut reader = KafkaLogReader::open(&world.place).expect("a reader");
    cut(&world, 2);
    let error = reader.read_after(5, 1).expect_err("refused").to_string();
    assert!(error.contains("ends at offset 4") && error.contains("weir restore"), "{error}");
    let why = broken(log.append(&[record(6)]));
    assert!(why.contains("ends at offset 4") && why.contains("were acknowledged"), "{why}");
    drop(log);
    // Whoever knows more of it, the ledger, refuses it by this end.
    assert_eq!(world.again(&id).expect("opened").end().position, 3);
}

#[test]
fn a_record_that_is_missing_in_the_middle_is_seen() {
    let world = World::start();
    let (_log, _) = five(&world);
    world.broker.with_state(|state| state.partition_mut("test", 0).expect("a partition").log.remove(3));
    let records = read(&world.place).expect("read");
    assert!(records.windows(2).any(|pair| pair[1].follows != pair[0].position), "{records:?}");
}

#[test]
fn an_entry_that_somebody_else_wrote_is_refused() {
    let world = World::start();
    let (mut log, _) = five(&world);
    write(&world.place, b"hello".to_vec());
    assert!(broken(log.append(&[record(6)])).contains("did not write"));
    let error = read(&world.place).expect_err("refused").to_string();
    assert!(error.contains("record 6 is damaged"), "{error}");
}

#[test]
fn a_flipped_byte_is_found_by_a_checksum() {
    let world = World::start();
    let (_log, _) = five(&world);
    world.broker.on(ApiKey::Fetch, |_: &RequestInfo| Control::CorruptRecords);
    let error = read(&world.place).expect_err("refused").to_string();
    assert!(error.to_lowercase().contains("crc"), "{error}");
    world.broker.clear_hooks();
    // One that Kafka did not notice: its own checksum fits.
    let mut value =
        world.broker.all_records("test").expect("read").pop().expect("an entry").value.expect("a value").to_vec();
    if let Some(byte) = value.last_mut() {
        *byte ^= 1;
    }
    write(&world.place, value);
    let error = read(&world.place).expect_err("refused").to_string();
    assert!(error.contains("record 6 is damaged (its checksum does not match)"), "{error}");
}

#[test]
fn a_topic_that_got_more_partitions_takes_nothing_more_and_is_refused() {
    let world = World::start();
    let clock = ManualClock::at(Timestamp::from_secs(1));
    let mut log = KafkaLog::open(&world.place, taking("one", Create::IfMissing), Arc::clone(&clock) as Arc<dyn Clock>)
        .expect("a log");
    log.append(&[record(1)]).expect("appended");
    world.broker.add_partitions("test", 3);
    clock.advance(std::time::Duration::from_secs(60));
    Checkpoint::checkpoint(&mut log).expect("looked");
    let refused = log.append(&[record(2)]);
    assert!(matches!(&refused, Err(AppendError::Locked(why)) if why.contains("3 partitions")), "{refused:?}");
    let id = log.id().to_owned();
    drop(log);
    assert!(world.refusal(&id).contains("3 partitions"));
    assert_eq!(world.numbers(), [1]);
}

#[test]
fn records_that_the_topic_dropped_are_no_loss() {
    let world = World::start();
    let (log, id) = five(&world);
    drop(log);
    world.broker.with_state(|state| {
        let partition = state.partition_mut("test", 0).expect("a partition");
        partition.log.drain(..4);
        partition.log_start_offset = 4;
    });
    let mut log = world.again(&id).expect("opened");
    assert_eq!(appended(&log.append(&[record(6)])), 1);
    assert_eq!(world.numbers(), [4, 5, 6]);
    let mut reader = KafkaLogReader::open(&world.place).expect("a reader");
    assert_eq!(reader.ends().expect("read"), (4, log.end().position));
    assert_eq!(reader.get(2).expect("read"), None);
}
