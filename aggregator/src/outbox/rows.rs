//! Rows on their way: marked before they are sent, settled by the answer.
use std::collections::HashSet;

use rusqlite::{Connection, Transaction, params};
use weir_contract::Timestamp;

use super::Hold;
use crate::billing::{Account, Answer, MeterEvent, Said};
use crate::ledger::{LedgerError, signed};

const HOUR_MS: u64 = weir_contract::time::HOUR_MS;
/// An identifier protects against a second taking for 24 h. An hour before, a row of which nothing is known stops.
const UNSURE_MAX_MS: u64 = 23 * HOUR_MS;
/// The provider takes nothing older than 35 days. An hour before, in seconds.
const AGE_MAX_SECS: u64 = 35 * 24 * 3600 - 3600;
/// The first retry waits about this long; each further one twice as long, up to [`BACKOFF_MAX_MS`].
const BACKOFF_MS: u64 = 500;
/// The longest wait between two attempts.
const BACKOFF_MAX_MS: u64 = 15 * 60 * 1000;
/// How many candidates are looked at to find rows of customers that have none in flight.
const CANDIDATES: u32 = 1_024;

/// A customer's meter at the provider: at most one call for it is under way.
pub type Lane = (String, String);

/// A row that is marked as being sent.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its number.
    pub id: i64,
    /// What is sent.
    pub event: MeterEvent,
    /// How many attempts came before.
    attempts: u64,
    /// Whether something before this attempt may have been taken.
    unsure_before: bool,
}

impl Claimed {
    /// Its customer and meter.
    pub fn lane(&self) -> Lane {
        (self.event.customer.clone(), self.event.event_name.clone())
    }
}

/// An answered row.
pub type Settled = (Claimed, Answer);

/// Settles what was answered and marks up to `want` rows as being sent, in one transaction. The caller commits durably
/// before it sends.
pub fn turn(
    db: &mut Connection,
    settled: &[Settled],
    account: &Account,
    busy: &HashSet<Lane>,
    want: usize,
    now: Timestamp,
) -> Result<Vec<Claimed>, LedgerError> {
    let tx = db.transaction()?;
    for (claimed, answer) in settled {
        settle(&tx, claimed, answer, now)?;
    }
    hold_expired(&tx, now)?;
    let rows = if want == 0 { Vec::new() } else { claim(&tx, account, busy, want, now)? };
    tx.commit()?;
    Ok(rows)
}

fn claim(
    tx: &Transaction<'_>,
    account: &Account,
    busy: &HashSet<Lane>,
    want: usize,
    now: Timestamp,
) -> Result<Vec<Claimed>, LedgerError> {
    let mut select = tx.prepare_cached(
        "SELECT id, event_name, customer, value, identifier, timestamp, key_number, attempts, unsure_at IS NOT NULL
         FROM outbox WHERE state = 'pending' AND not_before <= ?1 AND account = ?2 AND livemode = ?3
         ORDER BY not_before, id LIMIT ?4",
    )?;
    let mut rows = select.query(params![signed(now.as_millis()), account.id, account.livemode, CANDIDATES])?;
    let (mut claimed, mut lanes): (Vec<Claimed>, HashSet<Lane>) = (Vec::new(), busy.clone());
    while claimed.len() < want
        && let Some(row) = rows.next()?
    {
        let row = read(row)?;
        if lanes.insert(row.lane()) {
            claimed.push(row);
        }
    }
    for row in &claimed {
        tx.prepare_cached(
            "UPDATE outbox SET attempts = attempts + 1, last_attempt_at = ?2,
               first_attempt_at = coalesce(first_attempt_at, ?2), unsure_at = coalesce(unsure_at, ?2) WHERE id = ?1",
        )?
        .execute(params![row.id, signed(now.as_millis())])?;
    }
    Ok(claimed)
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
            timestamp: row.get::<_, i64>(5)?.unsigned_abs(),
            idempotency_key: format!("{identifier}-{key_number}"),
            identifier,
        },
        attempts: row.get::<_, i64>(7)?.unsigned_abs(),
        unsure_before: row.get(8)?,
    })
}

/// What an answer makes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Reported,
    Held(Hold),
    Again { at: Timestamp, sure: bool, new_key: bool },
}

/// Decides, from the answer and from what is known of the row.
fn verdict(claimed: &Claimed, answer: &Answer, now: Timestamp) -> Verdict {
    let retry = |after: Option<std::time::Duration>| {
        let wished = after.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        now.plus_millis(backoff_ms(claimed.attempts).max(wished.min(BACKOFF_MAX_MS)))
    };
    match answer {
        Answer::Taken { .. } => Verdict::Reported,
        // What is there can only be this row's own if this row was sent before.
        Answer::Duplicate(_) if claimed.attempts > 0 => Verdict::Reported,
        Answer::Duplicate(_) => Verdict::Held(Hold::TakenElsewhere),
        Answer::Refused(_) => Verdict::Held(Hold::Refused),
        Answer::NotTaken { after, .. } => {
            Verdict::Again { at: retry(*after), sure: !claimed.unsure_before, new_key: false }
        }
        Answer::Halt(_) => Verdict::Again { at: now, sure: !claimed.unsure_before, new_key: true },
        Answer::Unsure { after, key_used_up, .. } => {
            Verdict::Again { at: retry(*after), sure: false, new_key: *key_used_up }
        }
    }
}

fn backoff_ms(attempts: u64) -> u64 {
    BACKOFF_MS.saturating_mul(1 << attempts.min(16)).min(BACKOFF_MAX_MS)
}

fn settle(tx: &Transaction<'_>, claimed: &Claimed, answer: &Answer, now: Timestamp) -> Result<(), LedgerError> {
    let said = said(answer);
    let (detail, request_id) = (said.detail, said.request_id);
    let now_ms = signed(now.as_millis());
    match verdict(claimed, answer, now) {
        Verdict::Reported => tx
            .prepare_cached(
                "UPDATE outbox SET state = 'reported', reason = NULL, detail = ?2, request_id = ?3, reported_at = ?4,
                   unsure_at = NULL WHERE id = ?1 AND (state = 'pending' OR reason = 'unsure')",
            )?
            .execute(params![claimed.id, detail, request_id, now_ms])?,
        Verdict::Held(hold) => tx
            .prepare_cached(
                "UPDATE outbox SET state = 'held', reason = ?4, detail = ?2, request_id = ?3
                 WHERE id = ?1 AND state = 'pending'",
            )?
            .execute(params![claimed.id, detail, request_id, hold.as_str()])?,
        Verdict::Again { at, sure, new_key } => tx
            .prepare_cached(
                "UPDATE outbox SET detail = ?2, request_id = ?3, not_before = ?4, key_number = key_number + ?5,
                   unsure_at = CASE WHEN ?6 THEN NULL ELSE unsure_at END WHERE id = ?1 AND state = 'pending'",
            )?
            .execute(params![claimed.id, detail, request_id, signed(at.as_millis()), new_key, sure])?,
    };
    Ok(())
}

fn said(answer: &Answer) -> Said {
    match answer {
        Answer::Taken { request_id } => Said { detail: String::new(), request_id: request_id.clone() },
        Answer::Duplicate(said) | Answer::Refused(said) | Answer::Halt(said) => said.clone(),
        Answer::NotTaken { said, .. } | Answer::Unsure { said, .. } => said.clone(),
    }
}

/// Holds rows that must not be sent any more: too old for the provider, or unsure for too long.
fn hold_expired(tx: &Transaction<'_>, now: Timestamp) -> Result<(), LedgerError> {
    tx.prepare_cached(
        "UPDATE outbox SET state = 'held', reason = 'unsure' WHERE state = 'pending' AND unsure_at < ?1 AND not_before <= ?2",
    )?
    .execute(params![signed(now.as_millis().saturating_sub(UNSURE_MAX_MS)), signed(now.as_millis())])?;
    tx.prepare_cached(
        "UPDATE outbox SET state = 'held', reason = 'too_old' WHERE state = 'pending' AND timestamp < ?1",
    )?
    .execute([signed(now.as_secs().saturating_sub(AGE_MAX_SECS))])?;
    Ok(())
}

/// When the next pending row may be sent, if there is one.
pub fn next_due(db: &Connection) -> Result<Option<Timestamp>, LedgerError> {
    let next: Option<i64> =
        db.query_row("SELECT min(not_before) FROM outbox WHERE state = 'pending'", [], |row| row.get(0))?;
    Ok(next.map(|millis| Timestamp::from_millis(millis.unsigned_abs())))
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
    fn a_duplicate_is_ours_only_if_the_row_was_sent_before() {
        let duplicate = Answer::Duplicate(Said::default());
        let now = Timestamp::from_secs(1);
        assert_eq!(verdict(&claimed(0), &duplicate, now), Verdict::Held(Hold::TakenElsewhere));
        assert_eq!(verdict(&claimed(1), &duplicate, now), Verdict::Reported);
    }

    #[test]
    fn a_certain_refusal_to_work_leaves_no_doubt_behind() {
        let answer = Answer::NotTaken { said: Said::default(), after: None };
        let now = Timestamp::from_secs(1);
        let Verdict::Again { sure, .. } = verdict(&claimed(0), &answer, now) else { panic!("retried") };
        assert!(sure, "nothing was ever taken");
        let Verdict::Again { sure, .. } = verdict(&claimed(1), &answer, now) else { panic!("retried") };
        assert!(!sure, "an earlier attempt may have been");
    }

    #[test]
    fn an_answered_5xx_uses_its_key_up() {
        let answer = Answer::Unsure { said: Said::default(), after: None, key_used_up: true };
        let Verdict::Again { new_key, sure, .. } = verdict(&claimed(0), &answer, Timestamp::from_secs(1)) else {
            panic!("retried")
        };
        assert!(new_key && !sure);
    }

    #[test]
    fn waiting_grows_and_is_bounded() {
        assert_eq!(backoff_ms(0), 500);
        assert_eq!(backoff_ms(3), 4_000);
        assert_eq!(backoff_ms(u64::MAX), BACKOFF_MAX_MS);
    }
}
