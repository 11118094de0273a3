//! What fails, by name.
use std::time::Duration;

use super::*;
use weir_contract::lease::LeaseState;
use weir_rig::clock;

const CALL: &str = r#"{"gateway":"g","sent_ms":1,"draws":true,"leases":[{"key":{"owner":{"tenant":"acme"},
    "limit":"requests"},"definition":{"capacity":100,"refill":1,"period_ms":3600000},"lease":1,"want":100,"largest":1}]}"#;
/// A gateway ignores an answer that comes later.
const QUICK: Duration = Duration::from_secs(2);

fn call() -> Call {
    serde_json::from_str(CALL).expect("a call")
}

fn call_of(gateway: &str) -> Call {
    Call { gateway: gateway.to_owned(), ..call() }
}

fn granted(fleet: &Fleet<'_>, call: &Call) -> u64 {
    fleet.call(call).expect("answered").leases[0].granted
}

/// Asks until there is an answer.
fn answered(fleet: &Fleet<'_>, call: &Call) -> Answer {
    let until = clock::instant() + Duration::from_secs(10);
    loop {
        match fleet.call(call) {
            Ok(answer) => return answer,
            Err(error) => assert!(clock::instant() < until, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn several_servers_are_one_center() {
    let world = World::start();
    let (one, other) = (world.released(false), world.released(false));
    assert_eq!(granted(&one, &call()), 50);
    assert_eq!(granted(&other, &call()), 50, "the same lease, asked for again");
    assert_eq!(granted(&other, &call_of("h")), 25);
}

#[test]
fn a_redis_that_is_killed_keeps_leases_and_gets_the_script_again() {
    let mut world = World::start_with(&[]);
    let before = world.released(false).call(&call()).expect("answered");
    world.redis.kill().expect("killed");
    let asked = clock::instant();
    let error = world.released(true).call(&call()).expect_err("away");
    assert!(matches!(error, RedisLeasesError::Away(_)), "{error}");
    assert!(asked.elapsed() < QUICK);
    world.redis.restart().expect("restarted");
    let after = answered(&world.released(true), &call());
    assert_eq!((after.epoch, after.leases[0].granted), (before.epoch, 50));
}

#[test]
fn one_connection_outlives_a_redis_that_restarts() {
    let mut world = World::start_with(&[]);
    let center = {
        let _guard = world.runtime.enter();
        RedisLeases::open(&world.place("weir"), Timing::default(), false).expect("settings")
    };
    world.runtime.block_on(center.call(&call())).expect("answered");
    world.redis.restart().expect("restarted");
    let fleet = Fleet { world: &world, center };
    assert_eq!(answered(&fleet, &call()).leases[0].granted, 50);
}

#[test]
fn a_flushed_script_is_sent_again() {
    let world = World::start();
    let fleet = world.released(false);
    assert_eq!(granted(&fleet, &call()), 50);
    let () = fleet.ask(redis::cmd("SCRIPT").arg("FLUSH"));
    assert_eq!(granted(&fleet, &call()), 50);
}

#[test]
fn a_redis_that_lost_everything_begins_a_new_epoch_with_empty_limits() {
    let world = World::start();
    let fleet = world.released(false);
    let before = fleet.call(&call()).expect("answered");
    let () = fleet.ask(&redis::cmd("FLUSHALL"));
    let after = fleet.call(&call_of("h")).expect("answered");
    assert!(after.epoch > before.epoch);
    assert_eq!(after.leases[0].granted, 0);
    let late = Call {
        leases: vec![{
            let mut report = call().leases.remove(0);
            (report.epoch, report.granted) = (before.epoch, 50);
            report
        }],
        ..call()
    };
    assert_eq!(granted(&fleet, &late), 50, "a lease that is out is adopted");
}

#[test]
fn an_empty_redis_of_a_known_fleet_is_a_lost_one() {
    let world = World::start();
    assert_eq!(granted(&world.released(true), &call()), 0);
}

#[test]
fn a_slow_redis_is_given_up_quickly() {
    let world = World::start();
    let fleet = world.released(false);
    assert_eq!(granted(&fleet, &call()), 50);
    let () = fleet.ask(redis::cmd("CLIENT").arg("PAUSE").arg(5_000));
    let asked = clock::instant();
    let error = fleet.call(&call()).expect_err("slow");
    assert!(matches!(error, RedisLeasesError::Away(_)), "{error}");
    assert!(asked.elapsed() < QUICK, "{:?}", asked.elapsed());
}

#[test]
fn a_redis_that_drops_keys_is_refused() {
    let world = World::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = world.released(false).call(&call()).expect_err("unsafe").to_string();
    assert!(error.contains("maxmemory-policy is allkeys-lru") || error.contains("noeviction"), "{error}");
}

#[test]
fn a_redis_without_memory_grants_nothing() {
    let world = World::start_with(&["--appendonly", "no", "--maxmemory", "1mb"]);
    let error = world.released(false).call(&call()).expect_err("full").to_string();
    assert!(error.contains("maxmemory"), "{error}");
}

#[test]
fn a_survey_shows_who_holds_what() {
    let world = World::start();
    let fleet = world.released(false);
    assert_eq!(granted(&fleet, &call()), 50);
    let mut survey = world.runtime.block_on(fleet.center.survey(10, |_| true)).expect("a survey");
    let view = survey.limits[0].1.view(survey.now);
    assert_eq!((survey.limits.len(), view.holders[0].holds, view.tiers[0].level), (1, 50, 50));
    let none = world.runtime.block_on(fleet.center.survey(10, |key| key.limit == "tokens")).expect("a survey");
    assert!(none.limits.is_empty());
    assert_eq!(fleet.center.counts().held, 1);
}

#[test]
fn a_lease_number_is_known_to_every_server() {
    let world = World::start();
    world.released(false).call(&call()).expect("answered");
    let mut unknown = call();
    (unknown.leases[0].lease, unknown.leases[0].epoch, unknown.leases[0].granted) = (2, 1, 10);
    let answer = world.released(false).call(&unknown).expect("answered");
    assert_eq!(answer.leases[0].state, LeaseState::Lapsed);
}
