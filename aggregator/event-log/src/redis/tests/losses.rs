//! A log that lost something is refused, by its writer, its readers and a new start; it is never taken for a new one.
use super::*;
use crate::Retention;

/// A log with five records, and its name.
fn five(world: &World) -> (RedisLog, String) {
    let mut log = world.writer();
    (1..=5).for_each(|number| assert_eq!(last(log.append(&[record(number)])), number));
    let id = log.id().to_owned();
    (log, id)
}

fn is_broken(outcome: Result<Vec<Placement>, AppendError>) -> String {
    match outcome {
        Err(AppendError::Lost(why) | AppendError::Broken(why)) => why,
        other => panic!("expected to be broken, found {other:?}"),
    }
}

#[test]
fn a_deleted_stream_takes_nothing_more_and_is_not_made_anew() {
    let world = World::start();
    let (mut log, id) = five(&world);
    let mut reader = RedisLogReader::open(&world.place).expect("a reader");
    world.redis.command("DEL weir:log:{test/0}:stream").expect("deleted");
    is_broken(log.append(&[record(6)]));
    let error = reader.read_after(2, 1).expect_err("refused").to_string();
    assert!(error.contains("weir restore"), "{error}");
    drop(log);
    assert!(world.refusal(&id).contains("0 entries"), "{}", world.refusal(&id));
}

#[test]
fn an_emptied_server_is_refused_by_writer_reader_and_start() {
    let world = World::start();
    let (mut log, id) = five(&world);
    let mut reader = RedisLogReader::open(&world.place).expect("a reader");
    world.redis.command("FLUSHALL").expect("emptied");
    assert!(is_broken(log.append(&[record(6)])).contains("gone"));
    assert!(reader.read_after(0, 1).is_err());
    drop(log);
    assert!(world.refusal(&id).contains("there is none"));
}

#[test]
fn another_log_in_its_place_is_refused() {
    let world = World::start();
    let (mut log, id) = five(&world);
    let mut reader = RedisLogReader::open(&world.place).expect("a reader");
    world.redis.command("FLUSHALL").expect("emptied");
    let other = RedisLog::open(&world.place, taking("two", Create::IfMissing), clock()).expect("a new one");
    assert!(is_broken(log.append(&[record(6)])).contains("another one"));
    assert!(reader.read_after(0, 1).is_err());
    drop((log, other));
    assert!(world.refusal(&id).contains("another one"));
}

#[test]
fn a_missing_entry_in_the_middle_is_refused() {
    let world = World::start();
    let (mut log, id) = five(&world);
    world.redis.command("XDEL weir:log:{test/0}:stream 3-0").expect("deleted");
    let records = read(&world.place).expect("read");
    assert!(records.windows(2).any(|pair| pair[1].follows != pair[0].position), "the gap is seen");
    assert!(is_broken(log.append(&[record(6)])).contains("missing"));
    drop(log);
    assert!(world.refusal(&id).contains("4 entries"));
}

#[test]
fn an_entry_that_somebody_else_wrote_is_refused() {
    let world = World::start();
    let (mut log, _) = five(&world);
    world.redis.command("XADD weir:log:{test/0}:stream 6-0 h x b y").expect("added");
    assert!(is_broken(log.append(&[record(6)])).contains("did not write"));
    let error = read(&world.place).expect_err("refused").to_string();
    assert!(error.contains("record 6 is damaged"), "{error}");
}

#[test]
fn a_truncated_file_lost_acknowledged_records_and_the_writer_says_so() {
    let mut world = World::start();
    let (mut log, _) = five(&world);
    world.redis.kill().expect("killed");
    let file = world.redis.growing_file().expect("a file");
    let length = std::fs::metadata(&file).expect("a file").len();
    std::fs::OpenOptions::new().write(true).open(&file).and_then(|file| file.set_len(length - 100)).expect("cut");
    world.redis.restart().expect("started");
    let why = is_broken(log.append(&[record(6)]));
    assert!(why.contains("ends at record 4") && why.contains("record 5 was acknowledged"), "{why}");
    assert_eq!(numbers(&world.bodies()), [1, 2, 3, 4], "a group is there whole or not at all");
}

#[test]
fn a_flipped_byte_that_redis_loads_is_found_by_its_checksum() {
    let mut world = World::start();
    let mut log = world.writer();
    log.append(&[body(1, b"[\"a marker to be found\"]"), record(2)]).expect("appended");
    world.redis.kill().expect("killed");
    let file = world.redis.growing_file().expect("a file");
    let mut bytes = std::fs::read(&file).expect("read");
    let at = bytes.windows(8).position(|part| part == b"a marker").expect("there");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    world.redis.restart().expect("started");
    let error = read(&world.place).expect_err("damaged").to_string();
    assert!(error.contains("record 1 is damaged (its checksum does not match)"), "{error}");
    assert_eq!(last(log.append(&[record(3)])), 3, "what comes later is taken");
}

#[test]
fn pruned_records_are_no_loss() {
    let world = World::start();
    let (mut log, id) = five(&world);
    assert_eq!(log.prune(3, Timestamp::from_secs(99)), Ok(3));
    drop(log);
    let mut log = world.again(&id).expect("opened");
    assert_eq!(last(log.append(&[record(6)])), 6);
    assert_eq!(numbers(&world.bodies()), [4, 5, 6]);
    assert_eq!(RedisLogReader::open(&world.place).expect("a reader").ends().expect("read"), (4, 6));
}
