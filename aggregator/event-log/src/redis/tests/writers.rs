//! One weir writes at a time.
use super::*;
use crate::conformance::refusal_of_a_second;

#[test]
fn a_second_weir_is_refused_while_the_first_one_lives() {
    let world = World::start();
    let mut log = world.writer();
    let place = world.place.clone();
    let second = move || RedisLog::open(&place, taking("two", Create::IfMissing), clock()).map(drop);
    let error = refusal_of_a_second(&mut log, second);
    assert!(error.contains("the weir one writes to it"), "{error}");
    assert_eq!(last(log.append(&[record(1)])), 1);
}

#[test]
fn a_weir_that_was_paused_is_fenced_once_another_has_taken_over() {
    let world = World::start();
    let mut paused = world.writer();
    paused.append(&[record(1)]).expect("appended");
    let mut second = RedisLog::open(&world.place, taking("two", Create::IfMissing), clock()).expect("after the lease");
    second.append(&[record(2)]).expect("appended");
    for outcome in [paused.append(&[record(3)]).map(drop), paused.renew_now()] {
        assert!(matches!(&outcome, Err(AppendError::TakenOver(why)) if why.contains("taken it over")), "{outcome:?}");
    }
    drop(paused);
    assert_eq!(last(second.append(&[record(4)])), 3, "the paused one took nothing with it");
    assert_eq!(numbers(&world.bodies()), [1, 2, 4]);
}

#[test]
fn the_same_weir_started_again_need_not_wait_for_its_own_lease() {
    let world = World::start();
    let killed = world.writer();
    std::mem::forget(killed);
    let began = clock();
    let log = world.writer();
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    drop(log);
    RedisLog::open(&world.place, taking("two", Create::IfMissing), clock()).expect("given back at the end");
}

#[test]
fn a_log_is_moved_aside_only_when_nobody_writes_to_it() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    let error = super::super::move_aside(&world.place).expect_err("in use").to_string();
    assert!(error.contains("the weir one"), "{error}");
    drop(log);
    super::super::move_aside(&world.place).expect("moved");
    assert!(RedisLogReader::open(&world.place).is_err(), "it is gone");
    let aside = RedisPlace { name: "test.replaced".to_owned(), ..world.place.clone() };
    assert_eq!(read(&aside).expect("read").len(), 1);
}
