//! Readers see what counts, and cost nothing once they are gone.
use super::*;
use crate::Redaction;
use crate::redact::Users;

const USER: &str = "hmac:0123456789abcdef";

/// Forgets a user in the records up to `until`.
fn forget(log: &mut KafkaLog, until: u64) {
    let users = Users::new([USER]);
    let mut after = Some(0);
    while let Some(position) = after {
        after = Redaction::redact(log, position, until, &users).expect("redacted").through;
    }
}

#[test]
fn a_forgotten_user_is_overwritten_wherever_a_reader_begins_and_whoever_forgot() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[body(1, USER.as_bytes()), body(2, USER.as_bytes())]).expect("appended");
    let mut early = KafkaLogReader::open(&world.place).expect("a reader");
    assert_eq!(early.get(1).expect("read").expect("there").body, USER.as_bytes());
    forget(&mut log, 1);
    drop(log);
    // A later writer knows the list, and adds to it.
    let mut log = world.writer();
    log.append(&[body(3, USER.as_bytes())]).expect("appended");
    let gone = b"hmac:0000000000000000".as_slice();
    let mut late = KafkaLogReader::open(&world.place).expect("a reader");
    for reader in [&mut early, &mut late] {
        assert_eq!(reader.get(1).expect("read").expect("there").body, gone);
        let records = reader.read_after(0, 1).expect("read");
        assert_eq!(records.iter().map(|record| record.body.as_slice()).collect::<Vec<_>>(), [gone]);
        let bodies: Vec<_> =
            reader.read_after(1, usize::MAX).expect("read").into_iter().map(|record| record.body).collect();
        assert_eq!(bodies, [USER.as_bytes(), USER.as_bytes()], "not counted yet");
    }
    let end = log.end().position;
    forget(&mut log, end);
    assert!(read(&world.place).expect("read").iter().all(|record| record.body == gone));
}

#[test]
fn a_reader_at_the_end_finds_what_comes_and_passes_notes_over() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    let mut reader = KafkaLogReader::open(&world.place).expect("a reader");
    let mut after = 0;
    for number in 1..=3 {
        let records = reader.read_after(after, usize::MAX).expect("read");
        assert_eq!(numbers(&records), [number]);
        after = records[0].position;
        assert_eq!(reader.read_after(after, usize::MAX).expect("read"), []);
        let id = log.id().to_owned();
        drop(log);
        log = world.again(&id).expect("opened");
        log.append(&[record(number + 1)]).expect("appended");
    }
    assert_eq!(world.numbers(), [1, 2, 3, 4]);
}

#[test]
fn a_moment_is_found_among_records_and_notes() {
    let world = World::start();
    for number in 1..=5 {
        world.writer().append(&[record(10 * number)]).expect("appended");
    }
    let mut reader = KafkaLogReader::open(&world.place).expect("a reader");
    let positions: Vec<u64> = read(&world.place).expect("read").iter().map(|record| record.position).collect();
    for (second, earlier) in
        [(1, 0), (10, 0), (11, positions[0]), (30, positions[1]), (35, positions[2]), (99, positions[4])]
    {
        assert_eq!(reader.before(Timestamp::from_secs(second)).expect("read"), earlier, "before {second} s");
    }
}

#[test]
fn a_reader_that_is_gone_has_no_connection_any_more() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    let before = world.broker.open_connections();
    for _ in 0..10 {
        read(&world.place).expect("read");
    }
    let closed = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        world.broker.open_connections() <= before
    });
    assert!(closed, "{} connections, {before} before", world.broker.open_connections());
    let id = log.id().to_owned();
    drop(log);
    for _ in 0..5 {
        drop(world.again(&id).expect("opened"));
    }
    let closed = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        world.broker.open_connections() == 0
    });
    assert!(closed, "{} connections", world.broker.open_connections());
}
