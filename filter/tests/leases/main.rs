//! Limits of the whole fleet: gateways with several workers draw from leases, renew them over a network that loses, repeats and
//! delays, and all of them together admit what one bucket would, and no more.
mod center;
mod fleet;
mod gateway;
mod oracle;
mod real;

use center::Serve;
use fleet::{Fleet, Trouble};
use gateway::{Answered, Gateway, compile};
use real::Real;
use serde_json::{Value, json};

/// Seeds of each property: 60, or what `WEIR_FLEET_SEEDS` says, a count or one seed as `N..`.
#[expect(clippy::disallowed_methods, reason = "the one setting of this test: how long it searches")]
fn seeds(first: u64) -> std::ops::Range<u64> {
    let text = std::env::var("WEIR_FLEET_SEEDS").unwrap_or_default();
    match (text.strip_suffix("..").and_then(|seed| seed.parse().ok()), text.parse::<u64>()) {
        (Some(seed), _) => seed..seed + 1,
        (None, Ok(count)) => first..first + count,
        (None, Err(_)) => first..first + 60,
    }
}

#[test]
fn a_fleet_without_trouble_admits_nearly_what_one_bucket_would() {
    for gateways in [1, 2, 4, 8, 16] {
        let mut fleet = Fleet::new(gateways as u64, gateways, (1_000, 500), Real::new(), Trouble::default());
        let share = fleet.run_at_demand(2_000, 60_000);
        println!("{gateways} gateways: {share} thousandths of the ideal");
        assert!(share >= 950, "{gateways} gateways: {share}");
    }
}

/// A run of a seed, with the center of the product or a simple one. Every other one settles its requests.
fn run(seed: u64, center: impl Serve, trouble: Trouble) {
    Fleet::new(seed, 1 + seed as usize % 7, size(seed), center, trouble).run(40_000, seed % 2 == 1);
}

fn size(seed: u64) -> (u64, u64) {
    (40 + seed % 100, 1 + seed % 60)
}

#[test]
fn whatever_the_network_does_the_fleet_never_exceeds_one_bucket() {
    let trouble = Trouble { network: true, ..Trouble::default() };
    for seed in seeds(0) {
        let (capacity, refill) = size(seed);
        run(seed, center::Center::new(capacity, refill, 1_000), trouble);
        run(seed, Real::new(), trouble);
    }
}

#[test]
fn workers_that_die_stores_that_are_wiped_and_clocks_that_jump_never_exceed_one_bucket() {
    let trouble = Trouble { network: true, kills: true, clocks: true, center: true };
    for seed in seeds(1_000_000) {
        run(seed, Real::new(), trouble);
    }
}

#[test]
fn a_limit_of_the_fleet_that_nobody_could_keep_is_refused() {
    let directory = json!({"directory": {"cluster": "weir", "token": "fleet-token-0123456789"}});
    let of =
        |limit: Value, fields: &Value| compile(&json!({"requests": limit}), fields).map_err(|error| error.to_string());
    let refused = |limit: Value, fields: &Value, part: &str| {
        let error = of(limit, fields).expect_err("refused");
        assert!(error.contains(part), "{error}");
    };
    refused(json!({"rate": "1/s", "scope": "fleet"}), &json!({}), "give `leases` or `directory`");
    refused(json!({"rate": "1/s", "unreachable": "open"}), &directory, "add `scope: fleet`");
    refused(json!({"rate": "1/40d", "scope": "fleet"}), &directory, "plans.p.requests");
    let slow = json!({"leases": {"cluster": "weir", "token": "fleet-token-0123456789", "timeout": "3s"}});
    refused(json!({"rate": "1/s", "scope": "fleet"}), &slow, "leases.timeout");
    let policy = of(json!({"rate": "1/s", "scope": "fleet"}), &directory).expect("a policy");
    assert_eq!(policy.center.map(|center| center.path.to_string()).as_deref(), Some("/v1/leases"));
    assert!(of(json!({"rate": "1/s"}), &directory).expect("a policy").center.is_some(), "it may bring hard budgets");
    let leases = json!({"leases": {"cluster": "weir", "token": "fleet-token-0123456789"}});
    assert!(of(json!({"rate": "1/s"}), &leases).expect("a policy").center.is_none(), "no limit needs one");
}

fn plan(unreachable: &str) -> Value {
    json!({"requests": {"rate": "10/s", "capacity": 100, "scope": "fleet", "unreachable": unreachable}})
}

#[test]
fn a_gateway_that_cannot_reach_the_center_spends_its_lease_and_then_refuses() {
    let mut gateway = Gateway::new(1, 2, &plan("refuse"));
    let mut center = center::Center::new(100, 10, 1_000);
    assert_eq!(gateway.request(0, 1), Answered::Short, "nothing is held yet");
    gateway.exchange(&mut center);
    let held = (0..).take_while(|_| gateway.request(0, 1) == Answered::Admitted).count();
    assert_eq!(held, 50, "half of the capacity, since nobody else holds any");
    gateway.fail_calls();
    assert_eq!(gateway.request(0, 1), Answered::Unreachable);
    gateway.pass(1_000);
    gateway.exchange(&mut center);
    assert_eq!(gateway.request(1, 1), Answered::Admitted, "both workers share the lease");
}

#[test]
fn an_open_limit_admits_and_tells_where_from() {
    let mut gateway = Gateway::new(1, 1, &plan("open"));
    assert_eq!(gateway.request(0, 1), Answered::Short, "the center has not been asked yet");
    gateway.fail_calls();
    assert_eq!(gateway.request(0, 1), Answered::Open);
    let mut center = center::Center::new(100, 10, 1_000);
    gateway.pass(1_000);
    gateway.exchange(&mut center);
    assert_eq!(gateway.request(0, 1), Answered::Admitted);
}

#[test]
fn the_share_begins_empty_when_the_lease_ends_and_ends_with_the_next_answer() {
    let mut gateway = Gateway::new(1, 1, &plan("share"));
    let mut center = center::Center::new(100, 10, 1_000);
    center.sharers = 2;
    gateway.request(0, 1);
    gateway.exchange(&mut center);
    gateway.request(0, 1);
    gateway.fail_for(10_000);
    assert_eq!(gateway.request(0, 1), Answered::Unreachable, "it begins empty");
    gateway.fail_for(1_000);
    let admitted = (0..).take_while(|_| gateway.request(0, 1) == Answered::Shared).count();
    assert_eq!(admitted, 5, "half of the refill");
    gateway.fail_for(20_000);
    let admitted = (0..).take_while(|_| gateway.request(0, 1) == Answered::Shared).count();
    assert_eq!(admitted, 25, "a quarter of the capacity");
    gateway.fail_for(1_000);
    gateway.pass(5_000);
    assert_eq!(gateway.request(0, 1), Answered::Unreachable, "the clock may have jumped");
    gateway.pass(1_000);
    gateway.exchange(&mut center);
    assert_eq!(gateway.request(0, 1), Answered::Admitted, "a new lease");
}

#[test]
fn an_answer_that_comes_too_late_or_twice_grants_nothing() {
    let mut gateway = Gateway::new(1, 1, &plan("refuse"));
    let mut center = center::Center::new(100, 10, 1_000);
    gateway.request(0, 1);
    let (call, answer) = gateway.call(&mut center).expect("a call");
    gateway.pass(2_001);
    gateway.answer(0, call, &answer);
    assert_eq!(gateway.request(0, 1), Answered::Short);
    gateway.exchange(&mut center);
    let held = (0..).take_while(|_| gateway.request(0, 1) == Answered::Admitted).count();
    assert_eq!(held, 50, "the center repeats what it had granted, and grants nothing more");
}

#[test]
fn a_lease_ends_on_time_and_under_a_clock_that_goes_back() {
    for back in [false, true] {
        let mut gateway = Gateway::new(1, 1, &plan("refuse"));
        let mut center = center::Center::new(100, 10, 1_000);
        gateway.pass(60_000);
        gateway.request(0, 1);
        gateway.exchange(&mut center);
        assert_eq!(gateway.request(0, 1), Answered::Admitted);
        if back {
            gateway.clock_back(5_000);
            assert!(gateway.call(&mut center).is_some(), "a tick notices");
        } else {
            gateway.pass(10_000);
        }
        assert_eq!(gateway.request(0, 1), Answered::Short);
    }
}

#[test]
fn a_center_that_has_lost_its_memory_replaces_what_was_granted() {
    let mut gateway = Gateway::new(1, 1, &plan("refuse"));
    let mut center = center::Center::new(100, 10, 1_000);
    gateway.request(0, 1);
    gateway.exchange(&mut center);
    let mut other = center::Center::new(100, 10, 1_000);
    other.epoch = 2;
    gateway.pass(1_000);
    gateway.request(0, 1);
    gateway.exchange(&mut other);
    assert_eq!(gateway.request(0, 1), Answered::Short, "unknown there: the lease is dropped");
    gateway.exchange(&mut other);
    assert_eq!(gateway.request(0, 1), Answered::Admitted);
    let (call, stale) = gateway.call_later(&mut center).expect("a call");
    gateway.answer(0, call, &stale);
    let held = (0..).take_while(|_| gateway.request(0, 1) == Answered::Admitted).count();
    assert!(held < 50, "an answer of the older epoch grants nothing: {held}");
}

#[test]
fn an_idle_lease_is_given_back() {
    let mut gateway = Gateway::new(1, 1, &plan("refuse"));
    let mut center = center::Center::new(100, 10, 1_000);
    gateway.request(0, 1);
    gateway.exchange(&mut center);
    assert_eq!(center.level(), 50);
    for _ in 0..70 {
        gateway.pass(1_000);
        center.pass(1_000);
        gateway.exchange(&mut center);
    }
    assert_eq!((center.held(), center.level()), (0, 100));
    assert!(gateway.renewals[0].is_empty(), "nobody sees to it any more");
}

#[test]
fn unused_tokens_return_and_used_ones_beyond_the_reservation_are_owed() {
    let plan = json!({"tokens": {"rate": "10/s", "capacity": 1_000, "scope": "fleet"}});
    let mut gateway = Gateway::new(1, 1, &plan);
    let mut center = center::Center::new(1_000, 10, 1_000);
    gateway.request(0, 100);
    gateway.exchange(&mut center);
    assert_eq!(gateway.balance(), 500);
    let first = gateway.draw(0, 100).expect("drawn");
    gateway.settle(0, &first, 30);
    assert_eq!(gateway.balance(), 470, "what was not reported comes back here");
    let second = gateway.draw(0, 100).expect("drawn");
    gateway.pass(1_000);
    gateway.exchange(&mut center);
    let before = gateway.balance();
    gateway.settle(0, &second, 30);
    assert_eq!(gateway.balance(), before, "what was reported goes to the center");
    gateway.pass(1_000);
    gateway.exchange(&mut center);
    assert_eq!(center.returned, 70);
    let third = gateway.draw(0, 100).expect("drawn");
    gateway.settle(0, &third, 900);
    assert!(gateway.balance() < 0, "a debt");
    gateway.pass(1_000);
    gateway.exchange(&mut center);
    assert!(gateway.balance() >= 0, "which the next grant pays");
}
