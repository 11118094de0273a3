//! Notes what ends with another configuration or plan: stages of budgets that a subject no longer has, or that count something else, and
//! those of budgets that bind no longer, or bind from now on.
use weir_database::OptionalExtension;
use weir_ledger::amount::Pico;

use super::{Budget, Cause, Counter, Engine, LedgerError, Reason, Stage, Step, past};
use crate::counters::Gone;
use crate::file::BudgetMode;
use crate::stages::Noted;

impl Engine {
    /// Notes that a subject no longer has a budget, and forgets its past periods.
    pub(super) fn note_gone(&self, step: &mut Step<'_, '_>, subject: &str, gone: &Gone) -> Result<(), LedgerError> {
        past::forget(step.tx, subject, &gone.budget)?;
        let Gone { budget, period, used, stage: was } = gone;
        if *was == Stage::Ok {
            return Ok(());
        }
        let sql = "SELECT stage, amount, unit, mode FROM budget_transition
                   WHERE subject = ?1 AND budget = ?2 AND period_start = ?3 ORDER BY id DESC LIMIT 1";
        let key = weir_database::params![subject, budget, period.start.as_millis()];
        let last = step
            .tx
            .prepare_cached(sql)?
            .query_row(key, |row| Ok::<[String; 4], _>([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]));
        // Only a budget without periods has a change that is older than they are kept.
        let [stage, amount, unit, mode] = last.optional()?.unwrap_or_else(|| {
            [was.as_str(), &Pico::ZERO.to_string(), "", BudgetMode::Enforce.as_str()].map(str::to_owned)
        });
        if stage == Stage::Ok.as_str() {
            return Ok(());
        }
        let is_over = !period.holds(step.moment.now);
        let reason = match self.differences.of(budget) {
            _ if is_over => Reason::of(Cause::PeriodEnded),
            Some(words) => Reason { cause: Cause::Rules, why: words.to_owned() },
            None => Reason { cause: Cause::Rules, why: "the tenant no longer has the budget".to_owned() },
        };
        step.changed = true;
        let (used, amount) = (&*used.to_string(), &*amount);
        let noted = Noted {
            subject,
            budget,
            period: *period,
            was: *was,
            stage: Stage::Ok,
            used,
            amount,
            unit: &unit,
            mode: &mode,
        };
        noted.write(step.tx, step.moment, &reason, !is_over)
    }

    /// Ends the stage of a budget whose mode is another now; that of the new mode begins when it is evaluated. Returns whether there was
    /// one.
    pub(super) fn end_mode(
        &self,
        step: &Step<'_, '_>,
        subject: &str,
        budget: &Budget,
        counter: &mut Counter,
    ) -> Result<bool, LedgerError> {
        let Some(mode) = self.differences.mode_before(&budget.name) else { return Ok(false) };
        let Counter { period, used, stage: was, .. } = *counter;
        if was == Stage::Ok || !period.holds(step.moment.now) {
            return Ok(false);
        }
        let why = self.differences.of(&budget.name).unwrap_or_default().to_owned();
        let amount = self.amount(subject, budget).unwrap_or_default().to_string();
        let (used, unit, mode, reason) =
            (used.to_string(), budget.unit(), mode.as_str(), Reason { cause: Cause::Rules, why });
        counter.stage = Stage::Ok;
        Noted {
            subject,
            budget: &budget.name,
            period,
            was,
            stage: Stage::Ok,
            used: &used,
            amount: &amount,
            unit,
            mode,
        }
        .write(step.tx, step.moment, &reason, true)?;
        Ok(true)
    }
}
