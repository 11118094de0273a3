//! One weir writes at a time.
use std::time::Duration;

use super::*;
use crate::conformance::refusal_of_a_second;

#[test]
fn a_second_weir_is_refused_while_the_first_one_lives() {
    let world = World::start();
    let mut log = world.writer();
    let place = world.place.clone();
    let second = move || KafkaLog::open(&place, taking("two", Create::IfMissing), clock()).map(drop);
    let error = refusal_of_a_second(&mut log, second);
    assert!(error.contains("the weir one writes to it"), "{error}");
    assert_eq!(appended(&log.append(&[record(1)])), 1);
    assert_eq!(world.numbers(), [1]);
}

#[test]
fn a_weir_that_was_paused_is_fenced_once_another_has_taken_over() {
    let world = World::start();
    let mut paused = world.writer();
    paused.append(&[record(1)]).expect("appended");
    let mut second = KafkaLog::open(&world.place, taking("two", Create::IfMissing), clock()).expect("nobody answers");
    second.append(&[record(2)]).expect("appended");
    let outcome = paused.append(&[record(3)]);
    assert!(matches!(&outcome, Err(AppendError::TakenOver(why)) if why.contains("taken it over")), "{outcome:?}");
    drop(paused);
    assert_eq!(appended(&second.append(&[record(4)])), 1, "what the paused one sent is dead");
    assert_eq!(world.numbers(), [1, 2, 4]);
}

#[test]
fn the_same_weir_started_again_need_not_wait_for_itself() {
    let world = World::start();
    let killed = world.writer();
    std::mem::forget(killed);
    let began = clock();
    let log = world.writer();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop(log);
    let began = clock();
    KafkaLog::open(&world.place, taking("two", Create::IfMissing), clock()).expect("given back at the end");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn a_log_that_is_restored_goes_on_at_its_own_positions() {
    let world = World::start();
    let create = Create::As("a log".to_owned(), 101);
    let mut log = KafkaLog::open(&world.place, taking("one", create), clock()).expect("a log");
    let placed = log.append(&[record(1), record(2)]).expect("appended");
    let placed: Vec<_> = placed.iter().map(|placed| (placed.position, placed.follows)).collect();
    assert_eq!(placed, [(101, Some(100)), (102, Some(101))]);
    let mut reader = KafkaLogReader::open(&world.place).expect("a reader");
    assert_eq!(reader.ends().expect("read"), (101, 102));
    assert_eq!(reader.id(), "a log");
    assert_eq!(reader.get(102).expect("read").map(|record| record.follows), Some(101));
    assert_eq!(reader.before(Timestamp::from_secs(2)).expect("read"), 101);
    assert_eq!(reader.before(Timestamp::from_secs(1)).expect("read"), 100);
    assert_eq!(reader.before(Timestamp::from_secs(9)).expect("read"), 102);
}
