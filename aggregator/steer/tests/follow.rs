//! What budgets have used, and their stages, equal a naive count of all events at every position of the log: over periods, zones,
//! late events, prices that were wrong, restarts and plans that change.
#[path = "follow/changes.rs"]
mod changes;
#[path = "follow/event.rs"]
mod event;
#[path = "follow/groups.rs"]
mod groups;
#[path = "follow/unpriced.rs"]
mod unpriced;
#[path = "follow/world.rs"]
mod world;

use proptest::prelude::*;
use weir_contract::stage::Stage;
use world::{DAY_HOURS, Used, World, pico};

const BUDGETS: &str = "
- {name: daily, of: requests, amount: 5, period: day, timezone: Asia/Kolkata}
- {name: weekly, of: tokens, amount: 4000, period: week, timezone: America/New_York, plans: [free]}
- {name: monthly, of: cost, amount: 0.006, period: month, timezone: Europe/Berlin, overrides: {acme: 0.012}}
- {name: billed, of: output_tokens, amount: 900, period: billing_period, tenants: [acme, globex]}
- {name: ever, of: cost, amount: 0.02, period: total}
- {name: family, of: input_tokens, amount: 5000, period: day, tenants: [acme, globex], shared: true}
- {name: search, of: requests, amount: 3, period: day, only: {feature: search}}
- {name: large, of: cost, amount: 0.004, period: week, only: {model: 'large*'}}
- {name: team, of: requests, amount: 4, period: week, only: {keys: [k1, k2]}}
- {name: person, of: tokens, amount: 3000, period: day, timezone: Europe/Berlin, per: user}
- {name: spender, of: cost, amount: 0.003, period: total, per: user, overrides: {acme: 0.006}}
";

/// One budget of five requests a day.
const DAILY: &str = "[{name: daily, of: requests, amount: 5, period: day, timezone: Asia/Kolkata}]";

/// End users, as gateways name them.
const ANN: &str = "hmac:00000000000000000000000000000001";
const BOB: &str = "hmac:00000000000000000000000000000002";

fn used(tenant: &'static str, hour: u64) -> Used {
    Used { tenant, hour, input: 1_000, output: 100, model: "small", ..Used::default() }
}

#[test]
fn a_stage_begins_with_the_transaction_that_reaches_it() {
    let mut world = World::new(BUDGETS);
    world.take(&[used("acme", 0), used("acme", 0), used("acme", 0)]);
    assert_eq!(world.stage("daily", "acme"), Stage::Ok);
    world.take(&[used("acme", 0)]);
    assert_eq!(world.stage("daily", "acme"), Stage::Warn);
    world.take(&[used("acme", 0)]);
    assert_eq!(world.stage("daily", "acme"), Stage::Exceeded);
    let stages: Vec<_> = world.history("acme", "daily").into_iter().map(|change| (change.was, change.stage)).collect();
    let change = |was: &str, stage: &str| (was.to_owned(), stage.to_owned());
    assert_eq!(stages, [change("warn", "exceeded"), change("ok", "warn")], "the latest first");
    assert_eq!(world.evaluated_through(), 3);
}

#[test]
fn a_stage_ends_with_its_period_without_an_event() {
    let mut world = World::new(DAILY);
    world.take(&vec![used("acme", 0); 5]);
    assert_eq!(world.told("acme", 0).len(), 1);
    assert_eq!(world.told("acme", DAY_HOURS).len(), 0);
    assert_eq!(world.used("daily", "acme", DAY_HOURS).to_string(), "0");
}

#[test]
fn a_budget_that_comes_with_a_late_event_has_what_later_periods_had_used() {
    let mut world = World::new("[{name: daily, of: requests, amount: 9, period: day, plans: [free]}]");
    world.take(&[used("acme", 5 * DAY_HOURS)]);
    world.plan("acme", "free");
    world.take(&[used("acme", 3 * DAY_HOURS), used("acme", 5 * DAY_HOURS), used("acme", 5 * DAY_HOURS)]);
    assert_eq!(world.used("daily", "acme", 5 * DAY_HOURS).to_string(), "3");
}

#[test]
fn a_new_budget_begins_with_what_its_period_has_used() {
    let mut world = World::new("[]");
    world.take(&vec![used("acme", 0); 6]);
    world.set(DAILY);
    assert_eq!(world.stage("daily", "acme"), Stage::Exceeded);
    assert_eq!(world.told("acme", 0)[0].budget.as_ref(), "daily");
}

#[test]
fn a_raise_takes_effect_at_once_and_ends_at_its_date() {
    let mut world = World::new(DAILY);
    world.take(&vec![used("acme", 0); 5]);
    world.raise("daily", "acme", Some("50"), 2);
    assert_eq!((world.stage("daily", "acme"), world.told("acme", 0).len()), (Stage::Ok, 0));
    world.review(2);
    assert_eq!(world.told("acme", 2).len(), 1, "its date is over");
    world.raise("daily", "acme", None, 9);
    assert_eq!(world.told("acme", 2).len(), 0, "paused");
}

#[test]
fn a_budget_that_only_observes_is_recorded_and_not_told() {
    let mut world = World::new("[{name: b, of: requests, amount: 1, period: day, mode: observe}]");
    world.take(&[used("acme", 0)]);
    assert_eq!((world.history("acme", "b").len(), world.told("acme", 0).len()), (1, 0));
}

#[test]
fn a_tenant_that_leaves_a_plan_is_told_nothing_of_its_budgets() {
    let mut world = World::new("[{name: b, of: requests, amount: 1, period: day, plans: [free]}]");
    world.take(&[used("globex", 0)]);
    assert_eq!(world.told("globex", 0).len(), 1);
    world.plan("globex", "paid");
    assert_eq!(world.told("globex", 0).len(), 0);
    world.take(&[used("globex", 0)]);
    world.plan("globex", "free");
    assert_eq!(world.used("b", "globex", 0), pico("2"), "what it used meanwhile counts, too");
}

#[test]
fn all_tenants_of_a_shared_budget_are_told() {
    let mut world =
        World::new("[{name: b, of: requests, amount: 2, period: day, tenants: [acme, globex], shared: true}]");
    world.take(&[used("acme", 0), used("globex", 0)]);
    assert_eq!((world.told("acme", 0).len(), world.told("globex", 0).len(), world.told("initech", 0).len()), (1, 1, 0));
}

#[test]
fn a_failed_transaction_leaves_no_trace() {
    let mut world = World::new(DAILY);
    world.take(&[used("acme", 0)]);
    world.fail(&[used("acme", 0), used("acme", 0)]);
    world.take(&[used("acme", 0)]);
    assert_eq!(world.used("daily", "acme", 0), pico("2"));
}

#[test]
fn what_was_counted_without_budgets_is_counted_again() {
    let mut world = World::new(DAILY);
    world.take(&[used("acme", 0)]);
    world.count_alone(&[used("acme", 0), used("acme", 0)]);
    world.restart();
    assert_eq!(world.used("daily", "acme", 0), pico("3"));
}

#[derive(Clone, Debug)]
enum Step {
    Take(Vec<Used>),
    Restart,
    Reprice(u64),
    Price(u64),
    Plan(&'static str, &'static str),
}

fn any_use() -> impl Strategy<Value = Used> {
    let tenant = prop_oneof![Just("acme"), Just("globex"), Just("initech")];
    let model = prop_oneof![3 => Just("small"), 3 => Just("large-1"), 1 => Just(event::UNLISTED)];
    let feature = prop_oneof![Just(""), Just("search")];
    let who = (prop_oneof![Just(""), Just(ANN), Just(BOB)], prop_oneof![Just("k1"), Just("k2"), Just("k3")]);
    let used = (0..20 * DAY_HOURS, 1..2_000u64, 0..300u64);
    (tenant, model, feature, who, used).prop_map(|(tenant, model, feature, (user, key), (hour, input, output))| Used {
        tenant,
        model,
        feature,
        user,
        key,
        hour,
        input,
        output,
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let plan = (prop_oneof![Just("acme"), Just("globex")], prop_oneof![Just("free"), Just("paid")]);
    prop_oneof![
        8 => proptest::collection::vec(any_use(), 1..6).prop_map(Step::Take),
        1 => Just(Step::Restart),
        1 => (0..20 * DAY_HOURS).prop_map(Step::Reprice),
        1 => prop_oneof![1..5u64, Just(event::ALL_LISTED)].prop_map(Step::Price),
        1 => plan.prop_map(|(tenant, plan)| Step::Plan(tenant, plan)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: weir_database::testing::cases(24), ..ProptestConfig::default() })]

    #[test]
    fn budgets_equal_a_naive_count_at_every_position(steps in proptest::collection::vec(any_step(), 1..24)) {
        let mut world = World::new(BUDGETS);
        world.anchor("globex", 11 * DAY_HOURS);
        for step in steps {
            match step {
                Step::Take(uses) => world.take(&uses),
                Step::Restart => world.restart(),
                Step::Reprice(hour) => world.reprice(hour),
                Step::Price(price) => world.price(price),
                Step::Plan(tenant, plan) => world.plan(tenant, plan),
            }
            world.check()?;
        }
    }
}
