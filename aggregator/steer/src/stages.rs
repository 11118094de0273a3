//! The tables of stages: `budget_stage` holds those in force, or that would be if their budgets did not only observe, `budget_transition` every
//! change.
use std::collections::HashMap;

use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_database::{OptionalExtension, Transaction, params};
use weir_ledger::LedgerError;
use weir_ledger::amount::Pico;
use weir_ledger::steering::Moment;

use crate::budget::{Budget, permille};
use crate::calendar::Period;
use crate::cause::Reason;

/// How long transitions are kept, in milliseconds: a year and a month.
const KEPT_MS: u64 = 400 * 24 * 3_600 * 1_000;
/// The most transitions that are kept; the oldest go first.
const KEPT_MAX: i64 = 1_000_000;
/// The most transitions that are dropped at a time, so that no transaction takes long.
const DROPPED_MAX: u32 = 1_000;

/// How long a stage stays in its table after its period, in milliseconds: a clock that was ahead and is set back puts it in force again.
const ENDED_KEPT_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// A change of a stage, or of the amount that it is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) subject: &'a str,
    pub(crate) budget: &'a Budget,
    pub(crate) period: Period,
    pub(crate) was: Stage,
    pub(crate) stage: Stage,
    pub(crate) used: Pico,
    pub(crate) amount: Pico,
    pub(crate) reason: &'a Reason,
}

impl Change<'_> {
    /// Notes the change, and puts the stage in force until its period ends.
    pub(crate) fn write(&self, tx: &Transaction<'_>, moment: Moment) -> Result<(), LedgerError> {
        // Nobody needs to act on a period that is over.
        let is_current = self.period.end.is_none_or(|end| moment.now < end);
        self.note(tx, moment, is_current)?;
        self.enforce(tx, InForce { since: moment.now, over_noted: !is_current }, moment)
    }

    /// Notes the change. `is_told`: people are told of it.
    pub(crate) fn note(&self, tx: &Transaction<'_>, moment: Moment, is_told: bool) -> Result<(), LedgerError> {
        let Change { subject, budget, period, was, stage, used, amount, reason } = *self;
        let (used, amount) = (&*used.to_string(), &*amount.to_string());
        let (unit, mode, budget) = (budget.unit(), budget.mode.as_str(), &*budget.name);
        Noted { subject, budget, period, was, stage, used, amount, unit, mode }.write(tx, moment, reason, is_told)
    }

    /// Puts the stage in force, or takes away the one before.
    pub(crate) fn enforce(&self, tx: &Transaction<'_>, of: InForce, moment: Moment) -> Result<(), LedgerError> {
        if self.stage == Stage::Ok {
            return release(tx, self.subject, &self.budget.name).map(drop);
        }
        let scope = serde_json::to_string(&self.budget.scope_of(self.subject));
        let scope = scope.map_err(|error| LedgerError::Inconsistent(format!("a scope cannot be written: {error}")))?;
        let sql = "INSERT INTO budget_stage(subject, budget, period_start, period_end, scope, stage, used_permille,
                   since, position, over_noted) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)
                   ON CONFLICT (subject, budget) DO UPDATE SET period_start = excluded.period_start,
                     period_end = excluded.period_end, scope = excluded.scope, stage = excluded.stage,
                     used_permille = excluded.used_permille, since = excluded.since, position = excluded.position,
                     over_noted = excluded.over_noted";
        tx.prepare_cached(sql)?.execute(params![
            self.subject,
            &*self.budget.name,
            self.period.start.as_millis(),
            self.period.end.map(Timestamp::as_millis),
            scope,
            self.stage.as_str(),
            permille(self.used, self.amount),
            of.since.as_millis(),
            moment.position,
            of.over_noted,
        ])?;
        Ok(())
    }
}

/// A change as it stands in the table: that of a budget which is no longer configured as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted<'a> {
    pub(crate) subject: &'a str,
    pub(crate) budget: &'a str,
    pub(crate) period: Period,
    pub(crate) was: Stage,
    pub(crate) stage: Stage,
    pub(crate) used: &'a str,
    pub(crate) amount: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) mode: &'a str,
}

impl Noted<'_> {
    /// Writes it. `is_told`: people are told of it.
    pub(crate) fn write(
        &self,
        tx: &Transaction<'_>,
        moment: Moment,
        reason: &Reason,
        is_told: bool,
    ) -> Result<(), LedgerError> {
        let Noted { subject, budget, period, was, stage, used, amount, unit, mode } = self;
        let sql =
            "INSERT INTO budget_transition(at, position, subject, budget, period_start, period_end, was, stage, used,
                   amount, unit, mode, told, cause, why) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)";
        tx.prepare_cached(sql)?.execute(params![
            moment.now.as_millis(),
            moment.position,
            subject,
            budget,
            period.start.as_millis(),
            period.end.map(Timestamp::as_millis),
            was.as_str(),
            stage.as_str(),
            used,
            amount,
            unit,
            mode,
            !is_told,
            reason.cause.as_str(),
            reason.why,
        ])?;
        Ok(())
    }
}

/// What is kept of a stage when it is put in force again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) since: Timestamp,
    /// The end of its period stands among the transitions.
    pub(crate) over_noted: bool,
}

/// The stages in their table, by subject and budget.
pub(crate) fn all(tx: &Transaction<'_>) -> Result<HashMap<(String, String), InForce>, LedgerError> {
    let mut select = tx.prepare("SELECT subject, budget, since, over_noted FROM budget_stage")?;
    let rows = select.query_map([], |row| {
        let of = InForce { since: Timestamp::from_millis(row.get(2)?), over_noted: row.get(3)? };
        Ok(((row.get(0)?, row.get(1)?), of))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether a stage may still come in force again, should the clock be set back.
pub(crate) fn is_kept(period: Period, now: Timestamp) -> bool {
    period.end.is_none_or(|end| now.millis_since(end) < ENDED_KEPT_MS)
}

/// Takes away the stage of a budget: a later period has begun, or it has room again. Returns whether its end is still to be noted.
pub(crate) fn release(tx: &Transaction<'_>, subject: &str, budget: &str) -> Result<bool, LedgerError> {
    let sql = "DELETE FROM budget_stage WHERE subject = ?1 AND budget = ?2 RETURNING over_noted";
    let noted: Option<bool> = tx.prepare_cached(sql)?.query_row([subject, budget], |row| row.get(0)).optional()?;
    Ok(noted == Some(false))
}

/// The stages whose periods are over and whose ends are not noted, at most `limit`: subject and budget.
pub(crate) fn ended(tx: &Transaction<'_>, now: Timestamp, limit: usize) -> Result<Vec<(String, String)>, LedgerError> {
    let sql = "SELECT subject, budget FROM budget_stage WHERE period_end <= ?1 AND over_noted = 0 LIMIT ?2";
    let mut select = tx.prepare_cached(sql)?;
    let rows = select.query_map(params![now.as_millis(), limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The end of the stage's period is noted.
pub(crate) fn note_ended(tx: &Transaction<'_>, subject: &str, budget: &str) -> Result<(), LedgerError> {
    let sql = "UPDATE budget_stage SET over_noted = 1 WHERE subject = ?1 AND budget = ?2";
    tx.prepare_cached(sql)?.execute([subject, budget])?;
    Ok(())
}

/// Drops some of the transitions that are more than a year old, or more than can be kept.
pub(crate) fn expire(tx: &Transaction<'_>, now: Timestamp) -> Result<(), LedgerError> {
    let before = now.as_millis().saturating_sub(KEPT_MS);
    let sql = "DELETE FROM budget_transition WHERE id IN (SELECT id FROM budget_transition
               WHERE at < ?1 OR id <= (SELECT max(id) FROM budget_transition) - ?2 ORDER BY id LIMIT ?3)";
    tx.prepare_cached(sql)?.execute(params![before, KEPT_MAX, DROPPED_MAX])?;
    Ok(())
}
