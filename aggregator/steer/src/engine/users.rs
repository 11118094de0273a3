//! End users: who of them is counted, since clients can name any number of users.
//!
//! A tenant has at most [`USERS_OF_TENANT_MAX`], all tenants together [`USERS_MAX`]. Who is counted stays: to drop a count would forget
//! what was used. At a bound the users whose periods are over make room; without any, a further user is not counted, and
//! [`Signal::left_out`](super::Signal::left_out) says how often.
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::OptionalExtension;

use super::{Counters, Engine, LedgerError, Step, Transaction};
use crate::subject;

/// The most end users of one tenant that are counted.
pub(crate) const USERS_OF_TENANT_MAX: u64 = 1_000;
/// The most end users of all tenants.
const USERS_MAX: u64 = 200_000;
/// How long a period must be over for its user to make room, in milliseconds: the clock may be ahead.
const OVER_MS: u64 = HOUR_MS;

impl Engine {
    /// Whether an end user is counted: known, or there is room.
    pub(super) fn admits_user(
        &mut self,
        step: &Step<'_, '_>,
        tenant: &str,
        subject: &str,
    ) -> Result<bool, LedgerError> {
        if self.known.contains_key(subject) || has_row(step.tx, subject)? {
            return Ok(true);
        }
        let mut all = match self.users {
            Some(users) => users,
            None => count_all(step.tx)?,
        };
        let range = subject::users_of(tenant);
        let mut of_tenant = count(step.tx, &range)?;
        if of_tenant >= USERS_OF_TENANT_MAX || all >= USERS_MAX {
            let dropped = self.drop_ended(step, &range)?;
            (of_tenant, all) = (of_tenant - dropped, all - dropped);
        }
        let is_admitted = of_tenant < USERS_OF_TENANT_MAX && all < USERS_MAX;
        if !is_admitted {
            self.signal.note_left_out();
        }
        self.users = Some(all + u64::from(is_admitted));
        Ok(is_admitted)
    }

    /// Drops the users of a tenant whose periods are over; returns how many.
    fn drop_ended(&mut self, step: &Step<'_, '_>, range: &(String, String)) -> Result<u64, LedgerError> {
        let before = Timestamp::from_millis(step.moment.now.as_millis().saturating_sub(OVER_MS));
        let sql = "SELECT subject, used FROM budget_use WHERE subject > ?1 AND subject < ?2";
        let mut select = step.tx.prepare_cached(sql)?;
        let rows =
            select.query_map([&range.0, &range.1], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut dropped = 0;
        for (subject, used) in rows.collect::<Result<Vec<_>, _>>()? {
            let counters = Counters::parse(&used, &self.rules.budgets)?;
            if counters.list.iter().all(|counter| counter.period.end.is_some_and(|end| end <= before)) {
                step.tx.prepare_cached("DELETE FROM budget_use WHERE subject = ?1")?.execute([&subject])?;
                step.tx.prepare_cached("DELETE FROM budget_stage WHERE subject = ?1")?.execute([&subject])?;
                self.known.remove(subject.as_str());
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

fn has_row(tx: &Transaction<'_>, subject: &str) -> Result<bool, LedgerError> {
    let sql = "SELECT 1 FROM budget_use WHERE subject = ?1";
    Ok(tx.prepare_cached(sql)?.query_row([subject], |_| Ok(())).optional()?.is_some())
}

fn count(tx: &Transaction<'_>, range: &(String, String)) -> Result<u64, LedgerError> {
    let sql = "SELECT count(*) FROM budget_use WHERE subject > ?1 AND subject < ?2";
    Ok(tx.prepare_cached(sql)?.query_row([&range.0, &range.1], |row| row.get(0))?)
}

fn count_all(tx: &Transaction<'_>) -> Result<u64, LedgerError> {
    let sql = "SELECT count(*) FROM budget_use WHERE instr(subject, '#') > 1";
    Ok(tx.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}
