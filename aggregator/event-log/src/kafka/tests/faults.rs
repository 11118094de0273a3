//! Faults under way: nothing that was acknowledged is lost, nothing is there twice.
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, RequestInfo};

use super::*;

/// How many appends a test of random faults makes.
const APPENDS: u64 = 80;

fn once(world: &World, fault: Control) {
    world.broker.on_once(ApiKey::Produce, move |_: &RequestInfo| fault.clone());
}

fn always(world: &World, fault: Control) {
    world.broker.on(ApiKey::Produce, move |_: &RequestInfo| fault.clone());
}

fn locked(outcome: &Result<Vec<Placement>, AppendError>) -> &str {
    match outcome {
        Err(AppendError::Locked(why)) => why,
        other => panic!("expected to be refused, found {other:?}"),
    }
}

#[test]
fn an_answer_that_is_lost_leaves_its_records_once() {
    let world = World::start();
    let mut log = world.writer();
    for number in 1..=10 {
        once(&world, Control::ApplyThen(Box::new(Control::Disconnect)));
        assert_eq!(appended(&log.append(&[record(number)])), 1);
    }
    assert_eq!(world.numbers(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_the_broker_takes_twice_counts_once() {
    let world = World::start();
    // As a broker that has forgotten the producer: it appends every repeat.
    world.broker.set_idempotence(false);
    let mut log = world.writer();
    for number in 1..=5 {
        once(&world, Control::ApplyThen(Box::new(Control::Disconnect)));
        assert_eq!(appended(&log.append(&[record(2 * number - 1), record(2 * number)])), 2);
    }
    assert_eq!(world.numbers(), (1..=10).collect::<Vec<_>>());
    let all = world.broker.all_records("test").expect("read").len();
    assert!(all >= 1 + 10 + 10, "{all} entries: the claim, and each record twice at least");
}

#[test]
fn connections_cut_at_random_lose_nothing_and_double_nothing() {
    let world = World::start();
    world.broker.set_idempotence(false);
    let mut log = world.writer();
    let rng = std::sync::Mutex::new(fastrand::Rng::with_seed(7));
    world.broker.on(ApiKey::Produce, move |_: &RequestInfo| match rng.lock().expect("whole").u8(..6) {
        0 => Control::Disconnect,
        1 => Control::ApplyThen(Box::new(Control::Disconnect)),
        _ => Control::Pass,
    });
    for number in 0..APPENDS {
        assert_eq!(appended(&log.append(&[record(2 * number), record(2 * number + 1)])), 2);
    }
    assert_eq!(world.numbers(), (0..2 * APPENDS).collect::<Vec<_>>());
}

#[test]
fn too_few_in_sync_replicas_refuse_the_records_with_the_remedy_until_they_are_back() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    always(&world, Control::Error(ErrorCode::NotEnoughReplicas));
    let refused = log.append(&[record(2)]);
    assert!(locked(&refused).contains("min.insync.replicas"), "{refused:?}");
    world.broker.clear_hooks();
    assert_eq!(appended(&log.append(&[record(3)])), 1);
    assert_eq!(world.numbers(), [1, 3], "nothing of the refused one is there");
}

#[test]
fn records_that_too_few_replicas_took_are_acknowledged_once_enough_have_them() {
    let world = World::start();
    let mut log = world.writer();
    once(&world, Control::ApplyThen(Box::new(Control::Error(ErrorCode::NotEnoughReplicasAfterAppend))));
    assert_eq!(appended(&log.append(&[record(1), record(2)])), 2);
    assert_eq!(world.numbers(), [1, 2]);
}

#[test]
fn records_that_were_given_up_and_arrived_are_passed_over_by_the_next_ones() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    // Taken, and then neither answered nor shown to whoever reads.
    once(&world, Control::ApplyThen(Box::new(Control::Silence)));
    always(&world, Control::Disconnect);
    world.broker.on(ApiKey::Fetch, |_: &RequestInfo| Control::Error(ErrorCode::NotLeaderForPartition));
    let refused = log.append(&[record(2)]);
    locked(&refused);
    world.broker.clear_hooks();
    let placed = log.append(&[record(3)]);
    assert_eq!(appended(&placed), 1);
    assert_eq!(world.numbers(), [1, 2, 3]);
}

#[test]
fn a_broker_that_is_away_for_a_moment_is_waited_for() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    world.broker.crash(0);
    let broker = Arc::clone(&world.broker);
    let back = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(1_000));
        broker.restart(0);
    });
    assert_eq!(appended(&log.append(&[record(2)])), 1);
    back.join().expect("ended");
    assert_eq!(world.numbers(), [1, 2]);
}

#[test]
fn an_entry_that_arrives_late_counts_for_nothing() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    let late = world.broker.all_records("test").expect("read").pop().expect("an entry").value.expect("a value");
    let place = world.place.clone();
    write(&place, late.to_vec());
    let placed = log.append(&[record(2)]).expect("appended");
    assert_eq!(placed[0].position, 4, "behind the claim, the record, the late one, and what was sent for its place");
    assert_eq!(world.numbers(), [1, 2]);
}

#[test]
fn a_record_that_is_too_large_is_refused_with_the_setting_to_raise_and_the_next_one_is_taken() {
    let world = World::start();
    let mut log = world.writer();
    once(&world, Control::Error(ErrorCode::MessageTooLarge));
    let refused = log.append(&[record(1)]);
    assert!(matches!(&refused, Err(AppendError::Full(why)) if why.contains("max.message.bytes")), "{refused:?}");
    let mut rng = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..2_000_000).map(|_| rng.u8(..)).collect();
    let refused = log.append(&[record(2), body(1, &noise)]);
    assert!(matches!(&refused, Err(AppendError::Full(why)) if why.contains("max.message.bytes")), "{refused:?}");
    assert_eq!(appended(&log.append(&[record(3)])), 1);
    assert_eq!(world.numbers(), [3]);
}

#[test]
fn a_group_that_is_larger_than_a_batch_is_cut_and_stays_in_order() {
    let world = World::start();
    let mut log = world.writer();
    let mut rng = fastrand::Rng::with_seed(2);
    let large = |number: u64, rng: &mut fastrand::Rng| {
        let noise: String = (0..200_000).map(|_| rng.alphanumeric()).collect();
        body(number, format!("{number} {noise}").as_bytes())
    };
    let group: Vec<NewRecord> = (0..20).map(|number| large(number, &mut rng)).collect();
    assert_eq!(appended(&log.append(&group)), 20);
    let records = read(&world.place).expect("read");
    let found: Vec<u64> = records
        .iter()
        .map(|record| {
            String::from_utf8_lossy(&record.body).split(' ').next().expect("a word").parse().expect("a number")
        })
        .collect();
    assert_eq!(found, (0..20).collect::<Vec<_>>());
    assert!(world.broker.request_count(ApiKey::Produce) > 3);
}
