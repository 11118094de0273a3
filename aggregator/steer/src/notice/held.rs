//! Changes of budgets that wait for a message, and those that a silence holds back.
//!
//! A change that a silence covers is marked as held (`told` = 2). Once no silence covers its budget, people are told how the stage differs from the one
//! that they were told last, in one message; of a stage that went and came back nobody is told, nor of a period that is over. The end of what was
//! told is told in a silence as well.
use std::collections::{HashMap, HashSet};

use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_database::{Connection, Transaction, params};
use weir_ledger::LedgerError;

use super::STEP;
use crate::alert::silence::{self, Silence};
use crate::view::{Transition, transition};

/// The columns of [`transition`].
const COLUMNS: &str =
    "id, at, position, subject, budget, period_start, period_end, was, stage, used, amount, unit, mode, cause, why";
/// The most stages that are repeated to a receiver that forgets them; those that changed last.
const STANDING_MAX: u32 = 10_000;

/// A budget and its subject.
type Key = (String, String);

/// What is told next, and what is noted with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes that people are told of, each since the stage that they were told last.
    pub told: Vec<Transition>,
    /// Whether there may be more.
    pub(super) is_full: bool,
    /// The changes that are settled with that.
    settled: Vec<i64>,
    /// The changes that a silence holds back.
    held: Vec<i64>,
}

impl Plan {
    /// Marks the changes.
    pub(super) fn note(&self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        for (told, ids) in [(2, &self.held), (1, &self.settled)] {
            for id in ids {
                let sql = "UPDATE budget_transition SET told = ?2 WHERE id = ?1";
                tx.prepare_cached(sql)?.execute(params![id, told])?;
            }
        }
        Ok(())
    }

    /// Tells of the difference that changes make, the last one among them.
    fn settle(&mut self, changes: Vec<Transition>, is_told: bool) {
        self.settled.extend(changes.iter().map(|change| change.id));
        self.told.extend(difference(changes).filter(|_| is_told));
    }
}

/// The last change, since the stage before the first one of its period; None if nothing differs.
fn difference(changes: Vec<Transition>) -> Option<Transition> {
    let start = changes.last()?.period_start;
    let was = changes.iter().find(|change| change.period_start == start)?.was.clone();
    let last = changes.into_iter().next_back()?;
    (was != last.stage).then_some(Transition { was, ..last })
}

/// What is told next.
pub fn plan(db: &Connection, now: Timestamp) -> Result<Plan, LedgerError> {
    let silences = silence::active(db, now)?;
    let mut plan = Plan::default();
    let has_held = has_held(db)?;
    let mut waiting: HashMap<Key, Vec<Transition>> = HashMap::new();
    let untold = untold(db)?;
    plan.is_full = untold.len() == STEP as usize;
    for change in untold {
        let key = (change.budget.clone(), change.subject.clone());
        if has_held && !waiting.contains_key(&key) {
            waiting.insert(key.clone(), held_of(db, &key)?);
        }
        let changes = waiting.entry(key.clone()).or_default();
        let (id, is_end) = (change.id, change.stage == Stage::Ok.as_str());
        changes.push(change);
        if is_silenced(&silences, &key) && !is_end {
            plan.held.push(id);
            continue;
        }
        let changes = std::mem::take(changes);
        plan.settle(changes, true);
    }
    if has_held {
        for key in released(db, &silences)?.into_iter().filter(|key| !waiting.contains_key(key)) {
            let changes = held_of(db, &key)?;
            let is_over = changes.last().and_then(|change| change.period_end).is_some_and(|end| end <= now);
            plan.settle(changes, !is_over);
        }
    }
    Ok(plan)
}

fn is_silenced(silences: &[Silence], (budget, subject): &Key) -> bool {
    silences.iter().any(|silence| silence.covers_budget(budget, subject))
}

/// The next changes of budgets that nobody was told of.
fn untold(db: &Connection) -> Result<Vec<Transition>, LedgerError> {
    let sql = format!("SELECT {COLUMNS} FROM budget_transition WHERE told = 0 ORDER BY id LIMIT ?1");
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([STEP], transition)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn has_held(db: &Connection) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM budget_transition WHERE told = 2)";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The changes of a budget that are held back, the oldest first.
fn held_of(db: &Connection, (budget, subject): &Key) -> Result<Vec<Transition>, LedgerError> {
    let sql =
        format!("SELECT {COLUMNS} FROM budget_transition WHERE told = 2 AND subject = ?1 AND budget = ?2 ORDER BY id");
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([subject, budget], transition)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The budgets whose changes are held back, and that no silence covers any longer.
fn released(db: &Connection, silences: &[Silence]) -> Result<HashSet<Key>, LedgerError> {
    let sql = "SELECT DISTINCT budget, subject FROM budget_transition WHERE told = 2";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let held: Vec<Key> = rows.collect::<Result<_, _>>()?;
    Ok(held.into_iter().filter(|key| !is_silenced(silences, key)).collect())
}

/// Whether changes were held back that no silence covers any longer.
pub(super) fn has_released(db: &Connection, now: Timestamp) -> Result<bool, LedgerError> {
    Ok(has_held(db)? && !released(db, &silence::active(db, now)?)?.is_empty())
}

/// The changes that began the stages in force, as far as people were told of them; those of today first.
pub fn standing(db: &Connection, now: Timestamp) -> Result<Vec<Transition>, LedgerError> {
    let columns: Vec<String> = COLUMNS.split(", ").map(|column| format!("began.{column}")).collect();
    let sql = format!(
        "SELECT {} FROM budget_stage AS stands JOIN budget_transition AS began ON began.id = (
           SELECT max(id) FROM budget_transition AS one
           WHERE one.subject = stands.subject AND one.budget = stands.budget AND one.told = 1 AND one.was <> one.stage)
         WHERE (stands.period_end IS NULL OR stands.period_end > ?1)
           AND began.period_start = stands.period_start AND began.stage <> 'ok'
         ORDER BY began.id DESC LIMIT ?2",
        columns.join(", ")
    );
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map(params![now.as_millis(), STANDING_MAX], transition)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
