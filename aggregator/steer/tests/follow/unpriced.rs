//! Usage that a budget of cost cannot count, since it has no price or one in another currency.
use weir_contract::stage::Stage;
use weir_steer::cause::Cause;

use super::event::{ALL_LISTED, UNLISTED};
use super::used;
use super::world::{DAY_HOURS, Used, World, pico};

const COST: &str = "[{name: b, of: cost, amount: 100, period: day}]";

fn unlisted(hour: u64) -> Used {
    Used { model: UNLISTED, ..used("acme", hour) }
}

#[test]
fn usage_without_a_price_warns_and_is_counted() {
    let mut world = World::new(COST);
    world.take(&[used("acme", 0)]);
    assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme")), (Stage::Ok, 0));
    world.take(&[unlisted(0), unlisted(0)]);
    assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme"), world.unpriced()), (Stage::Warn, 2, 2));
    assert_eq!(world.told("acme", 0)[0].stage, Stage::Warn);
    let history = world.history("acme", "b");
    assert_eq!((history.len(), history[0].cause), (1, Cause::Unpriced));
    assert_eq!(history[0].why, "2 requests have no price in USD, and the used amount lacks them");
    world.restart();
    assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme")), (Stage::Warn, 2));
    world.take(&[used("acme", DAY_HOURS)]);
    assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme")), (Stage::Ok, 0), "another day");
}

#[test]
fn the_setting_says_how_severe_it_is() {
    for (setting, stage) in [("ok", Stage::Ok), ("degrade", Stage::Degrade), ("exceeded", Stage::Exceeded)] {
        let mut world = World::new(&COST.replace("}]", &format!(", unpriced: {setting}}}]")));
        world.take(&[unlisted(0)]);
        assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme")), (stage, 1));
        assert_eq!(world.told("acme", 0).len(), usize::from(stage > Stage::Ok));
    }
}

#[test]
fn a_price_that_is_added_counts_what_was_lacking() {
    let mut world = World::new(COST);
    world.take(&[unlisted(0)]);
    world.price(ALL_LISTED);
    world.reprice(0);
    assert_eq!((world.used("b", "acme", 0), world.lacking("b", "acme")), (pico("0.01"), 0));
    let last = &world.history("acme", "b")[0];
    assert_eq!((&*last.was, &*last.stage, last.cause), ("warn", "ok", Cause::Prices));
}

#[test]
fn usage_with_a_price_in_another_currency_is_lacking_as_well() {
    let mut world = World::new("[{name: b, of: cost, amount: 100, currency: EUR, period: day}]");
    world.take(&[used("acme", 0)]);
    assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme")), (Stage::Warn, 1));
}

#[test]
fn a_budget_of_some_requests_lacks_only_these() {
    let mut world = World::new("[{name: b, of: cost, amount: 100, period: day, only: {feature: search}}]");
    world.take(&[unlisted(0)]);
    assert_eq!(world.lacking("b", "acme"), 0);
    world.take(&[Used { feature: "search", ..unlisted(0) }]);
    assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme")), (Stage::Warn, 1));
    world.restart();
    assert_eq!(world.lacking("b", "acme"), 1, "no sums are kept of it");
}

#[test]
fn tokens_need_no_price() {
    let mut world = World::new("[{name: b, of: tokens, amount: 100000, period: day}]");
    world.take(&[unlisted(0)]);
    assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme")), (Stage::Ok, 0));
}

#[test]
fn after_an_update_what_the_period_has_used_without_a_price_counts() {
    let mut world = World::new(COST);
    world.take(&[unlisted(0)]);
    world.as_before(" warn 1\n", " ok\n");
    world.restart();
    assert_eq!((world.stage("b", "acme"), world.lacking("b", "acme")), (Stage::Warn, 1));
    assert_eq!(world.told("acme", 0).len(), 1);
}
