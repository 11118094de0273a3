//! What history and audit say about changes, and stages that end by themselves.
use weir_contract::stage::Stage;
use weir_steer::cause::Cause;

use super::world::{self, DAY_HOURS, World, pico};
use super::{DAILY, used};

/// Causes and stages of a budget's changes, the first one first.
fn changes(world: &World, budget: &str) -> Vec<(Cause, String, String)> {
    let history = world.history("acme", budget);
    history.into_iter().rev().map(|change| (change.cause, change.was, change.stage)).collect()
}

fn change(cause: Cause, was: &str, stage: &str) -> (Cause, String, String) {
    (cause, was.to_owned(), stage.to_owned())
}

#[test]
fn the_end_of_a_period_is_noted_once_with_or_without_an_event() {
    let ended = [change(Cause::Usage, "ok", "exceeded"), change(Cause::PeriodEnded, "exceeded", "ok")];
    let mut looked_at = World::new(DAILY);
    looked_at.take(&vec![used("acme", 0); 5]);
    looked_at.pass(DAY_HOURS);
    looked_at.pass(DAY_HOURS + 1);
    assert_eq!(changes(&looked_at, "daily"), ended);
    looked_at.take(&[used("acme", DAY_HOURS)]);
    assert_eq!(changes(&looked_at, "daily"), ended, "an event of the next period says nothing new");
    let mut by_event = World::new(DAILY);
    by_event.take(&vec![used("acme", 0); 5]);
    by_event.take(&[used("acme", DAY_HOURS)]);
    by_event.pass(DAY_HOURS + 1);
    assert_eq!(changes(&by_event, "daily"), ended);
}

#[test]
fn a_clock_that_was_ahead_and_is_set_back_brings_the_stage_back() {
    let mut world = World::new(DAILY);
    world.take(&vec![used("acme", 0); 5]);
    world.pass(DAY_HOURS);
    world.review(DAY_HOURS);
    assert_eq!(world.told("acme", DAY_HOURS).len(), 0);
    assert_eq!(world.told("acme", 1)[0].stage, Stage::Exceeded);
    world.review(1);
    assert_eq!(world.told("acme", 1)[0].stage, Stage::Exceeded);
}

#[test]
fn a_stage_that_begins_while_the_clock_is_ahead_is_in_force_once_it_is_set_back() {
    let mut world = World::new(DAILY);
    world.pass(2 * DAY_HOURS);
    world.take(&vec![used("acme", 0); 5]);
    assert_eq!((world.told("acme", 2 * DAY_HOURS).len(), world.told("acme", 1).len()), (0, 1));
}

#[test]
fn raises_say_who_and_why_whether_or_not_a_stage_changes() {
    let mut world = World::new(DAILY);
    world.take(&[used("acme", 0); 5]);
    world.raise("daily", "acme", Some("50"), 2);
    world.review(2);
    world.raise("daily", "acme", Some("4"), 3);
    let history = world.history("acme", "daily");
    let why: Vec<_> = history.iter().rev().map(|change| (change.cause, change.why.contains("ann"))).collect();
    assert_eq!(why, [(Cause::Usage, false), (Cause::Person, true), (Cause::RaiseEnded, true), (Cause::Person, true)]);
    let last = &history[0];
    assert_eq!((&*last.was, &*last.stage, &*last.amount), ("exceeded", "exceeded", "4"), "only the amount is another");
    let audit = world.audit();
    assert!(audit.iter().any(|(who, act)| who == "weir" && act == "budgets.raise_over"), "{audit:?}");
    let automatic = world.automatic();
    assert_eq!(automatic.len(), 3, "the audit has the last act of a person already: {automatic:?}");
    assert!(automatic[0].contains("exceeded") && automatic[0].contains("is over"), "{automatic:?}");
}

#[test]
fn another_configuration_and_corrected_prices_are_causes() {
    let mut world = World::new("[{name: b, of: cost, amount: 0.01, period: day}]");
    world.take(&[used("acme", 0); 4]);
    world.set("[{name: b, of: cost, amount: 0.02, period: day}]");
    world.price(5);
    world.reprice(0);
    let causes = [
        change(Cause::Usage, "ok", "warn"),
        change(Cause::Rules, "warn", "ok"),
        change(Cause::Prices, "ok", "exceeded"),
    ];
    assert_eq!(changes(&world, "b"), causes);
}

#[test]
fn a_billing_period_that_begins_anew_ends_the_stage_at_once() {
    let budgets = "[{name: billed, of: requests, amount: 2, period: billing_period, tenants: [acme]},
                    {name: search, of: requests, amount: 2, period: billing_period, only: {feature: search}}]";
    let mut world = World::new(budgets);
    let search = world::Used { feature: "search", ..used("acme", 3) };
    world.take(&[search, search]);
    assert_eq!(world.told("acme", 3).len(), 2);
    // The subscription begins anew: its periods are from now on.
    world.anchor("acme", 4);
    world.pass(5);
    world.review(5);
    assert_eq!((world.told("acme", 5).len(), world.used("billed", "acme", 5)), (0, pico("0")));
    assert_eq!(changes(&world, "billed").last(), Some(&change(Cause::Rules, "exceeded", "ok")));
    world.take(&[world::Used { feature: "search", ..used("acme", 5) }]);
    assert_eq!((world.used("billed", "acme", 5), world.used("search", "acme", 5)), (pico("1"), pico("1")));
    // It is as it was before: the sums say what its period has used.
    world.anchor("acme", 0);
    world.review(5);
    assert_eq!(world.used("billed", "acme", 5), pico("3"));
    assert_eq!(world.stage("billed", "acme"), Stage::Exceeded);
}

/// The changes of a budget after the first, with why and in which mode.
fn later(world: &World, budget: &str) -> Vec<(String, String, String, String)> {
    let history = world.history("acme", budget);
    let later = history.into_iter().rev().skip(1);
    later.map(|change| (change.was, change.stage, change.mode, change.why)).collect()
}

/// The audit's entries about the configuration.
fn configured(world: &mut World) -> Vec<String> {
    world.audited("budgets.configuration")
}

#[test]
fn a_budget_that_is_removed_ends_its_stage_in_history_and_audit() {
    for restarts in [false, true] {
        let mut world = World::new(DAILY);
        world.take(&vec![used("acme", 0); 5]);
        world.take(&[used("globex", 0)]);
        world.configure("[]", restarts);
        assert_eq!(world.told("acme", 0).len(), 0);
        let [(was, stage, mode, why)] = &later(&world, "daily")[..] else { panic!("one change") };
        assert_eq!((&**was, &**stage, &**mode), ("exceeded", "ok", "enforce"));
        assert!(why.contains("the configuration changed: removed; it was: amount 5"), "{why}");
        assert!(world.history("globex", "daily").is_empty(), "its stage has not changed");
        let audit = configured(&mut world);
        assert!(audit[1].starts_with("daily: removed"), "{audit:?}");
        assert!(world.automatic()[0].contains("exceeded to ok"));
        assert!(world.untold().iter().any(|change| change.stage == "ok"), "people are told");
        world.configure("[]", true);
        assert_eq!((later(&world, "daily").len(), configured(&mut world).len()), (1, 2), "said once");
    }
}

#[test]
fn a_budget_that_counts_something_else_ends_its_stage_and_begins_another() {
    for restarts in [false, true] {
        let mut world = World::new(DAILY);
        world.take(&vec![used("acme", 0); 5]);
        world.configure("[{name: daily, of: requests, amount: 6, period: week}]", restarts);
        let [(was, stage, _, why), (_, next, ..)] = &later(&world, "daily")[..] else { panic!("two changes") };
        assert_eq!((&**was, &**stage, &**next), ("exceeded", "ok", "warn"));
        for part in ["period week (was day)", "amount 6 (was 5)", "timezone none (was Asia/Kolkata)"] {
            assert!(why.contains(part), "{why}");
        }
    }
}

#[test]
fn a_budget_whose_mode_changes_ends_what_it_enforced() {
    for restarts in [false, true] {
        let mut world = World::new(DAILY);
        world.take(&vec![used("acme", 0); 5]);
        let observed = DAILY.replace("}]", ", mode: observe}]");
        world.configure(&observed, restarts);
        assert_eq!(world.told("acme", 0).len(), 0);
        world.configure(DAILY, restarts);
        assert_eq!(world.told("acme", 0).len(), 1);
        let later = later(&world, "daily");
        let steps: Vec<_> = later.iter().map(|(was, stage, mode, _)| (&**was, &**stage, &**mode)).collect();
        let expected = [
            ("exceeded", "ok", "enforce"),
            ("ok", "exceeded", "observe"),
            ("exceeded", "ok", "observe"),
            ("ok", "exceeded", "enforce"),
        ];
        assert_eq!(steps, expected);
        assert!(later[0].3.contains("mode observe (was enforce)"), "{later:?}");
    }
}

#[test]
fn a_tenant_that_loses_a_budget_ends_its_stage_with_the_reason() {
    const FREE: &str = "[{name: daily, of: requests, amount: 1, period: day, plans: [paid]}]";
    let mut by_plan = World::new(FREE);
    by_plan.take(&[used("acme", 0)]);
    by_plan.plan("acme", "free");
    let [(_, stage, _, why)] = &later(&by_plan, "daily")[..] else { panic!("one change") };
    assert_eq!((&**stage, &**why), ("ok", "the tenant no longer has the budget"));
    let mut by_file = World::new(FREE);
    by_file.take(&[used("acme", 0)]);
    by_file.configure(&FREE.replace("paid", "free"), true);
    let [(_, stage, _, why)] = &later(&by_file, "daily")[..] else { panic!("one change") };
    assert!(stage == "ok" && why.contains(r#"plans ["free"] (was ["paid"])"#), "{why}");
}

#[test]
fn a_budget_that_is_removed_after_its_period_says_that_the_period_ended_once() {
    let mut noted = World::new(DAILY);
    noted.take(&vec![used("acme", 0); 5]);
    noted.pass(DAY_HOURS);
    noted.configure("[]", false);
    let mut unnoted = World::new(DAILY);
    unnoted.take(&vec![used("acme", 0); 5]);
    unnoted.move_to(DAY_HOURS);
    unnoted.configure("[]", false);
    for world in [noted, unnoted] {
        assert_eq!(changes(&world, "daily").last(), Some(&change(Cause::PeriodEnded, "exceeded", "ok")));
        assert_eq!(changes(&world, "daily").len(), 2);
    }
}

#[test]
fn a_budget_that_only_observes_ends_its_stage_with_its_period() {
    let mut world = World::new("[{name: b, of: requests, amount: 1, period: day, mode: observe}]");
    world.take(&[used("acme", 0)]);
    world.pass(DAY_HOURS);
    let ended = [change(Cause::Usage, "ok", "exceeded"), change(Cause::PeriodEnded, "exceeded", "ok")];
    assert_eq!((changes(&world, "b"), world.told("acme", 0).len()), (ended.to_vec(), 0));
}

#[test]
fn a_stage_that_ends_with_its_mode_and_its_amount_ends_once() {
    let mut world = World::new(DAILY);
    world.take(&vec![used("acme", 0); 5]);
    world.configure(&DAILY.replace("amount: 5", "amount: 50").replace("}]", ", mode: observe}]"), false);
    for _ in 0..2 {
        world.restart();
        let steps: Vec<_> = later(&world, "daily").into_iter().map(|(was, stage, ..)| (was, stage)).collect();
        assert_eq!(steps, [("exceeded".to_owned(), "ok".to_owned())]);
    }
}
