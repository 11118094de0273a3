use super::*;
use weir_contract::TenantId;
use weir_contract::lease::{Draw, Owner, Report, Tier};

const T0: u64 = 1_800_000_000_000;

fn center() -> Center {
    Center::new(1, T0, Timing::default())
}

fn tenant(limit: &str) -> Key {
    Key { owner: Owner::Tenant(TenantId::new("acme").expect("an id")), limit: limit.into(), part: None }
}

fn definition(capacity: u64, refill: u64, period_ms: u64) -> Definition {
    Definition { capacity, refill, period_ms, tiers: Vec::new() }
}

fn pool() -> (Key, Definition) {
    let tier = |name: &str, percent| Tier { name: name.into(), percent };
    let tiers = vec![tier("enterprise", 50), tier("pro", 30), tier("starter", 20)];
    let key = Key { owner: Owner::Pool("openai".into()), limit: "requests".into(), part: None };
    (key, Definition { tiers, ..definition(1_000, 1_000, 60_000) })
}

fn report(limit: &str, definition: Definition) -> Report {
    Report {
        key: tenant(limit),
        definition,
        tier: None,
        lease: 1,
        epoch: 0,
        granted: 0,
        spent: 0,
        returned: 0,
        want: u64::from(u32::MAX),
        largest: 1,
        share: false,
        heard_ms: 0,
    }
}

fn call(center: &mut Center, gateway: &str, report: Report, now: u64) -> Grant {
    let call = Call { gateway: gateway.into(), sent_ms: 7, draws: true, leases: vec![report] };
    call.check().expect("in range");
    let answer = center.call(&call, T0 + now);
    assert_eq!((answer.sent_ms, answer.ttl_ms), (7, 10_000));
    answer.leases[0]
}

fn draw(key: Key, definition: Definition, tier: Option<&str>, cost: u64) -> Draw {
    Draw { key, definition, tier: tier.map(Into::into), cost }
}

fn draws(center: &mut Center, draws: Vec<Draw>, now: u64) -> DrawAnswer {
    center.draw(&DrawCall { gateway: "g".into(), draws }, T0 + now)
}

#[test]
fn a_repeated_call_is_answered_with_the_same_total() {
    let mut center = center();
    let first = call(&mut center, "a", report("requests", definition(100, 100, 60_000)), 0);
    assert_eq!((first.granted, first.target, first.level), (50, 50, 50));
    let again = call(&mut center, "a", report("requests", definition(100, 100, 60_000)), 5);
    assert_eq!(again, first);
}

#[test]
fn gateways_divide_the_half_of_a_limit() {
    let mut center = center();
    let mut report = report("requests", definition(100, 100, 60_000));
    report.want = 10;
    let granted: Vec<u64> = ["a", "b", "c"].map(|name| call(&mut center, name, report.clone(), 0).granted).to_vec();
    assert_eq!(granted, [10, 10, 10]);
    report.want = 1_000;
    assert_eq!(call(&mut center, "a", report, 0).target, 16);
}

#[test]
fn a_limit_is_divided_among_no_more_gateways_than_its_largest_request_allows() {
    let mut center = center();
    let mut report = report("tokens", definition(100, 100, 60_000));
    report.largest = 25;
    let states = ["a", "b", "c"].map(|name| call(&mut center, name, report.clone(), 0).state);
    assert_eq!(states, [LeaseState::Held, LeaseState::Held, LeaseState::Draw]);
    assert_eq!(center.counts().draw, 1);
}

#[test]
fn a_silent_lease_counts_as_spent_and_is_counted() {
    let mut center = center();
    let report = report("budget/2026-11", definition(100, 0, 1));
    call(&mut center, "a", report.clone(), 0);
    assert_eq!(call(&mut center, "b", report.clone(), 12_000).granted, 4, "a gateway holds little of a budget");
    assert_eq!(center.counts().lost_units, 4);
    let rest = draws(&mut center, vec![draw(report.key.clone(), report.definition.clone(), None, 93)], 30_000);
    assert_eq!(rest.short, Some(Short { index: 0, wait_ms: None }), "a budget never refills");
}

#[test]
fn units_that_a_gateway_gives_back_are_there_for_others() {
    let mut center = center();
    let first = report("requests", definition(100, 0, 1));
    let granted = call(&mut center, "a", first.clone(), 0).granted;
    let heard = Report { epoch: 1, granted, heard_ms: T0, ..first.clone() };
    call(&mut center, "a", heard.clone(), 10);
    let gives_back = Report { spent: granted, returned: granted - 1, want: 0, heard_ms: T0 + 10, ..heard };
    call(&mut center, "a", gives_back.clone(), 20);
    call(&mut center, "a", gives_back, 21);
    let all = draws(&mut center, vec![draw(first.key.clone(), first.definition.clone(), None, 99)], 30);
    assert_eq!((all.short, all.levels), (None, vec![0]));
}

#[test]
fn a_draw_takes_from_every_limit_or_from_none() {
    let mut center = center();
    let (pool, quota) = pool();
    let own = draw(tenant("tokens"), definition(400, 400, 60_000), None, 300);
    let shared = draw(pool, quota, Some("starter"), 300);
    assert_eq!(draws(&mut center, vec![own.clone(), shared.clone()], 0).short, None);
    let refused = draws(&mut center, vec![own, shared], 0);
    assert_eq!(refused.short, Some(Short { index: 0, wait_ms: Some(30_000) }));
    assert_eq!((center.counts().drawn, center.counts().short), (1, 1));
    let small = draw(tenant("tokens"), definition(400, 400, 60_000), None, 100);
    assert_eq!(draws(&mut center, vec![small], 0).short, None, "the refused draw took nothing");
}

#[test]
fn a_tier_borrows_while_the_pool_is_high_and_has_its_own_when_it_is_low() {
    let mut center = center();
    let (pool, quota) = pool();
    let starter = |cost| draw(pool.clone(), quota.clone(), Some("starter"), cost);
    assert_eq!(draws(&mut center, vec![starter(601)], 0).short.map(|short| short.index), Some(0));
    assert_eq!(draws(&mut center, vec![starter(600)], 0).short, None, "its own 200, and half of the other 800");
    let enterprise = draw(pool.clone(), quota.clone(), Some("enterprise"), 250);
    assert_eq!(draws(&mut center, vec![enterprise], 0).short, None, "half of its share was never lent");
    let short = draws(&mut center, vec![starter(1)], 0).short.expect("its own share is used up");
    assert_eq!(short.wait_ms, Some(200), "pro is at its half, and lends its 300 a minute");
}

#[test]
fn the_wait_of_a_tier_counts_what_others_will_lend() {
    let mut center = center();
    let (pool, quota) = pool();
    let of = |tier, cost| vec![draw(pool.clone(), quota.clone(), Some(tier), cost)];
    for (tier, cost) in [("starter", 600), ("enterprise", 250), ("pro", 150)] {
        assert_eq!(draws(&mut center, of(tier, cost), 0).short, None, "{tier}");
    }
    let wait =
        |center: &mut Center, cost, now| draws(center, of("starter", cost), now).short.expect("too much").wait_ms;
    let wait_ms = wait(&mut center, 300, 0).expect("a time");
    assert_eq!(wait_ms, 42_000, "140 of its own, and 160 that others have beyond their half, which takes them 30 s");
    assert_eq!(wait(&mut center, 300, wait_ms - 1), Some(1));
    assert_eq!(wait(&mut center, 601, wait_ms), None, "more than it ever has");
    assert_eq!(draws(&mut center, of("starter", 300), wait_ms).short, None);
}

#[test]
fn a_center_without_memory_grants_nothing_that_may_be_out() {
    let mut center = Center::forgotten(2, T0, Timing::default());
    let limit = definition(100, 100, 1_000);
    let adopted = Report { epoch: 1, granted: 70, spent: 40, ..report("requests", limit.clone()) };
    assert_eq!(call(&mut center, "a", adopted, 100).granted, 70);
    let new = report("requests", limit.clone());
    assert_eq!(call(&mut center, "b", new.clone(), 200).granted, 0);
    let late = Report { epoch: 1, granted: 70, spent: 40, ..new.clone() };
    assert_eq!(call(&mut center, "c", late, 13_000).state, LeaseState::Lapsed);
    assert!(call(&mut center, "b", new, 14_000).granted > 0);
}

#[test]
fn a_restart_from_its_checkpoint_changes_nothing() {
    let mut center = center();
    let first = report("requests", definition(100, 100, 60_000));
    let granted = call(&mut center, "a", first.clone(), 0);
    let text = serde_json::to_string(&center.checkpoint()).expect("written");
    let mut restored = Center::restored(serde_json::from_str(&text).expect("read"));
    assert_eq!(call(&mut restored, "a", first, 0), granted);
    assert_eq!(restored.epoch(), 1);
}

#[test]
fn full_limits_are_dropped_and_budgets_are_kept() {
    let mut center = center();
    for limit in ["requests", "tokens"] {
        draws(&mut center, vec![draw(tenant(limit), definition(10, 10, 1_000), None, 1)], 0);
    }
    draws(&mut center, vec![draw(tenant("budget/2026-11"), definition(10, 0, 1), None, 1)], 0);
    assert_eq!(center.len(), 3);
    let views = center.views(T0 + 60_000, 10, |_| true);
    assert_eq!(views.len(), 1);
    assert_eq!((views[0].0.limit.as_str(), views[0].1.tiers[0].level), ("budget/2026-11", 9));
}

#[test]
fn a_smaller_limit_holds_at_once() {
    let mut center = center();
    let granted = call(&mut center, "a", report("requests", definition(100, 100, 60_000)), 0).granted;
    assert_eq!(granted, 50);
    let smaller = call(&mut center, "b", report("requests", definition(40, 40, 60_000)), 1);
    assert_eq!((smaller.granted, smaller.level), (0, 0), "the other gateway holds more than that");
}

#[test]
fn what_is_used_of_a_budget_stays_used_when_it_is_raised_or_lowered() {
    let mut center = center();
    let of = |capacity, cost| vec![draw(tenant("budget/b/2026-11"), definition(capacity, 0, 86_400_000), None, cost)];
    assert_eq!(draws(&mut center, of(100, 60), 0).short, None);
    let raised_at = 13_000;
    assert_eq!(draws(&mut center, of(150, 91), raised_at).short, Some(Short { index: 0, wait_ms: None }));
    assert_eq!(draws(&mut center, of(150, 80), raised_at).short, None);
    let lowered = draws(&mut center, of(120, 1), raised_at + 1);
    assert_eq!(
        (lowered.short.map(|short| short.index), lowered.levels),
        (Some(0), vec![0]),
        "20 more are used than it has"
    );
    assert_eq!(draws(&mut center, of(150, 11), 40_000).short.map(|short| short.index), Some(0));
    assert_eq!(draws(&mut center, of(150, 10), 40_000).short, None, "140 of 150 were used");
}

#[test]
fn a_budget_is_kept_for_its_period_after_a_gateway_named_it() {
    let mut center = center();
    let month = 30 * 86_400_000;
    draws(&mut center, vec![draw(tenant("budget/b/2026-11"), definition(10, 0, month), None, 1)], 0);
    assert_eq!(center.views(T0 + month, 10, |_| true).len(), 1);
    assert_eq!(center.views(T0 + month + 86_460_000, 10, |_| true).len(), 0, "its period is over");
}
