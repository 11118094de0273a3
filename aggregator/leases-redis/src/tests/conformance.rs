//! What every center does, whatever keeps its limits.
use super::*;
use weir_contract::TenantId;
use weir_contract::lease::{Definition, Draw, Grant, Key, LeaseState, Owner, Report, Short, Tier};
use weir_leases::Center;

const T0: u64 = 1_800_000_000_000;

/// A center, whose time is an argument.
trait Store {
    fn call(&mut self, call: &Call, now: u64) -> Answer;
    fn draw(&mut self, call: &DrawCall, now: u64) -> DrawAnswer;
    /// Loses everything.
    fn lose(&mut self, now: u64);
}

impl Store for Center {
    fn call(&mut self, call: &Call, now: u64) -> Answer {
        Center::call(self, call, now)
    }

    fn draw(&mut self, call: &DrawCall, now: u64) -> DrawAnswer {
        Center::draw(self, call, now)
    }

    fn lose(&mut self, now: u64) {
        *self = Center::forgotten(now, now, Timing::default());
    }
}

/// A center that is written and read again after every call, as one that restarts all the time.
struct Restarting(Center);

impl Restarting {
    fn restart(&mut self) {
        let text = serde_json::to_string(&self.0.checkpoint()).expect("written");
        self.0 = Center::restored(serde_json::from_str(&text).expect("read"));
    }
}

impl Store for Restarting {
    fn call(&mut self, call: &Call, now: u64) -> Answer {
        let answer = self.0.call(call, now);
        self.restart();
        answer
    }

    fn draw(&mut self, call: &DrawCall, now: u64) -> DrawAnswer {
        let answer = self.0.draw(call, now);
        self.restart();
        answer
    }

    fn lose(&mut self, now: u64) {
        self.0.lose(now);
    }
}

impl Store for Fleet<'_> {
    fn call(&mut self, call: &Call, now: u64) -> Answer {
        self.set_clock(now);
        Fleet::call(self, call).expect("answered")
    }

    fn draw(&mut self, call: &DrawCall, now: u64) -> DrawAnswer {
        self.set_clock(now);
        Fleet::draw(self, call).expect("answered")
    }

    fn lose(&mut self, now: u64) {
        let () = self.ask(&redis::cmd("FLUSHALL"));
        self.set_clock(now);
    }
}

const SUITE: [fn(&mut dyn Store); 8] = [
    a_repeated_call_is_answered_with_the_same_total,
    gateways_divide_the_half_of_a_limit,
    a_limit_too_small_to_be_divided_is_asked_for_each_request,
    a_silent_lease_counts_as_spent,
    units_given_back_are_there_for_others,
    a_draw_takes_from_every_limit_or_from_none,
    a_share_is_set_aside,
    a_lost_memory_grants_nothing_that_may_be_out,
];

#[test]
fn the_center_in_memory_conforms() {
    for scenario in SUITE {
        scenario(&mut Center::new(1, T0, Timing::default()));
    }
}

#[test]
fn a_center_that_restarts_after_every_call_conforms() {
    for scenario in SUITE {
        scenario(&mut Restarting(Center::new(1, T0, Timing::default())));
    }
}

#[test]
fn the_center_in_redis_conforms() {
    let world = World::start();
    for (number, scenario) in SUITE.into_iter().enumerate() {
        scenario(&mut world.clocked(&format!("suite-{number}"), Timing::default(), Program::with(CLOCK)));
    }
}

fn definition(capacity: u64, refill: u64, period_ms: u64) -> Definition {
    Definition { capacity, refill, period_ms, tiers: Vec::new() }
}

fn key(limit: &str) -> Key {
    Key { owner: Owner::Tenant(TenantId::new("acme").expect("an id")), limit: limit.into(), part: None }
}

fn report(definition: Definition) -> Report {
    Report {
        key: key("requests"),
        definition,
        tier: None,
        lease: 1,
        epoch: 0,
        granted: 0,
        spent: 0,
        returned: 0,
        want: 1_000_000,
        largest: 1,
        share: false,
        heard_ms: 0,
    }
}

fn call(store: &mut dyn Store, gateway: &str, report: Report, now: u64) -> Grant {
    called(store, gateway, report, now).leases[0]
}

fn called(store: &mut dyn Store, gateway: &str, report: Report, now: u64) -> Answer {
    let call = Call { gateway: gateway.into(), sent_ms: 7, draws: true, leases: vec![report] };
    call.check().expect("in range");
    let answer = store.call(&call, T0 + now);
    assert_eq!((answer.sent_ms, answer.at_ms, answer.ttl_ms), (7, T0 + now, 10_000));
    answer
}

fn draw(store: &mut dyn Store, draws: Vec<Draw>, now: u64) -> DrawAnswer {
    store.draw(&DrawCall { gateway: "g".into(), draws }, T0 + now)
}

fn one_draw(definition: Definition, cost: u64) -> Draw {
    Draw { key: key("requests"), definition, tier: None, cost }
}

fn a_repeated_call_is_answered_with_the_same_total(store: &mut dyn Store) {
    let first = call(store, "a", report(definition(100, 100, 60_000)), 0);
    assert_eq!((first.granted, first.target, first.level), (50, 50, 50));
    assert_eq!(call(store, "a", report(definition(100, 100, 60_000)), 5), first);
}

fn gateways_divide_the_half_of_a_limit(store: &mut dyn Store) {
    let mut report = report(definition(100, 100, 60_000));
    report.want = 10;
    for name in ["a", "b", "c"] {
        assert_eq!(call(store, name, report.clone(), 0).granted, 10);
    }
    report.want = 1_000;
    assert_eq!(call(store, "a", report, 0).target, 16);
}

fn a_limit_too_small_to_be_divided_is_asked_for_each_request(store: &mut dyn Store) {
    let mut report = report(definition(100, 100, 60_000));
    report.largest = 25;
    let states = ["a", "b", "c"].map(|name| call(store, name, report.clone(), 0).state);
    assert_eq!(states, [LeaseState::Held, LeaseState::Held, LeaseState::Draw]);
}

fn a_silent_lease_counts_as_spent(store: &mut dyn Store) {
    let report = report(definition(100, 0, 1));
    call(store, "a", report.clone(), 0);
    assert_eq!(call(store, "b", report.clone(), 12_000).granted, 4, "a gateway holds little of a budget");
    let rest = draw(store, vec![one_draw(report.definition, 93)], 30_000);
    assert_eq!(rest.short, Some(Short { index: 0, wait_ms: None }), "a budget never refills");
}

fn units_given_back_are_there_for_others(store: &mut dyn Store) {
    let first = report(definition(100, 0, 1));
    let answer = called(store, "a", first.clone(), 0);
    let (epoch, granted) = (answer.epoch, answer.leases[0].granted);
    let heard = Report { epoch, granted, heard_ms: T0, ..first.clone() };
    call(store, "a", heard.clone(), 10);
    let back = Report { spent: granted, returned: granted - 1, want: 0, heard_ms: T0 + 10, ..heard };
    call(store, "a", back.clone(), 20);
    call(store, "a", back, 21);
    let all = draw(store, vec![one_draw(first.definition.clone(), 99)], 30);
    assert_eq!((all.short, all.levels), (None, vec![0]));
}

fn a_draw_takes_from_every_limit_or_from_none(store: &mut dyn Store) {
    let tier = |name: &str, percent| Tier { name: name.into(), percent };
    let tiers = vec![tier("enterprise", 50), tier("pro", 30), tier("starter", 20)];
    let quota = Definition { tiers, ..definition(1_000, 1_000, 60_000) };
    let pool = Key { owner: Owner::Pool("openai".into()), limit: "requests".into(), part: None };
    let shared = Draw { key: pool, definition: quota, tier: Some("starter".into()), cost: 300 };
    let own = one_draw(definition(400, 400, 60_000), 300);
    assert_eq!(draw(store, vec![own.clone(), shared.clone()], 0).short, None);
    let refused = draw(store, vec![own, shared], 0);
    assert_eq!(refused.short, Some(Short { index: 0, wait_ms: Some(30_000) }));
    assert_eq!(refused.levels, [100, 300], "the refused draw took nothing");
}

fn a_share_is_set_aside(store: &mut dyn Store) {
    let mut report = report(definition(100, 100, 1_000));
    report.share = true;
    let first = call(store, "a", report.clone(), 0);
    assert_eq!(first.sharers, 1);
    let second = call(store, "b", report, 1);
    assert_eq!(second.sharers, 0, "the whole refill is promised to one");
}

fn a_lost_memory_grants_nothing_that_may_be_out(store: &mut dyn Store) {
    let limit = definition(100, 100, 1_000);
    let before = called(store, "a", report(limit.clone()), 0);
    store.lose(T0 + 100);
    let adopted = Report { epoch: before.epoch, granted: 50, spent: 40, ..report(limit.clone()) };
    let after = called(store, "a", adopted, 100);
    assert!(after.epoch > before.epoch);
    assert_eq!(after.leases[0].granted, 50);
    let new = report(limit.clone());
    assert_eq!(call(store, "b", new.clone(), 200).granted, 0);
    let late = Report { epoch: before.epoch, granted: 70, spent: 40, ..new.clone() };
    assert_eq!(call(store, "c", late, 13_000).state, LeaseState::Lapsed);
    assert!(call(store, "b", new, 14_000).granted > 0);
}
