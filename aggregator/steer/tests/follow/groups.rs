//! Budgets of end users, of groups of keys, and of what tenants pay.
use weir_contract::stage::{Scope, Stage};
use weir_steer::cause::Cause;

use super::world::{DAY_HOURS, Used, World, pico};
use super::{ANN, BOB, used};

const PERSON: &str = "[{name: person, of: requests, amount: 2, period: day, per: user}]";

fn by(user: &'static str, hour: u64) -> Used {
    Used { user, ..used("acme", hour) }
}

#[test]
fn each_end_user_has_the_amount_and_a_request_without_one_has_none() {
    let mut world = World::new(PERSON);
    world.take(&[by(ANN, 0), by(BOB, 0), by("", 0), by("", 0), by("", 0), by("ann@example.com", 0)]);
    assert_eq!(world.told_further("acme", 0), [], "only names that gateways make are counted");
    world.take(&[by(ANN, 0)]);
    let told = world.told_further("acme", 0);
    assert_eq!((told.len(), &told[0].scope, told[0].stage), (1, &Scope::User(ANN.into()), Stage::Exceeded));
    assert_eq!(world.told("acme", 0), [], "older gateways do not read it");
    world.take(&[by(ANN, DAY_HOURS)]);
    assert_eq!(world.told_further("acme", DAY_HOURS), [], "another day");
}

#[test]
fn a_raise_of_the_tenant_is_one_of_each_of_its_users() {
    let mut world = World::new(PERSON);
    world.take(&[by(ANN, 0), by(ANN, 0), by(BOB, 0), by(BOB, 0)]);
    world.raise("person", "acme", Some("9"), 5);
    assert_eq!(world.told_further("acme", 0), []);
    world.review(5);
    assert_eq!(world.told_further("acme", 5).len(), 2);
    let why = &world.history(&format!("acme#{ANN}"), "person")[1];
    assert!(why.cause == Cause::Person && why.why.contains("a campaign"), "{why:?}");
}

#[test]
fn at_the_bound_those_who_are_counted_stay_and_ended_days_make_room() {
    let names: Vec<&'static str> = (1..=1_001).map(|number| &*format!("hmac:{number:032x}").leak()).collect();
    let mut world = World::new(PERSON);
    let all: Vec<Used> = names.iter().map(|user| by(user, 0)).collect();
    // A body has at most 1,000 events.
    for expected in 1..=2 {
        all.chunks(500).for_each(|some| world.take(some));
        assert_eq!(world.left_out(), expected);
    }
    assert_eq!(world.told_further("acme", 0).len(), 128, "as many as gateways are told");
    world.take(&[by(names[1_000], 2 * DAY_HOURS), by(names[1_000], 2 * DAY_HOURS)]);
    assert_eq!((world.left_out(), world.told_further("acme", 2 * DAY_HOURS).len()), (2, 1));
    world.restart();
    world.take(&[by(names[0], 2 * DAY_HOURS)]);
    assert_eq!(world.left_out(), 2, "those whose day is over are gone");
}

#[test]
fn a_failed_transaction_forgets_no_user() {
    let mut world = World::new(PERSON);
    world.take(&[by(ANN, 0)]);
    world.fail(&[by(ANN, 0), by(ANN, 0)]);
    world.take(&[by(ANN, 0)]);
    assert_eq!(world.told_further("acme", 0).len(), 1);
    assert_eq!(world.history(&format!("acme#{ANN}"), "person").len(), 1);
}

#[test]
fn keys_of_a_group_share_one_amount() {
    let mut world = World::new("[{name: team, of: requests, amount: 2, period: day, only: {keys: [k1, k2]}}]");
    let with = |key| Used { key, ..used("acme", 0) };
    world.take(&[with("k1"), with("k3")]);
    assert_eq!(world.told_further("acme", 0), []);
    world.take(&[with("k2")]);
    let told = world.told_further("acme", 0);
    assert_eq!((told[0].scope.to_string(), told[0].stage), ("keys k1, k2".to_owned(), Stage::Exceeded));
}

#[test]
fn what_a_tenant_pays_is_measured_and_its_stages_are_as_any_others() {
    let mut world = World::new(
        "[{name: bill, of: revenue, amount: 100, currency: EUR, period: month},
          {name: credits, of: credits, amount: 1000.5, period: day, tenants: [acme]}]",
    );
    world.take(&[used("acme", 0)]);
    assert_eq!(world.used("bill", "acme", 0), pico("0"), "it is not counted");
    world.measure("bill", "acme", "92.5", 1);
    world.measure("credits", "acme", "1000.5", 1);
    world.measure("credits", "globex", "9999", 1);
    let told: Vec<_> = world.told("acme", 1).iter().map(|told| (told.budget.to_string(), told.stage)).collect();
    assert_eq!(told, [("credits".to_owned(), Stage::Exceeded), ("bill".to_owned(), Stage::Degrade)]);
    assert_eq!(world.told("globex", 1), [], "it has no such budget");
    world.restart();
    assert_eq!(world.used("bill", "acme", 1), pico("92.5"));
    world.raise("bill", "acme", Some("1000"), 9);
    assert_eq!(world.stage("bill", "acme"), Stage::Ok);
    world.measure("credits", "acme", "1", DAY_HOURS);
    let causes: Vec<_> = world.history("acme", "credits").into_iter().map(|change| change.cause).collect();
    assert_eq!(causes, [Cause::PeriodEnded, Cause::Usage], "the latest first");
    world.measure("bill", "acme", "40", 2);
    assert_eq!(world.used("bill", "acme", 2), pico("40"), "a correction lowers it");
}
