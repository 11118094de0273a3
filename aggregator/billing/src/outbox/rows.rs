//! Sending rows: marked before the call, settled by its answer.
use std::collections::HashSet;
use weir_fault::{self as fault, Point};

use rusqlite::{Connection, Transaction, params};
use weir_contract::Timestamp;

use super::assign::{AGE_MAX_MS, Assigner};
use super::policy::BillingPolicy;
use super::{BillingError, Hold, sender};
use crate::{Answer, MeterEvent, ProviderMessage};

const HOUR_MS: u64 = weir_contract::time::HOUR_MS;
/// An identifier guards against a second acceptance for 24 h. An hour earlier weir stops resending a row in doubt.
const UNSURE_MAX_MS: u64 = 23 * HOUR_MS;
/// The first retry waits about this long; each further one twice as long, up to [`BACKOFF_MAX_MS`]. In milliseconds.
const BACKOFF_MS: u64 = 500;
/// The longest wait between two attempts, in milliseconds.
const BACKOFF_MAX_MS: u64 = 15 * 60 * 1000;
/// The most rows that one turn skips.
const SKIPPED_MAX: usize = 256;

/// A customer and a meter at the provider; at most one call per lane is under way.
pub type Lane = (String, String);

/// A row that is marked as under way.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its number.
    pub id: i64,
    /// The meter event to send.
    pub event: MeterEvent,
    /// The number of earlier attempts.
    attempts: u64,
    /// True if the provider may have accepted an earlier attempt.
    unsure_before: bool,
}

impl Claimed {
    /// Its customer and meter.
    pub fn lane(&self) -> Lane {
        (self.event.customer.clone(), self.event.event_name.clone())
    }
}

/// A row and its answer.
pub type Settled = (Claimed, Answer);

/// Settles answers and marks up to `want` rows as under way, in one transaction. The caller commits durably before it
/// sends. A lane with a call under way gets no other.
pub fn settle_and_claim(
    db: &mut Connection,
    policy: &BillingPolicy,
    settled: &[Settled],
    want: usize,
    now: Timestamp,
) -> Result<Vec<Claimed>, BillingError> {
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    for (claimed, answer) in settled {
        settle(&tx, policy, claimed, answer, now)?;
    }
    let rows = if want == 0 { Vec::new() } else { claim(&tx, policy, want, now)? };
    tx.commit()?;
    Ok(rows)
}

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

// The query names its index. Otherwise SQLite picks the index of the whole series, and each turn reads that once per
// pending row.
fn claim(
    tx: &Transaction<'_>,
    policy: &BillingPolicy,
    want: usize,
    now: Timestamp,
) -> Result<Vec<Claimed>, BillingError> {
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
        let candidate = candidate(row)?;
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

fn candidate(row: &rusqlite::Row<'_>) -> Result<Candidate, rusqlite::Error> {
    let time = Timestamp::from_millis;
    Ok(Candidate {
        row: read(row)?,
        unsure_at: row.get::<_, Option<u64>>(8)?.map(time),
        period_start: row.get(9)?,
        period_end: time(row.get(10)?),
    })
}

fn read(row: &rusqlite::Row<'_>) -> Result<Claimed, rusqlite::Error> {
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

/// The effect of an answer on a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Reported,
    Held(Hold),
    Again { at: Timestamp, sure: bool, new_key: bool },
}

/// Derives the effect from the answer and the row's history.
fn verdict(claimed: &Claimed, answer: &Answer, now: Timestamp) -> Verdict {
    let retry = |after: Option<std::time::Duration>| {
        let wished = after.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        now.plus_millis(wait_ms(claimed).max(wished.min(BACKOFF_MAX_MS)))
    };
    match answer {
        Answer::Taken { .. } => Verdict::Reported,
        Answer::Duplicate(_) if fault::hit(Point::DuplicateIsFailure) => Verdict::Held(Hold::Refused),
        // A duplicate can only be this row if it was sent before.
        Answer::Duplicate(_) if claimed.attempts > 0 => Verdict::Reported,
        Answer::Duplicate(_) => Verdict::Held(Hold::TakenElsewhere),
        // The provider may have accepted an earlier attempt.
        Answer::Refused(_) if claimed.unsure_before => Verdict::Held(Hold::Unsure),
        Answer::Refused(_) => Verdict::Held(Hold::Refused),
        Answer::NotTaken { after, .. } => {
            Verdict::Again { at: retry(*after), sure: !claimed.unsure_before, new_key: false }
        }
        Answer::Unproven(_) if fault::hit(Point::UnprovenBilled) => Verdict::Reported,
        // Under another key: this one may be answered by the same stranger, and the identifier protects.
        Answer::Unproven(_) => Verdict::Again { at: retry(None), sure: false, new_key: true },
        Answer::Halt(_) => Verdict::Again { at: now, sure: !claimed.unsure_before, new_key: true },
        Answer::Unsure { after, key_used_up, .. } => {
            Verdict::Again { at: retry(*after), sure: false, new_key: *key_used_up }
        }
    }
}

fn backoff_ms(attempts: u64) -> u64 {
    BACKOFF_MS.saturating_mul(1 << attempts.min(16)).min(BACKOFF_MAX_MS)
}

/// The wait before the next attempt, in milliseconds: spread by a quarter either way, so that rows that failed together
/// do not come back together. Depends on row and attempt only.
fn wait_ms(claimed: &Claimed) -> u64 {
    let plain = backoff_ms(claimed.attempts);
    let mixed = (claimed.id.unsigned_abs() + claimed.attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (plain - plain / 4 + mixed % (plain / 2 + 1)).min(BACKOFF_MAX_MS)
}

/// Records an answer. An answer to a call of an earlier sender changes nothing, because the row may be under way again.
fn settle(
    tx: &Transaction<'_>,
    policy: &BillingPolicy,
    claimed: &Claimed,
    answer: &Answer,
    now: Timestamp,
) -> Result<(), BillingError> {
    let message = message(answer);
    let (detail, request_id) = (message.detail, message.request_id);
    let now_ms = now.as_millis();
    let verdict = verdict(claimed, answer, now);
    let changed = match &verdict {
        Verdict::Reported => tx
            .prepare_cached(
                "UPDATE outbox SET state = 'reported', reason = NULL, detail = ?2, request_id = ?3, reported_at = ?4,
                   unsure_at = NULL, in_flight = NULL, held_at = NULL WHERE id = ?1 AND in_flight = ?5",
            )?
            .execute(params![claimed.id, detail, request_id, now_ms, policy.epoch])?,
        Verdict::Held(_) => tx
            .prepare_cached(
                "UPDATE outbox SET detail = ?2, request_id = ?3, in_flight = NULL,
                   unsure_at = CASE WHEN ?4 THEN unsure_at END WHERE id = ?1 AND in_flight = ?5",
            )?
            .execute(params![claimed.id, detail, request_id, claimed.unsure_before, policy.epoch])?,
        Verdict::Again { at, sure, new_key } => tx
            .prepare_cached(
                "UPDATE outbox SET detail = ?2, request_id = ?3, not_before = ?4, key_number = key_number + ?5,
                   in_flight = NULL, unsure_at = CASE WHEN ?6 THEN NULL ELSE unsure_at END
                 WHERE id = ?1 AND in_flight = ?7",
            )?
            .execute(params![claimed.id, detail, request_id, at.as_millis(), new_key, sure, policy.epoch])?,
    };
    assert!(changed <= 1, "an answer settles one row");
    match verdict {
        Verdict::Held(hold) if changed > 0 => Assigner::open(tx, policy, now)?.hold_row(claimed.id, hold),
        _ => Ok(()),
    }
}

fn message(answer: &Answer) -> ProviderMessage {
    match answer {
        Answer::Taken { request_id } => ProviderMessage { detail: String::new(), request_id: request_id.clone() },
        Answer::Duplicate(message) | Answer::Refused(message) | Answer::Halt(message) | Answer::Unproven(message) => {
            message.clone()
        }
        Answer::NotTaken { message, .. } | Answer::Unsure { message, .. } => message.clone(),
    }
}

/// When the next pending row is due, if any. Rows of hours under verification are left out.
pub fn next_due(db: &Connection) -> Result<Option<Timestamp>, BillingError> {
    let sql = "SELECT min(not_before) FROM outbox o WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM look l
                 WHERE l.customer = o.customer AND l.event_name = o.event_name AND l.hour = o.timestamp / 3600 * 3600)";
    let next: Option<u64> = db.query_row(sql, [], |row| row.get(0))?;
    Ok(next.map(Timestamp::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(attempts: u64) -> Claimed {
        let event = MeterEvent {
            event_name: "weir_requests".to_owned(),
            customer: "cus_1".to_owned(),
            value: 1,
            identifier: "weir_1".to_owned(),
            timestamp: 0,
            idempotency_key: "weir_1-0".to_owned(),
        };
        Claimed { id: 1, event, attempts, unsure_before: attempts > 0 }
    }

    #[test]
    fn a_restored_ledger_uses_no_key_that_may_have_been_used() {
        assert_eq!(key("weir_1", 0, 3), "weir_1-3");
        assert_eq!(key("weir_1", 1_795_230_000_000, 3), "weir_1-1795230000000-3");
    }

    #[test]
    fn a_duplicate_is_ours_only_if_the_row_was_sent_before() {
        let duplicate = Answer::Duplicate(ProviderMessage::default());
        let now = Timestamp::from_secs(1);
        assert_eq!(verdict(&claimed(0), &duplicate, now), Verdict::Held(Hold::TakenElsewhere));
        assert_eq!(verdict(&claimed(1), &duplicate, now), Verdict::Reported);
    }

    #[test]
    fn a_certain_refusal_to_work_leaves_no_doubt_behind() {
        let answer = Answer::NotTaken { message: ProviderMessage::default(), after: None };
        let now = Timestamp::from_secs(1);
        let Verdict::Again { sure, .. } = verdict(&claimed(0), &answer, now) else { panic!("retried") };
        assert!(sure, "nothing was ever taken");
        let Verdict::Again { sure, .. } = verdict(&claimed(1), &answer, now) else { panic!("retried") };
        assert!(!sure, "an earlier attempt may have been");
    }

    #[test]
    fn an_answered_5xx_uses_its_key_up() {
        let answer = Answer::Unsure { message: ProviderMessage::default(), after: None, key_used_up: true };
        let Verdict::Again { new_key, sure, .. } = verdict(&claimed(0), &answer, Timestamp::from_secs(1)) else {
            panic!("retried")
        };
        assert!(new_key && !sure);
    }

    #[test]
    fn an_answer_of_a_stranger_leaves_the_outcome_open_and_uses_its_key_up() {
        let unproven = Answer::Unproven(ProviderMessage::default());
        let now = Timestamp::from_secs(1);
        let Verdict::Again { at, sure, new_key } = verdict(&claimed(0), &unproven, now) else { panic!("retried") };
        assert!(new_key && !sure && at > now, "later, so that others are tried before it");
    }

    #[test]
    fn a_refusal_after_an_attempt_of_unknown_outcome_is_looked_into() {
        let refused = Answer::Refused(ProviderMessage::default());
        assert_eq!(verdict(&claimed(0), &refused, Timestamp::from_secs(1)), Verdict::Held(Hold::Refused));
        assert_eq!(verdict(&claimed(1), &refused, Timestamp::from_secs(1)), Verdict::Held(Hold::Unsure));
    }

    #[test]
    fn rows_that_failed_together_come_back_apart_and_never_much_earlier() {
        let waits: HashSet<u64> = (1..50).map(|id| wait_ms(&Claimed { id, ..claimed(4) })).collect();
        assert!(waits.len() > 20);
        assert!(waits.iter().all(|wait| (6_000..=10_000).contains(wait)), "{waits:?}");
    }

    #[test]
    fn waiting_grows_and_is_bounded() {
        assert_eq!(backoff_ms(0), 500);
        assert_eq!(backoff_ms(3), 4_000);
        assert_eq!(backoff_ms(u64::MAX), BACKOFF_MAX_MS);
    }
}
