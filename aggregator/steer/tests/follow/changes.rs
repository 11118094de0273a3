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
