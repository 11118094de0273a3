//! What budgets have used in periods before the current one: the table `budget_past`.
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_database::{OptionalExtension, Transaction, params};
use weir_ledger::LedgerError;
use weir_ledger::amount::Pico;

use crate::calendar::Period;

/// How long past periods are kept, in milliseconds: a year and a month.
const KEPT_MS: u64 = 400 * 24 * 3_600 * 1_000;
/// The most past periods that are dropped at a time, so that no transaction takes long.
const DROPPED_MAX: u32 = 1_000;

/// What a budget has used in a past period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) used: Pico,
    pub(crate) stage: Stage,
}

/// Reads a past period; None if nothing is known of it.
pub(crate) fn read(
    tx: &Transaction<'_>,
    subject: &str,
    budget: &str,
    start: Timestamp,
) -> Result<Option<Past>, LedgerError> {
    let sql = "SELECT used, stage FROM budget_past WHERE subject = ?1 AND budget = ?2 AND period_start = ?3";
    let key = params![subject, budget, start.as_millis()];
    let row: Option<(String, String)> =
        tx.prepare_cached(sql)?.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((used, stage)) = row else { return Ok(None) };
    let wrong = || LedgerError::Inconsistent(format!("budget_past has the amount {used:?} and the stage {stage:?}"));
    let used = Pico(used.parse().map_err(|_| wrong())?);
    Ok(Some(Past { used, stage: Stage::from_name(&stage).ok_or_else(wrong)? }))
}

/// Writes a past period. One without an end is never past.
pub(crate) fn write(
    tx: &Transaction<'_>,
    subject: &str,
    budget: &str,
    period: Period,
    past: Past,
) -> Result<(), LedgerError> {
    let Some(end) = period.end else { return Ok(()) };
    let sql =
        "INSERT INTO budget_past(subject, budget, period_start, period_end, used, stage) VALUES (?1,?2,?3,?4,?5,?6)
               ON CONFLICT (subject, budget, period_start) DO UPDATE SET used = excluded.used, stage = excluded.stage";
    let (start, end) = (period.start.as_millis(), end.as_millis());
    let row = params![subject, budget, start, end, past.used.0.to_string(), past.stage.as_str()];
    tx.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Forgets the past periods of a budget that a subject no longer has.
pub(crate) fn forget(tx: &Transaction<'_>, subject: &str, budget: &str) -> Result<(), LedgerError> {
    let sql = "DELETE FROM budget_past WHERE subject = ?1 AND budget = ?2";
    tx.prepare_cached(sql)?.execute([subject, budget])?;
    Ok(())
}

/// Drops some of the periods that ended more than a year ago.
pub(crate) fn expire(tx: &Transaction<'_>, now: Timestamp) -> Result<(), LedgerError> {
    let before = now.as_millis().saturating_sub(KEPT_MS);
    let sql = "DELETE FROM budget_past WHERE (subject, budget, period_start) IN
               (SELECT subject, budget, period_start FROM budget_past WHERE period_end < ?1 LIMIT ?2)";
    tx.prepare_cached(sql)?.execute(params![before, DROPPED_MAX])?;
    Ok(())
}
