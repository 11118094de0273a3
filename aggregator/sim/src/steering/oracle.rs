//! Judges a world by its events alone.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weir_contract::stage::{BudgetStage, Scope, Stage};
use weir_ledger::amount::{PICO, Pico};
use weir_ledger::periods::Anchor;
use weir_steer::budget::Budget;
use weir_steer::cause::Cause;
use weir_steer::file::Measure;
use weir_steer::raise::{self, Raise};
use weir_steer::subject;
use weir_steer::view::{self, Transition};

use super::world::{PRICE, TENANTS, USERS, Used, World};

/// More changes than a world makes.
const CHANGES_MAX: u32 = 1_000;

/// Compares the stages that gateways are told with a count of all events, and follows every stage through its changes.
pub(super) fn check(world: &mut World) -> Result<(), String> {
    let now = world.clock();
    let raises = world.with(|ledger| raise::active(ledger.db(), now)).ok_or("the raises cannot be read")?;
    let told = world.told().ok_or("the stages cannot be read")?;
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for tenant in TENANTS {
        for budget in world.budgets.iter().filter(|budget| budget.applies(tenant, None)) {
            let users: Vec<Option<&str>> = if budget.per_user { USERS.map(Some).to_vec() } else { vec![None] };
            for user in users {
                let stage = stage(world, budget, (tenant, user), &raises);
                let scope = user.map_or_else(|| budget.scope.clone(), |user| Scope::User(user.into()));
                expected.extend((stage != Stage::Ok).then(|| shown(tenant, &budget.name, &scope, stage)));
            }
        }
    }
    let all = told.stages.iter().chain(&told.further);
    let one = |tenant: &str, of: &BudgetStage| shown(tenant, &of.budget, &of.scope, of.stage);
    let found: BTreeSet<String> =
        all.flat_map(|(tenant, stages)| stages.iter().map(move |of| one(tenant, of))).collect();
    if found != expected {
        let missing: Vec<_> = expected.difference(&found).collect();
        let sticking: Vec<_> = found.difference(&expected).collect();
        let words = format!("at {now} gateways are not told {missing:?}, and are told {sticking:?}");
        let wrong = found.symmetric_difference(&expected).next().cloned().unwrap_or_default();
        let all = changes(world)?;
        let its = all
            .iter()
            .filter(|change| wrong.contains(&change.budget) && wrong.contains(subject::tenant(&change.subject)));
        let its: Vec<_> = its
            .map(|change| format!("{} {} to {}, {}", change.at, change.was, change.stage, change.cause.words()))
            .collect();
        return Err(format!("{words}; its changes: {its:#?}"));
    }
    follow(&changes(world)?)
}

fn shown(tenant: &str, budget: &str, scope: &Scope, stage: Stage) -> String {
    format!("{tenant} {budget} {scope} {stage}")
}

/// The stage of a budget by a count of all events of the current period.
fn stage(world: &World, budget: &Budget, (tenant, user): (&str, Option<&str>), raises: &[Raise]) -> Stage {
    let now = world.clock();
    let period = budget.period(Anchor::default, now);
    let is_its = |used: &&Used| {
        let whose =
            if budget.shared { budget.named_tenants().any(|one| one == used.tenant) } else { used.tenant == tenant };
        let covered = match &budget.scope {
            Scope::Keys(keys) => keys.iter().any(|key| **key == *used.key),
            _ => true,
        };
        whose && covered && user.is_none_or(|user| used.user == user) && period.holds(used.at.hour())
    };
    let measure = |used: &Used| match budget.of {
        Measure::Cost => i128::from(PRICE * used.input) * 1_000_000,
        Measure::Requests => PICO,
        _ => i128::from(used.input) * PICO,
    };
    let used = Pico(world.used.iter().filter(is_its).map(measure).sum());
    let subject = budget.subject(tenant);
    let raise = raises.iter().rev().find(|raise| raise.subject == subject && raise.budget == *budget.name);
    match raise {
        Some(raise) => raise.amount.map_or(Stage::Ok, |amount| budget.stage(used, amount)),
        None => budget.stage(used, budget.amount(&subject)),
    }
}

fn changes(world: &mut World) -> Result<Vec<Transition>, String> {
    let read = world.with(|ledger| view::history(ledger.db(), None, None, None, CHANGES_MAX));
    let mut changes = read.ok_or("the changes cannot be read")?;
    changes.reverse();
    Ok(changes)
}

/// Each change begins where the one before it has ended.
fn follow(changes: &[Transition]) -> Result<(), String> {
    let mut stages: BTreeMap<_, &str> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.cause != Cause::PeriodEnded) {
        let stage = stages.entry((&change.subject, &change.budget, change.period_start)).or_insert("ok");
        if *stage != change.was {
            return Err(format!("a change is lost: it was {stage}, and then {change:?}"));
        }
        *stage = &change.stage;
    }
    Ok(())
}

/// Compares what the receiver has taken with the changes that people need to hear of.
pub(super) fn check_messages(world: &mut World) -> Result<(), String> {
    let changes = changes(world)?;
    let is_news = |change: &&Transition| {
        change.was != change.stage
            && change.cause != Cause::PeriodEnded
            && change.period_end.is_none_or(|end| change.at < end)
    };
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for change in changes.iter().filter(is_news) {
        let Transition { at, subject, budget, was, stage, used, evaluated_through, .. } = change;
        *expected.entry(format!("{at} {subject} {budget} {was} {stage} {used} {evaluated_through}")).or_default() += 1;
    }
    world.summary.changes += changes.len() as u64;
    world.summary.messages += world.inbox.len() as u64;
    for body in world.inbox.values() {
        let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let text = |name: &str| body["data"][name].as_str().unwrap_or_default().to_owned();
        let words = ["subject", "budget", "was", "stage", "used"].map(text).join(" ");
        let at = body["timestamp"].as_str().unwrap_or_default();
        *expected.entry(format!("{at} {words} {}", body["data"]["evaluated_through"])).or_default() -= 1;
    }
    let wrong: Vec<_> = expected.iter().filter(|(_, count)| **count != 0).collect();
    if wrong.is_empty() {
        check_order(world)
    } else {
        Err(format!("told too seldom (above 0) or too often: {wrong:?}"))
    }
}

/// Compares the order in which messages of each budget came with that of its changes.
fn check_order(world: &World) -> Result<(), String> {
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for id in &world.arrivals {
        let number =
            id.split('_').nth(2).and_then(|number| number.parse::<i64>().ok()).ok_or("an id without a number")?;
        let body: Value = serde_json::from_str(&world.inbox[id]).map_err(|error| error.to_string())?;
        let topic = format!("{} of {}", body["data"]["budget"], body["data"]["subject"]);
        let before = last.insert(topic.clone(), number);
        if before.is_some_and(|before| before > number) {
            return Err(format!("{topic}: change {number} is told after {before:?}"));
        }
    }
    Ok(())
}
