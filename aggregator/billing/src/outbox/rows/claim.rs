//! Chooses the rows to send next, and holds, moves or postpones due rows that must not be sent.
use std::collections::HashSet;

use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::{Transaction, params};
use weir_fault::{self as fault, Point};

use super::{BACKOFF_MS, Claimed};
use crate::MeterEvent;
use crate::outbox::assign::{AGE_MAX_MS, Assigner};
use crate::outbox::policy::BillingPolicy;
use crate::outbox::{BillingError, Hold};

/// An identifier guards against a second acceptance for 24 h. An hour earlier weir stops resending a row in doubt.
const UNSURE_MAX_MS: u64 = 23 * HOUR_MS;
/// The most rows that one turn skips.
const SKIPPED_MAX: usize = 256;

/// A row that is due, with the facts that may prevent its sending.
struct Candidate {
    row: Claimed,
    unsure_at: Option<Timestamp>,
    period_start: i64,
    period_end: Timestamp,
}

/// Why a row is skipped, and what happens to it instead.
enum SkipReason {
    Hold(Hold),
    /// The provider never had it; its assignment is chosen again.
    Reassign,
    /// Other rows go first.
    Later,
}

/// Marks up to `want` due rows as under way, and puts aside those that must not be sent now.
pub(super) fn claim(
    tx: &Transaction<'_>,
    policy: &BillingPolicy,
    want: usize,
    now: Timestamp,
) -> Result<Vec<Claimed>, BillingError> {
    // The query names its index. Otherwise SQLite picks the index of the whole series, and each turn reads that once per
    // pending row.
    let mut select = tx.prepare_cached(
        "SELECT id, event_name, customer, value, identifier, timestamp, key_number, attempts, unsure_at, period_start, period_end,
                (SELECT restored_at FROM sender)
         FROM outbox o WHERE state = 'pending' AND not_before <= ?1 AND in_flight IS NULL AND account = ?2 AND livemode = ?3
           AND NOT EXISTS (SELECT 1 FROM outbox f INDEXED BY outbox_flying
             WHERE f.in_flight IS NOT NULL AND f.customer = o.customer AND f.event_name = o.event_name)
           AND NOT EXISTS (SELECT 1 FROM look l
             WHERE l.customer = o.customer AND l.event_name = o.event_name AND l.hour = o.timestamp / 3600 * 3600)
         ORDER BY not_before, id",
    )?;
    let mut rows = select.query(params![now.as_millis(), policy.account.id, policy.account.livemode])?;
    let (mut claimed, mut skipped, mut lanes) = (Vec::new(), Vec::new(), HashSet::new());
    while claimed.len() < want
        && skipped.len() < SKIPPED_MAX
        && let Some(row) = rows.next()?
    {
        let candidate = candidate(&row)?;
        if !lanes.insert(candidate.row.lane()) {
            continue;
        }
        match skip_reason(tx, policy, &candidate, now)? {
            None => claimed.push(candidate.row),
            Some(what) => skipped.push((candidate.row, what)),
        }
    }
    drop(rows);
    let assigner = Assigner::open(tx, policy, now)?;
    for (row, what) in skipped {
        match what {
            SkipReason::Hold(hold) => assigner.hold_row(row.id, hold)?,
            SkipReason::Reassign => assigner.reassign(row.id, false)?,
            SkipReason::Later => postpone(tx, &row, now)?,
        }
    }
    for row in &claimed {
        mark(tx, policy, row, now)?;
    }
    Ok(claimed)
}

/// Marks an attempt; the mark is on disk before the attempt is made.
fn mark(tx: &Transaction<'_>, policy: &BillingPolicy, row: &Claimed, now: Timestamp) -> Result<(), BillingError> {
    if fault::hit(Point::SentUnmarked) {
        tx.execute("UPDATE outbox SET in_flight = ?2 WHERE id = ?1", params![row.id, policy.epoch])?;
        return Ok(());
    }
    tx.prepare_cached(
        "UPDATE outbox SET attempts = attempts + 1, last_attempt_at = ?2, in_flight = ?3,
           first_attempt_at = coalesce(first_attempt_at, ?2), unsure_at = coalesce(unsure_at, ?2) WHERE id = ?1",
    )?
    .execute(params![row.id, now.as_millis(), policy.epoch])?;
    Ok(())
}

/// Returns why a row that is due is not sent.
fn skip_reason(
    tx: &Transaction<'_>,
    policy: &BillingPolicy,
    candidate: &Candidate,
    now: Timestamp,
) -> Result<Option<SkipReason>, BillingError> {
    let row = &candidate.row;
    let too_old = row.event.timestamp * 1_000 + AGE_MAX_MS < now.as_millis();
    let invoiced = candidate.period_end > Timestamp::default() && policy.is_invoiced(candidate.period_end, now);
    if let Some(unsure_at) = candidate.unsure_at {
        let expired = now.millis_since(unsure_at) > UNSURE_MAX_MS;
        let expired = expired && !fault::hit(Point::ResentUnverified);
        return Ok((expired || invoiced || too_old).then_some(SkipReason::Hold(Hold::Unsure)));
    }
    if invoiced || too_old {
        return Ok(Some(SkipReason::Reassign));
    }
    if fault::hit(Point::BelowZeroSent) {
        return Ok(None);
    }
    if row.event.value < 0 {
        return below_zero(tx, candidate);
    }
    Ok(None)
}

/// A correction goes after the rows that it corrects, so that the provider's sum of a period never drops below zero.
fn below_zero(tx: &Transaction<'_>, candidate: &Candidate) -> Result<Option<SkipReason>, BillingError> {
    let (row, from, to) = (&candidate.row.event, candidate.period_start / 1_000, candidate.period_end.as_secs());
    let sql = "SELECT coalesce(sum(value) FILTER (WHERE state = 'reported'), 0),
                      coalesce(sum(value) FILTER (WHERE state = 'pending' AND value > 0), 0)
               FROM outbox WHERE customer = ?1 AND event_name = ?2 AND timestamp >= ?3 AND timestamp < ?4";
    let sums = params![row.customer, row.event_name, from, to];
    let (taken, waiting): (i64, i64) = tx.prepare_cached(sql)?.query_row(sums, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if taken + row.value >= 0 {
        None
    } else if waiting > 0 {
        Some(SkipReason::Later)
    } else {
        Some(SkipReason::Hold(Hold::BelowZero))
    })
}

fn postpone(tx: &Transaction<'_>, row: &Claimed, now: Timestamp) -> Result<(), BillingError> {
    let at = now.plus_millis(BACKOFF_MS * 8);
    tx.prepare_cached("UPDATE outbox SET not_before = ?2 WHERE id = ?1")?.execute(params![row.id, at.as_millis()])?;
    Ok(())
}

fn candidate(row: &weir_database::Row<'_>) -> Result<Candidate, weir_database::Error> {
    let time = Timestamp::from_millis;
    Ok(Candidate {
        row: read(row)?,
        unsure_at: row.get::<_, Option<u64>>(8)?.map(time),
        period_start: row.get(9)?,
        period_end: time(row.get(10)?),
    })
}

fn read(row: &weir_database::Row<'_>) -> Result<Claimed, weir_database::Error> {
    let identifier: String = row.get(4)?;
    let key_number: i64 = row.get(6)?;
    Ok(Claimed {
        id: row.get(0)?,
        event: MeterEvent {
            event_name: row.get(1)?,
            customer: row.get(2)?,
            value: row.get(3)?,
            timestamp: row.get::<_, u64>(5)?,
            idempotency_key: key(&identifier, row.get(11)?, key_number),
            identifier: named(identifier, key_number),
        },
        attempts: row.get::<_, u64>(7)?,
        unsure_before: row.get::<_, Option<i64>>(8)?.is_some(),
    })
}

/// An idempotency key is never reused with another body. A restored ledger starts a new range of keys, because keys
/// used since the backup are unknown to it.
fn key(identifier: &str, restored_at: i64, key_number: i64) -> String {
    if restored_at == 0 {
        format!("{identifier}-{key_number}")
    } else {
        format!("{identifier}-{restored_at}-{key_number}")
    }
}

/// The identifier as sent.
fn named(identifier: String, key_number: i64) -> String {
    if fault::hit(Point::FreshIdentifier) {
        return format!("{identifier}.{key_number}");
    }
    identifier
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_ledger_uses_no_key_that_may_have_been_used() {
        assert_eq!(key("weir_1", 0, 3), "weir_1-3");
        assert_eq!(key("weir_1", 1_795_230_000_000, 3), "weir_1-1795230000000-3");
    }
}
