//! Fences the sender: only the latest process sends, and a restored ledger verifies before it does.
use weir_contract::Timestamp;
use weir_database::Connection;
use weir_fault::{self as fault, Point};

use super::{BillingError, schedule};

/// Makes this process the sender and returns its epoch; an earlier sender finds the new epoch and stops. `file` tells
/// the ledger's file from copies of it, which know nothing of what the original sends.
pub fn take_over(db: &mut Connection, file: &str, now: Timestamp) -> Result<i64, BillingError> {
    let tx = db.transaction()?;
    let known: String = tx.query_row("SELECT file FROM sender", [], |row| row.get(0))?;
    if !known.is_empty() && known != file {
        mark(&tx, now)?;
    }
    tx.execute("UPDATE sender SET epoch = epoch + 1, file = ?1", [file])?;
    // The calls ended with their process; `unsure_at` records that their outcome is unknown.
    tx.execute("UPDATE outbox SET in_flight = NULL WHERE in_flight IS NOT NULL", [])?;
    let epoch = tx.query_row("SELECT epoch FROM sender", [], |row| row.get(0))?;
    tx.commit()?;
    Ok(epoch)
}

/// Records that the ledger was restored from a backup: its rows are held until the provider's summaries show what is
/// already there.
pub fn mark_restored(db: &mut Connection, now: Timestamp) -> Result<(), BillingError> {
    let tx = db.transaction()?;
    mark(&tx, now)?;
    Ok(tx.commit()?)
}

fn mark(db: &Connection, now: Timestamp) -> Result<(), BillingError> {
    if fault::hit(Point::RestoredUnsettled) {
        return Ok(());
    }
    let now_ms = now.as_millis();
    db.execute(
        "UPDATE sender SET restored_at = CASE WHEN restored_at < ?1 THEN ?1 ELSE restored_at END, epoch = epoch + 1",
        [now_ms],
    )?;
    db.execute(
        "UPDATE outbox SET state = 'held', reason = 'restored', held_at = ?1, in_flight = NULL WHERE state = 'pending'",
        [now_ms],
    )?;
    schedule::schedule_all(db, now)
}

/// Refuses a sender that is no longer the latest.
pub(super) fn check(db: &Connection, epoch: i64) -> Result<(), BillingError> {
    if fault::hit(Point::OldSenderGoesOn) {
        return Ok(());
    }
    let latest: i64 = db.prepare_cached("SELECT epoch FROM sender")?.query_row([], |row| row.get(0))?;
    if latest == epoch { Ok(()) } else { Err(BillingError::Fenced) }
}

/// Windows that began before this time may have been sent without this ledger knowing.
pub(super) fn restored_at(db: &Connection) -> Result<Timestamp, BillingError> {
    let at: u64 = db.prepare_cached("SELECT restored_at FROM sender")?.query_row([], |row| row.get(0))?;
    Ok(Timestamp::from_millis(at))
}

/// Returns true at the first read of the tenants file since the ledger was restored; clears that state.
pub(super) fn first_note(db: &Connection) -> Result<bool, BillingError> {
    let sql = "UPDATE sender SET noted_after = restored_at WHERE noted_after < restored_at";
    Ok(db.prepare_cached(sql)?.execute([])? > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::outbox::close;
    use crate::outbox::policy::{BillingPolicy, Late};
    use crate::outbox::tests::ledger;
    use crate::outbox::view::{AdjustRequest, RetryFilter};
    use crate::outbox::{adjust, held, rows, verify};
    use crate::{Account, Answer};
    use weir_database::types::Value;

    #[test]
    fn the_latest_sender_sends_and_the_one_before_it_stops() {
        let (_dir, mut ledger) = ledger();
        let (db, now) = (ledger.db(), Timestamp::from_secs(1));
        let first = take_over(db, "a", now).expect("taken");
        assert!(check(db, first).is_ok());
        let second = take_over(db, "a", now).expect("taken");
        assert!(matches!(check(db, first), Err(BillingError::Fenced)));
        assert!(check(db, second).is_ok());
        assert_eq!(restored_at(db).expect("read"), Timestamp::default(), "the same file is no copy");
    }

    fn policy(epoch: i64) -> BillingPolicy {
        BillingPolicy {
            ledger: "l".to_owned(),
            account: Account { id: "acct_1".to_owned(), livemode: false },
            event_names: [("requests".to_owned(), "weir_requests".to_owned())].into(),
            grace_ms: 0,
            invoice_delay_ms: 3_600_000,
            late: Late::Hold,
            epoch,
        }
    }

    fn use_some(db: &Connection, window_ms: i64) {
        db.execute(
            "INSERT INTO usage(window_start, tenant, meter, billable) VALUES (?1, 'acme', 'requests', 5)",
            [window_ms],
        )
        .expect("counted");
    }

    /// Dumps everything that a sender writes.
    fn written(db: &Connection) -> String {
        let rows = |sql: &str, columns: usize| -> Vec<Vec<Value>> {
            let mut select = db.prepare(sql).expect("prepared");
            let rows = select.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
            rows.expect("read").collect::<Result<_, _>>().expect("values")
        };
        let outbox =
            "SELECT id, value, state, reason, customer, in_flight, attempts, unsure_at, not_before, key_number, detail
                      FROM outbox ORDER BY id";
        let look = "SELECT hour, reads, sum, next_at FROM look ORDER BY hour";
        let sums =
            "SELECT (SELECT count(*) FROM adjustment), (SELECT sum(outboxed) FROM usage), (SELECT count(*) FROM audit)";
        format!("{:?} {:?} {:?}", rows(outbox, 11), rows(look, 4), rows(sums, 3))
    }

    #[test]
    fn a_sender_that_was_replaced_writes_no_row_and_no_outcome() {
        let (_dir, mut ledger) = ledger();
        let (db, now) = (ledger.db(), Timestamp::from_secs(10 * 3_600));
        let customers = [("acme".to_owned(), "cus_1".to_owned())].into();
        close::note(db, &customers, &HashMap::new(), now).expect("noted");
        let old = policy(take_over(db, "a", now).expect("taken"));
        use_some(db, 0);
        close::step(db, &old, now, now).expect("closed");
        let claimed = rows::settle_and_claim(db, &old, &[], 1, now).expect("claimed");
        assert_eq!(claimed.len(), 1, "it sends while it is the latest");
        take_over(db, "a", now).expect("taken");
        use_some(db, 3_600_000);
        let before = written(db);
        let answered: Vec<_> =
            claimed.iter().map(|claimed| (claimed.clone(), Answer::Taken { request_id: None })).collect();
        let hour = verify::Verification {
            customer: "cus_1".to_owned(),
            event_name: "weir_requests".to_owned(),
            hour: Timestamp::default(),
        };
        let request = AdjustRequest {
            tenant: "acme".to_owned(),
            meter: "requests".to_owned(),
            window: Timestamp::default(),
            value: 3,
            why: "w".to_owned(),
        };
        let attempts: [(&str, Result<(), BillingError>); 7] = [
            ("settles", rows::settle_and_claim(db, &old, &answered, 0, now).map(drop)),
            ("claims", rows::settle_and_claim(db, &old, &[], 1, now).map(drop)),
            ("closes", close::step(db, &old, now, now).map(drop)),
            ("maps", close::map_held(db, &old, now).map(drop)),
            ("lets go", held::retry(db, &old, &RetryFilter::default(), now).map(drop)),
            ("looks", verify::record_summary(db, &old, &hour, Some(5), now)),
            ("adjusts", adjust::insert(db, &old, &request, "somebody", now).map(drop)),
        ];
        for (what, outcome) in attempts {
            assert!(matches!(outcome, Err(BillingError::Fenced)), "{what}: {outcome:?}");
        }
        assert_eq!(written(db), before);
    }

    #[test]
    fn a_copy_and_a_restored_ledger_know_that_they_do_not_know() {
        let (_dir, mut ledger) = ledger();
        let (db, now) = (ledger.db(), Timestamp::from_secs(7));
        take_over(db, "a", now).expect("taken");
        take_over(db, "b", now).expect("taken");
        assert_eq!(restored_at(db).expect("read"), now);
        let (_dir, mut ledger) = crate::outbox::tests::ledger();
        mark_restored(ledger.db(), now).expect("marked");
        assert_eq!(restored_at(ledger.db()).expect("read"), now);
    }
}
