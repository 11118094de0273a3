//! Verifies rows in doubt before they are sent again: asks the provider's summaries whether it has them.
//!
//! While an hour of a customer and meter is under verification, none of its rows is sent. Summaries lag and name no
//! identifiers. So two reads, a quarter of an hour apart and long after the last attempt, must be equal, and exactly
//! one subset of the rows in doubt must make up the difference to the rows known to be there. Rows of that subset are
//! there; the others are sent. Every other result waits for a person.
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Transaction, params};
use weir_fault::{self as fault, Point};

use super::assign::Assigner;
use super::policy::BillingPolicy;
use super::schedule::READS_MAX;
use super::{BillingError, Hold, sender};
use crate::subsets;

/// The least time between two reads that count, in milliseconds.
const APART_MS: u64 = 15 * 60 * 1000;
/// The most rows in doubt for which subsets are tried.
const DOUBT_MAX: usize = 10;
const HOUR_SECS: u64 = 3_600;

/// An hour of a customer and meter under verification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verification {
    /// The customer.
    pub customer: String,
    /// The provider's meter.
    pub event_name: String,
    /// The hour.
    pub hour: Timestamp,
}

/// The hours whose next read is due, at most `limit`. Hours with a call under way are left out.
pub fn due(db: &Connection, now: Timestamp, limit: usize) -> Result<Vec<Verification>, BillingError> {
    let mut select = db.prepare_cached(
        "SELECT customer, event_name, hour FROM look l WHERE next_at <= ?1 AND NOT EXISTS (
           SELECT 1 FROM outbox o INDEXED BY outbox_flying
           WHERE o.in_flight IS NOT NULL AND o.customer = l.customer AND o.event_name = l.event_name)
         ORDER BY next_at LIMIT ?2",
    )?;
    let rows = select.query_map(params![now.as_millis(), limit as u64], |row| {
        let hour = Timestamp::from_secs(row.get::<_, u64>(2)?);
        Ok(Verification { customer: row.get(0)?, event_name: row.get(1)?, hour })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Records the provider's sum of an hour; `None` if it could not be read.
pub fn record_summary(
    db: &mut Connection,
    policy: &BillingPolicy,
    verification: &Verification,
    sum: Option<i64>,
    now: Timestamp,
) -> Result<(), BillingError> {
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    take(&tx, policy, verification, sum, now)?;
    Ok(tx.commit()?)
}

fn take(
    tx: &Transaction<'_>,
    policy: &BillingPolicy,
    verification: &Verification,
    sum: Option<i64>,
    now: Timestamp,
) -> Result<(), BillingError> {
    let Some(sum) = sum else { return reschedule(tx, verification, now) };
    let key = params![verification.customer, verification.event_name, verification.hour.as_secs()];
    let sql = "SELECT sum, read_at FROM look WHERE customer = ?1 AND event_name = ?2 AND hour = ?3";
    let before = tx
        .prepare_cached(sql)?
        .query_row(key, |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<u64>>(1)?.unwrap_or(0))));
    let Some((before, read_at)) = before.optional()? else { return Ok(()) };
    if before == Some(sum) && now.as_millis() < read_at + APART_MS {
        return reschedule(tx, verification, now);
    }
    let doubtful = doubtful(tx, verification)?;
    if doubtful.is_empty() {
        return forget(tx, verification);
    }
    if before == Some(sum) {
        let missing = sum - known(tx, verification)?;
        if let Some(there) = choose(&doubtful, missing) {
            return settle(tx, policy, verification, &doubtful, there, now);
        }
    }
    hold_all(tx, policy, &doubtful, now)?;
    annotate(tx, verification, &doubtful, sum)?;
    // Last, because holding schedules the hour, and this read may be the one that ends the verification.
    note(tx, verification, sum, now)
}

/// Holds rows in doubt, where people see them. Whatever settles one of them settles all.
fn hold_all(
    tx: &Transaction<'_>,
    policy: &BillingPolicy,
    rows: &[(i64, i64)],
    now: Timestamp,
) -> Result<(), BillingError> {
    let assigner = Assigner::open(tx, policy, now)?;
    rows.iter().try_for_each(|(id, _)| assigner.hold_row(*id, Hold::Unsure))
}

/// Rows that the provider may or may not have.
fn doubtful(tx: &Transaction<'_>, verification: &Verification) -> Result<Vec<(i64, i64)>, BillingError> {
    let sql = "SELECT id, value FROM outbox WHERE customer = ?1 AND event_name = ?2 AND timestamp >= ?3 AND timestamp < ?4
                 AND ((state = 'held' AND reason IN ('unsure', 'restored')) OR (state = 'pending' AND unsure_at IS NOT NULL))
               ORDER BY id";
    let rows = select_hour(tx, verification, sql, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows)
}

/// The sum of the rows that the provider certainly has.
fn known(tx: &Transaction<'_>, verification: &Verification) -> Result<i64, BillingError> {
    let sql = "SELECT coalesce(sum(value), 0) FROM outbox
               WHERE customer = ?1 AND event_name = ?2 AND timestamp >= ?3 AND timestamp < ?4 AND state = 'reported'";
    Ok(select_hour(tx, verification, sql, |row| row.get(0))?.first().copied().unwrap_or(0))
}

fn select_hour<T>(
    tx: &Transaction<'_>,
    verification: &Verification,
    sql: &str,
    read: impl FnMut(&weir_database::Row<'_>) -> Result<T, weir_database::Error>,
) -> Result<Vec<T>, BillingError> {
    let hour = verification.hour.as_secs();
    let mut select = tx.prepare_cached(sql)?;
    let rows =
        select.query_map(params![verification.customer, verification.event_name, hour, hour + HOUR_SECS], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The only subset of `rows` that adds up to `missing`; None if there is none or more than one.
fn choose(rows: &[(i64, i64)], missing: i64) -> Option<u32> {
    if rows.len() > DOUBT_MAX {
        return None;
    }
    let amounts: Vec<i64> = rows.iter().map(|(_, value)| *value).collect();
    let mut fitting = subsets::making(&amounts, missing);
    let one = fitting.next()?;
    fitting.next().is_none().then_some(one)
}

fn settle(
    tx: &Transaction<'_>,
    policy: &BillingPolicy,
    verification: &Verification,
    rows: &[(i64, i64)],
    there: u32,
    now: Timestamp,
) -> Result<(), BillingError> {
    let assigner = Assigner::open(tx, policy, now)?;
    for (at, (id, _)) in rows.iter().enumerate() {
        if subsets::is_chosen(there, at) {
            tx.prepare_cached(
                "UPDATE outbox SET state = 'reported', reason = NULL, held_at = NULL, unsure_at = NULL, reported_at = ?2,
                   detail = 'found in the summaries' WHERE id = ?1",
            )?
            .execute(params![id, now.as_millis()])?;
        } else {
            assigner.reassign(*id, true)?;
        }
    }
    forget(tx, verification)
}

fn forget(tx: &Transaction<'_>, verification: &Verification) -> Result<(), BillingError> {
    let key = params![verification.customer, verification.event_name, verification.hour.as_secs()];
    tx.prepare_cached("DELETE FROM look WHERE customer = ?1 AND event_name = ?2 AND hour = ?3")?.execute(key)?;
    Ok(())
}

fn reschedule(tx: &Transaction<'_>, verification: &Verification, now: Timestamp) -> Result<(), BillingError> {
    let sql = "UPDATE look SET next_at = ?4 WHERE customer = ?1 AND event_name = ?2 AND hour = ?3";
    let (hour, next) = (verification.hour.as_secs(), now.plus_millis(APART_MS).as_millis());
    tx.prepare_cached(sql)?.execute(params![verification.customer, verification.event_name, hour, next])?;
    Ok(())
}

/// Records a read; gives up after too many.
fn note(tx: &Transaction<'_>, verification: &Verification, sum: i64, now: Timestamp) -> Result<(), BillingError> {
    let sql = "UPDATE look SET sum = ?4, read_at = ?5, next_at = ?6, reads = reads + 1
               WHERE customer = ?1 AND event_name = ?2 AND hour = ?3 RETURNING reads";
    let (hour, next) = (verification.hour.as_secs(), now.plus_millis(APART_MS).as_millis());
    let row = params![verification.customer, verification.event_name, hour, sum, now.as_millis(), next];
    let reads: Option<i64> = tx.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()?;
    let reads = reads.filter(|_| !fault::hit(Point::VerifiedForEver));
    if reads.is_some_and(|reads| reads >= READS_MAX) { forget(tx, verification) } else { Ok(()) }
}

/// Writes the result of a read into the rows.
fn annotate(
    tx: &Transaction<'_>,
    verification: &Verification,
    rows: &[(i64, i64)],
    sum: i64,
) -> Result<(), BillingError> {
    let known = known(tx, verification)?;
    let detail = format!("the summary of {} is {sum}, {known} of it known", verification.hour);
    for (id, _) in rows {
        tx.prepare_cached("UPDATE outbox SET detail = ?2 WHERE id = ?1")?.execute(params![id, detail])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_choice_settles() {
        let rows = [(1, 5), (2, 7), (3, 5)];
        assert_eq!(choose(&rows, 0), Some(0));
        assert_eq!(choose(&rows, 7), Some(0b010));
        assert_eq!(choose(&rows, 17), Some(0b111));
        assert_eq!(choose(&rows, 5), None, "either of two");
        assert_eq!(choose(&rows, 6), None, "nothing makes it");
        assert_eq!(choose(&[(1, 5), (2, -5)], 0), None, "both or none");
        assert_eq!(choose(&[], 0), Some(0));
        assert_eq!(choose(&[], 3), None, "somebody else's");
    }
}
