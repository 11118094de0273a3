//! The tables of stages: `budget_stage` holds those in force, `budget_transition` every change.
use rusqlite::{Transaction, params};
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_ledger::LedgerError;
use weir_ledger::amount::Pico;
use weir_ledger::steering::Moment;

use crate::budget::{Budget, permille};
use crate::calendar::Period;
use crate::file::BudgetMode;

/// How long transitions are kept, in milliseconds: a year and a month.
const KEPT_MS: u64 = 400 * 24 * 3_600 * 1_000;
/// The most transitions that are dropped at a time, so that no transaction takes long.
const DROPPED_MAX: u32 = 1_000;

/// A change of a stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) subject: &'a str,
    pub(crate) budget: &'a Budget,
    pub(crate) period: Period,
    pub(crate) was: Stage,
    pub(crate) stage: Stage,
    pub(crate) used: Pico,
    pub(crate) amount: Pico,
}

impl Change<'_> {
    /// Notes the change, and puts the stage in force if its period is the current one.
    pub(crate) fn write(&self, tx: &Transaction<'_>, moment: Moment, is_current: bool) -> Result<(), LedgerError> {
        let Change { subject, budget, period, was, stage, used, amount } = self;
        let sql =
            "INSERT INTO budget_transition(at, position, subject, budget, period_start, period_end, was, stage, used,
                   amount, unit, mode, told) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)";
        tx.prepare_cached(sql)?.execute(params![
            moment.now.as_millis(),
            moment.position,
            subject,
            &*budget.name,
            period.start.as_millis(),
            period.end.map(Timestamp::as_millis),
            was.as_str(),
            stage.as_str(),
            used.to_string(),
            amount.to_string(),
            budget.unit(),
            budget.mode.as_str(),
            // Nobody needs to act on a period that is over.
            !is_current,
        ])?;
        if is_current { self.enforce(tx, moment.now, moment) } else { Ok(()) }
    }

    /// Puts the stage in force, or takes away the one before.
    pub(crate) fn enforce(&self, tx: &Transaction<'_>, since: Timestamp, moment: Moment) -> Result<(), LedgerError> {
        if self.stage == Stage::Ok || self.budget.mode == BudgetMode::Observe {
            return release(tx, self.subject, &self.budget.name);
        }
        let scope = serde_json::to_string(&self.budget.scope);
        let scope = scope.map_err(|error| LedgerError::Inconsistent(format!("a scope cannot be written: {error}")))?;
        let sql = "INSERT OR REPLACE INTO budget_stage(subject, budget, period_start, period_end, scope, stage, used_permille,
                   since, position) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)";
        tx.prepare_cached(sql)?.execute(params![
            self.subject,
            &*self.budget.name,
            self.period.start.as_millis(),
            self.period.end.map(Timestamp::as_millis),
            scope,
            self.stage.as_str(),
            permille(self.used, self.amount),
            since.as_millis(),
            moment.position,
        ])?;
        Ok(())
    }
}

/// Takes away the stage of a budget: its period is over, or it has room again.
pub(crate) fn release(tx: &Transaction<'_>, subject: &str, budget: &str) -> Result<(), LedgerError> {
    let sql = "DELETE FROM budget_stage WHERE subject = ?1 AND budget = ?2";
    tx.prepare_cached(sql)?.execute([subject, budget])?;
    Ok(())
}

/// Drops some of the transitions that are more than a year old.
pub(crate) fn expire(tx: &Transaction<'_>, now: Timestamp) -> Result<(), LedgerError> {
    let before = now.as_millis().saturating_sub(KEPT_MS);
    let sql = "DELETE FROM budget_transition WHERE id IN (SELECT id FROM budget_transition WHERE at < ?1 ORDER BY id LIMIT ?2)";
    tx.prepare_cached(sql)?.execute(params![before, DROPPED_MAX])?;
    Ok(())
}
