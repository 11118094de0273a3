//! Reads what budgets have used, their stages and their history.
use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::stage::{BudgetStage, FURTHER_STAGES_MAX, STAGES_MAX, Stage};
use weir_database::{Connection, OptionalExtension, params};
use weir_fault::{self as fault, Point};
use weir_ledger::amount::Pico;
use weir_ledger::periods::{self, Anchor};
use weir_ledger::{LedgerError, signed};

use crate::budget::{Budget, permille};
use crate::cause::Cause;
use crate::counters::Counters;
use crate::engine::Rules;
use crate::file::{BudgetMode, Measure, Span};
use crate::raise::{self, Raise};
use crate::subject;

/// The most rows of one answer.
pub const ROWS_MAX: u32 = 1_000;

/// One budget of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetView {
    /// The budget.
    pub budget: String,
    /// The tenant, or `#` and the name of a shared budget.
    pub subject: String,
    /// The requests that it covers.
    pub covers: String,
    /// A currency, or what is counted.
    pub unit: String,
    /// The first moment of the current period.
    pub period_start: Timestamp,
    /// The first moment after it; absent for a budget without periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_end: Option<Timestamp>,
    /// Used in the current period.
    #[schemars(with = "String")]
    pub used: Pico,
    /// The amount in force.
    #[schemars(with = "String")]
    pub amount: Pico,
    /// The used share in thousandths, rounded down; 4294967295 stands for that and more.
    pub used_permille: u32,
    /// Of a budget of cost: requests of the period that `used` lacks, since they have no price or one in another currency.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unpriced_requests: u64,
    /// The stage.
    #[schemars(with = "String")]
    pub stage: Stage,
    /// `enforce` or `observe`.
    pub mode: String,
    /// The raise or pause in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raise: Option<Raise>,
}

impl BudgetView {
    /// How far it is used.
    pub fn use_of(&self) -> Use {
        Use {
            permille: self.used_permille,
            stage: self.stage,
            observed: self.mode == BudgetMode::Observe.as_str(),
            paused: self.raise.as_ref().is_some_and(|raise| raise.amount.is_none()),
        }
    }
}

/// How far a budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The used share in thousandths.
    pub permille: u32,
    /// The stage.
    pub stage: Stage,
    /// Whether the budget binds nobody: it only tells.
    pub observed: bool,
    /// Whether it lets everything pass until a date.
    pub paused: bool,
}

impl Use {
    /// The stage as people read it.
    pub fn words(self) -> String {
        let how = match (self.observed, self.paused) {
            (true, true) => " (observed, paused)",
            (true, false) => " (observed)",
            (false, true) => " (paused)",
            (false, false) => "",
        };
        format!("{}{how}", self.stage)
    }

    /// By this the budget that matters most of a tenant's is the greatest: one that binds comes before one that does not.
    pub fn weight(self) -> (bool, u32) {
        (!self.observed && !self.paused, self.permille)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A change of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// Its number.
    pub id: i64,
    /// When the event that caused it was received.
    pub at: Timestamp,
    /// The position of the log up to which was evaluated.
    pub evaluated_through: u64,
    /// The tenant, or `#` and the name of a shared budget.
    pub subject: String,
    /// The budget.
    pub budget: String,
    /// The first moment of the period.
    pub period_start: Timestamp,
    /// The first moment after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_end: Option<Timestamp>,
    /// The stage before.
    pub was: String,
    /// The stage since.
    pub stage: String,
    /// Used at that time.
    pub used: String,
    /// The amount at that time.
    pub amount: String,
    /// A currency, or what is counted.
    pub unit: String,
    /// `enforce` or `observe`.
    pub mode: String,
    /// Why it changed.
    #[serde(default)]
    pub cause: Cause,
    /// Who decided it and why, where a person is behind it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// The budgets that a tenant has, in the order of the configuration.
pub fn of_tenant(db: &Connection, rules: &Rules, tenant: &str, now: Timestamp) -> Result<Vec<BudgetView>, LedgerError> {
    let plan = rules.plans.get(tenant).map(String::as_str);
    let raises = raise::active(db, now)?;
    let mut views = Vec::new();
    for (at, budget) in rules.budgets.iter().enumerate().filter(|(_, budget)| budget.applies(tenant, plan)) {
        if budget.per_user {
            views.extend(of_users(db, rules, (at, budget), tenant, (&raises, now))?);
            continue;
        }
        let subject = budget.subject(tenant);
        let mut counters = Counters::read(db, &subject, &rules.budgets)?;
        let anchor =
            if budget.span == Span::BillingPeriod { periods::anchor_of(db, tenant)? } else { Anchor::default() };
        views.push(view(budget, at, &subject, &mut counters, anchor, &raises, now));
    }
    Ok(views)
}

/// The most end users of a tenant in one answer, those that have used most.
const USERS_SHOWN: usize = 100;

/// What a tenant's end users have used of a budget.
fn of_users(
    db: &Connection,
    rules: &Rules,
    (at, budget): (usize, &Budget),
    tenant: &str,
    (raises, now): (&[Raise], Timestamp),
) -> Result<Vec<BudgetView>, LedgerError> {
    let (first, last) = subject::users_of(tenant);
    let mut select = db.prepare_cached("SELECT subject, used FROM budget_use WHERE subject > ?1 AND subject < ?2")?;
    let mut rows = select.query([first, last])?;
    let mut views = Vec::new();
    while let Some(row) = rows.next()? {
        let subject: String = row.get(0)?;
        let mut counters = Counters::parse(row.get_ref(1)?.as_str().unwrap_or_default(), &rules.budgets)?;
        if counters.of(at).is_some_and(|counter| counter.period.holds(now)) {
            views.push(view(budget, at, &subject, &mut counters, Anchor::default(), raises, now));
        }
    }
    views.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.subject.cmp(&b.subject)));
    views.truncate(USERS_SHOWN);
    Ok(views)
}

/// The budgets that have used something in their current period and stand at `least` or beyond it; the most used first, at
/// most [`ROWS_MAX`].
pub fn list(db: &Connection, rules: &Rules, least: Stage, now: Timestamp) -> Result<Vec<BudgetView>, LedgerError> {
    let raises = raise::active(db, now)?;
    let mut select = db.prepare_cached("SELECT subject, used FROM budget_use")?;
    let mut rows = select.query([])?;
    let mut views = Vec::new();
    while let Some(row) = rows.next()? {
        let subject: String = row.get(0)?;
        let mut counters = Counters::parse(row.get_ref(1)?.as_str().unwrap_or_default(), &rules.budgets)?;
        let current: Vec<usize> =
            counters.list.iter().filter(|counter| counter.period.holds(now)).map(|counter| counter.budget).collect();
        for at in current {
            let Some(budget) = rules.budgets.get(at) else { continue };
            views.push(view(budget, at, &subject, &mut counters, Anchor::default(), &raises, now));
        }
    }
    views.retain(|view| view.stage >= least);
    views.sort_by(|a, b| b.used_permille.cmp(&a.used_permille).then_with(|| a.subject.cmp(&b.subject)));
    views.truncate(ROWS_MAX as usize);
    Ok(views)
}

/// Of each subject the budget that it has used most of in its current period; of one that binds, if there is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MostUsed {
    /// How far it is used.
    pub by_subject: HashMap<String, Use>,
    /// Whether there are subjects beside these.
    pub has_more: bool,
}

/// The budgets that at most `most` subjects have used most of.
pub fn most_used(db: &Connection, rules: &Rules, now: Timestamp, most: usize) -> Result<MostUsed, LedgerError> {
    let raises = raise::active(db, now)?;
    let mut select = db.prepare_cached("SELECT subject, used FROM budget_use")?;
    let mut rows = select.query([])?;
    let mut found = MostUsed::default();
    while let Some(row) = rows.next()? {
        let subject: String = row.get(0)?;
        let mut counters = Counters::parse(row.get_ref(1)?.as_str().unwrap_or_default(), &rules.budgets)?;
        let current: Vec<usize> =
            counters.list.iter().filter(|counter| counter.period.holds(now)).map(|counter| counter.budget).collect();
        let views = current.into_iter().filter_map(|at| {
            let view = view(rules.budgets.get(at)?, at, &subject, &mut counters, Anchor::default(), &raises, now);
            Some(view.use_of())
        });
        let Some(used) = views.max_by_key(|used| used.weight()) else { continue };
        if found.by_subject.len() >= most {
            found.has_more = true;
            break;
        }
        found.by_subject.insert(subject, used);
    }
    Ok(found)
}

fn view(
    budget: &Budget,
    at: usize,
    subject: &str,
    counters: &mut Counters,
    anchor: Anchor,
    raises: &[Raise],
    now: Timestamp,
) -> BudgetView {
    // A counter of an earlier period stays until something is used in the current one.
    let counter = counters.of(at).filter(|counter| counter.period.holds(now)).copied();
    let period = counter.map_or_else(|| budget.period(|| anchor, now), |counter| counter.period);
    let (used, unpriced) = counter.map_or((Pico::ZERO, 0), |counter| (counter.used, counter.unpriced));
    let whose = if budget.per_user { subject::tenant(subject) } else { subject };
    let raise = raises.iter().rev().find(|raise| raise.subject == whose && raise.budget == *budget.name).cloned();
    let amount = raise.as_ref().and_then(|raise| raise.amount).unwrap_or_else(|| budget.amount(subject));
    let paused = raise.as_ref().is_some_and(|raise| raise.amount.is_none());
    BudgetView {
        budget: budget.name.to_string(),
        subject: subject.to_owned(),
        covers: budget.scope_of(subject).to_string(),
        unit: budget.unit().to_owned(),
        period_start: period.start,
        period_end: period.end,
        used,
        amount,
        used_permille: permille(used, amount),
        unpriced_requests: unpriced,
        stage: if paused { Stage::Ok } else { budget.stage_lacking(used, amount, unpriced) },
        mode: budget.mode.as_str().to_owned(),
        raise,
    }
}

/// What a budget of cost cannot count in its current periods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// The budget.
    pub budget: String,
    /// Its currency.
    pub currency: String,
    /// Requests without a price, or with one in another currency.
    pub requests: u64,
    /// How many tenants or users they are of.
    pub subjects: u64,
}

/// The budgets of cost whose used amounts lack something, in the order of the configuration.
pub fn lacking(db: &Connection, rules: &Rules, now: Timestamp) -> Result<Vec<Lacking>, LedgerError> {
    if !rules.budgets.iter().any(|budget| budget.of == Measure::Cost) {
        return Ok(Vec::new());
    }
    let none = |budget: &Budget| Lacking {
        budget: budget.name.to_string(),
        currency: budget.currency.to_string(),
        ..Lacking::default()
    };
    let mut all: Vec<Lacking> = rules.budgets.iter().map(none).collect();
    let mut select = db.prepare_cached("SELECT used FROM budget_use")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let counters = Counters::parse(row.get_ref(0)?.as_str().unwrap_or_default(), &rules.budgets)?;
        for counter in counters.list.iter().filter(|counter| counter.unpriced > 0 && counter.period.holds(now)) {
            if let Some(of) = all.get_mut(counter.budget) {
                of.requests += counter.unpriced;
                of.subjects += 1;
            }
        }
    }
    all.retain(|of| of.requests > 0);
    Ok(all)
}

/// Whether something was ever counted of a tenant under a budget of its own.
pub fn has_used(db: &Connection, tenant: &str) -> Result<bool, LedgerError> {
    let sql = "SELECT 1 FROM budget_use WHERE subject = ?1";
    Ok(db.prepare_cached(sql)?.query_row([tenant], |_| Ok(())).optional()?.is_some())
}

/// What a budget of a subject has used in the period that begins at `start`; None if nothing is known of it.
pub fn used_in_period(
    db: &Connection,
    rules: &Rules,
    (subject, budget): (&str, &str),
    start: Timestamp,
) -> Result<Option<Pico>, LedgerError> {
    let Some(at) = rules.budgets.iter().position(|known| *known.name == *budget) else { return Ok(None) };
    let mut counters = Counters::read(db, subject, &rules.budgets)?;
    if let Some(counter) = counters.of(at).filter(|counter| counter.period.start == start) {
        return Ok(Some(counter.used));
    }
    let sql = "SELECT used FROM budget_past WHERE subject = ?1 AND budget = ?2 AND period_start = ?3";
    let key = params![subject, budget, signed(start.as_millis())?];
    let used: Option<String> = db.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    Ok(used.and_then(|used| used.parse().ok()).map(Pico))
}

/// Changes of stages, the latest first, at most `limit`, before the number `before`.
pub fn history(
    db: &Connection,
    subject: Option<&str>,
    budget: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Transition>, LedgerError> {
    let of = if subject.is_some() { "subject = ?1" } else { "(?1 IS NULL OR subject = ?1)" };
    let sql = format!(
        "SELECT id, at, position, subject, budget, period_start, period_end, was, stage, used, amount, unit, mode,
                cause, why FROM budget_transition WHERE {of} AND (?2 IS NULL OR budget = ?2)
                AND (?3 IS NULL OR id < ?3) ORDER BY id DESC LIMIT ?4"
    );
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map(params![subject, budget, before, limit.min(ROWS_MAX)], transition)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn transition(row: &weir_database::Row<'_>) -> Result<Transition, weir_database::Error> {
    let millis = |column| row.get::<_, u64>(column).map(Timestamp::from_millis);
    Ok(Transition {
        id: row.get(0)?,
        at: millis(1)?,
        evaluated_through: row.get(2)?,
        subject: row.get(3)?,
        budget: row.get(4)?,
        period_start: millis(5)?,
        period_end: row.get::<_, Option<u64>>(6)?.map(Timestamp::from_millis),
        was: row.get(7)?,
        stage: row.get(8)?,
        used: row.get(9)?,
        amount: row.get(10)?,
        unit: row.get(11)?,
        mode: row.get(12)?,
        cause: Cause::from_name(row.get_ref(13)?.as_str().unwrap_or_default()).unwrap_or_default(),
        why: row.get(14)?,
    })
}

/// The stages in force, as gateways are told them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// By tenant, the most severe first, at most [`STAGES_MAX`] each.
    pub stages: HashMap<String, Vec<BudgetStage>>,
    /// The same of groups of keys and of end users, at most [`FURTHER_STAGES_MAX`] each.
    pub further: HashMap<String, Vec<BudgetStage>>,
    /// How many are left out, since a tenant has too many.
    pub left_out: usize,
    /// The first moment at which one of them ends.
    pub next_end: Option<Timestamp>,
}

/// Reads the stages in force at `now`.
pub fn in_force(db: &Connection, rules: &Rules, now: Timestamp) -> Result<InForce, LedgerError> {
    let sql = "SELECT subject, budget, scope, stage, used_permille, period_end FROM budget_stage
               WHERE period_end IS NULL OR period_end > ?1";
    let mut select = db.prepare_cached(sql)?;
    let since = if fault::hit(Point::StageSticks) { 0 } else { signed(now.as_millis())? };
    let mut rows = select.query([since])?;
    let mut found = InForce::default();
    while let Some(row) = rows.next()? {
        let (subject, name): (String, String) = (row.get(0)?, row.get(1)?);
        let binds = |budget: &&Budget| *budget.name == *name && budget.mode == BudgetMode::Enforce;
        let Some(budget) = rules.budgets.iter().find(binds) else { continue };
        let (scope, stage): (String, String) = (row.get(2)?, row.get(3)?);
        let wrong = || LedgerError::Inconsistent(format!("budget_stage has the scope {scope} and the stage {stage}"));
        let told = BudgetStage {
            budget: name.as_str().into(),
            scope: serde_json::from_str(&scope).map_err(|_| wrong())?,
            stage: Stage::from_name(&stage).ok_or_else(wrong)?,
            used_permille: row.get(4)?,
            ends: row.get::<_, Option<u64>>(5)?.map(Timestamp::from_millis),
        };
        found.next_end = [found.next_end, told.ends].into_iter().flatten().min();
        let own = subject::tenant(&subject);
        let tenants: Vec<&str> = if budget.shared { budget.named_tenants().collect() } else { vec![own] };
        let stages = if told.scope.is_further() { &mut found.further } else { &mut found.stages };
        for tenant in tenants {
            // A tenant that has changed its plan has other budgets now.
            if budget.applies(tenant, rules.plans.get(tenant).map(String::as_str)) {
                stages.entry(tenant.to_owned()).or_default().push(told.clone());
            }
        }
    }
    found.left_out = cut(&mut found.stages, STAGES_MAX) + cut(&mut found.further, FURTHER_STAGES_MAX);
    Ok(found)
}

/// Keeps the most severe stages of each tenant; returns how many it drops.
fn cut(of: &mut HashMap<String, Vec<BudgetStage>>, most: usize) -> usize {
    let mut dropped = 0;
    for stages in of.values_mut() {
        let order = |a: &BudgetStage, b: &BudgetStage| b.stage.cmp(&a.stage).then_with(|| a.budget.cmp(&b.budget));
        stages.sort_by(|a, b| order(a, b).then_with(|| a.scope.cmp(&b.scope)));
        dropped += stages.len().saturating_sub(most);
        stages.truncate(most);
    }
    dropped
}
