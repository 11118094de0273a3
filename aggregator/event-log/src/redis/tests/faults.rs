//! Faults under way: nothing that was acknowledged is lost, nothing is there twice.
use std::process::Command;
use std::time::Duration;

use weir_rig::cutter::Cutter;

use super::*;

/// How many appends and cuts a test of random cuts sees at least.
const APPENDS_MIN: u64 = 60;
const CUTS_MIN: u64 = 20;

/// Appends behind a proxy, and the log read back without it.
fn through_a_cutter(world: &World) -> (Cutter, RedisLog) {
    let cutter = Cutter::start(world.redis.address()).expect("a proxy");
    let log = writer(&place(&format!("redis://{}", cutter.address())));
    (cutter, log)
}

#[test]
fn an_answer_that_is_lost_leaves_its_records_once() {
    let world = World::start();
    let (cutter, mut log) = through_a_cutter(&world);
    log.append(&[record(1)]).expect("appended");
    for number in 2..=10 {
        let cuts = cutter.cuts();
        cutter.cut_after(0);
        let placed = log.append(&[record(number)]).expect("asked again");
        assert_eq!(placed, [Placement { position: number, follows: Some(number - 1) }]);
        assert!(cutter.wait_for_cut(cuts, Duration::from_secs(1)), "the answer was lost");
    }
    assert_eq!(numbers(&world.bodies()), (1..=10).collect::<Vec<_>>());
}

#[test]
fn connections_cut_at_random_lose_nothing_and_double_nothing() {
    let world = World::start();
    let (cutter, mut log) = through_a_cutter(&world);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut number = 0;
    // Cut after bytes and not after time, which a busy machine stretches.
    while number < APPENDS_MIN || cutter.cuts() < CUTS_MIN {
        if rng.bool() {
            cutter.cut_after(rng.u64(0..400));
        }
        number += 1;
        log.append(&[record(number), record(number)]).expect("asked again");
    }
    let expected: Vec<u64> = (1..=number).flat_map(|number| [number, number]).collect();
    assert_eq!(numbers(&world.bodies()), expected);
}

#[test]
fn a_group_that_was_given_up_and_arrived_is_passed_over_by_the_next_one() {
    let world = World::start();
    let (cutter, mut log) = through_a_cutter(&world);
    log.append(&[record(1)]).expect("appended");
    cutter.cut_after(0);
    let refusing = std::thread::spawn(move || {
        assert!(cutter.wait_for_cut(0, Duration::from_secs(5)));
        cutter.refuse(true);
        cutter
    });
    let refused = log.append(&[record(2)]);
    assert!(matches!(refused, Err(AppendError::Locked(_))), "{refused:?}");
    let cutter = refusing.join().expect("ended");
    cutter.refuse(false);
    let placed = log.append(&[record(3)]).expect("appended");
    assert_eq!(placed, [Placement { position: 3, follows: Some(2) }]);
    assert_eq!(numbers(&world.bodies()), [1, 2, 3]);
}

#[test]
fn a_killed_server_has_every_acknowledged_record_once() {
    let mut world = World::start();
    let place = world.place.clone();
    let writing = std::thread::spawn(move || {
        let mut log = writer(&place);
        let began = clock();
        let (mut number, mut acknowledged) = (0, Vec::new());
        while began.elapsed() < Duration::from_secs(4) {
            number += 1;
            if log.append(&[record(number)]).is_ok() {
                acknowledged.push(number);
            }
        }
        acknowledged
    });
    for pause in [700, 600, 500] {
        std::thread::sleep(Duration::from_millis(pause));
        world.redis.kill().expect("killed");
        world.redis.restart().expect("started");
    }
    let acknowledged = writing.join().expect("ended");
    assert_eq!(numbers(&world.bodies()), acknowledged);
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
}

#[test]
fn a_full_memory_refuses_the_whole_group_and_takes_the_next_one_that_fits() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    world.redis.command("CONFIG SET maxmemory 3mb").expect("set");
    let large: Vec<NewRecord> = (0..40).map(|seed| body(1, &noise(seed, 100_000))).collect();
    let mut taken = 1;
    let refused = loop {
        match log.append(&large) {
            Ok(_) => taken += 40,
            Err(error) => break error,
        }
        assert!(taken < 1_000, "it is never full");
    };
    assert!(matches!(&refused, AppendError::Full(why) if why.contains("maxmemory")), "{refused}");
    assert_eq!(world.bodies().len(), taken, "nothing of the refused group is there");
    world.redis.command("CONFIG SET maxmemory 0").expect("set");
    let placed = log.append(&[record(2)]).expect("appended");
    assert_eq!(placed, [Placement { position: taken as u64 + 1, follows: Some(taken as u64) }]);
}

#[test]
fn a_server_that_turns_undurable_acknowledges_nothing_until_it_is_mended() {
    let world = World::start();
    let (cutter, mut log) = through_a_cutter(&world);
    log.append(&[record(1)]).expect("appended");
    world.redis.command("CONFIG SET appendfsync everysec").expect("set");
    cutter.cut();
    let refused = log.append(&[record(2)]);
    assert!(matches!(&refused, Err(AppendError::Locked(why)) if why.contains("appendfsync")), "{refused:?}");
    world.redis.command("CONFIG SET appendfsync always").expect("set");
    assert_eq!(last(log.append(&[record(3)])), 2);
    assert_eq!(numbers(&world.bodies()), [1, 3]);
}

#[test]
fn a_server_that_loads_its_data_is_waited_for() {
    let mut world = World::start();
    let mut log = world.writer();
    for seed in 0..40 {
        log.append(&[body(1, &noise(seed, 200_000))]).expect("appended");
    }
    let id = log.id().to_owned();
    drop(log);
    world.redis.command("CONFIG SET key-load-delay 30000").expect("set");
    world.redis.kill().expect("killed");
    world.redis.restart_at_once().expect("started");
    let opened = (0..200).find_map(|_| match world.again(&id) {
        Err(error) if error.to_string().contains("see that it runs") => {
            std::thread::sleep(Duration::from_millis(20));
            None
        }
        opened => Some(opened),
    });
    assert_eq!(opened.expect("it listens").expect("loaded").end().position, 40);
}

#[test]
fn replicas_that_are_asked_for_have_every_acknowledged_record() {
    let master = World::start_with(&["--appendfsync", "no"]);
    let port = master.redis.address().port();
    let asked = RedisPlace { replicas: 1, ..master.place.clone() };
    let alone = RedisLog::open(&asked, taking("one", Create::IfMissing), clock()).expect_err("no replica").to_string();
    assert!(alone.contains("0 replicas are connected"), "{alone}");
    let mut replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {port}")]).expect("a replica");
    let opened = (0..200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        RedisLog::open(&asked, taking("one", Create::IfMissing), clock()).ok()
    });
    let mut log = opened.expect("the replica connects");
    log.append(&[record(1)]).expect("appended");
    assert_eq!(
        numbers(&read(&place(&replica.url())).expect("read").into_iter().map(|r| r.body).collect::<Vec<_>>()),
        [1]
    );
    replica.kill().expect("killed");
    let refused = log.append(&[record(2)]);
    assert!(matches!(&refused, Err(AppendError::Locked(why)) if why.contains("replicas")), "{refused:?}");
}

#[test]
fn a_server_whose_disk_is_full_ends_and_keeps_every_acknowledged_record() {
    let mut world = World::start();
    let mut log = world.writer();
    // Files may not grow beyond this: the write of a larger one fails, as on a full disk.
    let limit = format!("--fsize={}", 300_000);
    let limited = Command::new("prlimit").args(["--pid", &world.redis.pid().to_string(), &limit]).status();
    assert!(limited.expect("prlimit runs").success());
    let mut acknowledged = 0;
    let refused = loop {
        match log.append(&[record(acknowledged + 1), body(1, &noise(acknowledged, 20_000))]) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 100, "it is never full");
    };
    assert!(matches!(&refused, AppendError::Locked(why) if why.contains("see that it runs")), "{refused}");
    assert!(acknowledged > 5, "{acknowledged}");
    world.redis.restart().expect("started");
    assert_eq!(world.bodies().len() as u64, 2 * acknowledged, "nothing of the refused group is there");
    let placed = log.append(&[record(99)]).expect("appended");
    assert_eq!(placed, [Placement { position: 2 * acknowledged + 1, follows: Some(2 * acknowledged) }]);
}

#[test]
fn a_server_that_was_turned_into_a_replica_is_not_written_to_until_it_is_the_primary_again() {
    let world = World::start();
    let mut log = world.writer();
    log.append(&[record(1)]).expect("appended");
    let other = World::start();
    let port = other.redis.address().port();
    // Not connected to the other one yet, it keeps its data.
    world.redis.command("CONFIG SET repl-diskless-load disabled").expect("set");
    other.redis.command("CONFIG SET requirepass x").expect("set");
    world.redis.command(&format!("REPLICAOF 127.0.0.1 {port}")).expect("demoted");
    let refused = log.append(&[record(2)]);
    assert!(matches!(&refused, Err(AppendError::Locked(why)) if why.contains("replica")), "{refused:?}");
    world.redis.command("REPLICAOF NO ONE").expect("promoted");
    assert_eq!(last(log.append(&[record(3)])), 2);
    assert_eq!(numbers(&world.bodies()), [1, 3]);
}
