//! What an answer means for its row.
use weir_contract::Timestamp;
use weir_database::{Transaction, params};
use weir_fault::{self as fault, Point};

use super::{BACKOFF_MS, Claimed};
use crate::outbox::assign::Assigner;
use crate::outbox::policy::BillingPolicy;
use crate::outbox::{BillingError, Hold};
use crate::{Answer, ProviderMessage};

/// The longest wait between two attempts, in milliseconds.
const BACKOFF_MAX_MS: u64 = 15 * 60 * 1000;

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
        // Retries under another key, because a proxy may replay its answer to this one. The identifier prevents a second count.
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
pub(super) fn settle(
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
                   unsure_at = CASE WHEN ?4 = 1 THEN unsure_at END WHERE id = ?1 AND in_flight = ?5",
            )?
            .execute(params![claimed.id, detail, request_id, claimed.unsure_before, policy.epoch])?,
        Verdict::Again { at, sure, new_key } => tx
            .prepare_cached(
                "UPDATE outbox SET detail = ?2, request_id = ?3, not_before = ?4, key_number = key_number + ?5,
                   in_flight = NULL, unsure_at = CASE WHEN ?6 = 1 THEN NULL ELSE unsure_at END
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::MeterEvent;

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
