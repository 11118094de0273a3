//! Releases held rows after the cause of the hold is gone.
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Transaction, params};

use super::assign::Assigner;
use super::policy::BillingPolicy;
use super::view::{ROWS_SHOWN, RetryFilter};
use super::{BillingError, Hold, schedule, sender};
use weir_ledger::LedgerError;

/// Decides again about the held rows of `filter`. Rows that the provider certainly lacks may become pending; rows in doubt are
/// verified again. A row whose identifier another sender used stays held, because a person must find that sender. Returns the
/// number of rows that are pending now.
pub fn retry(
    db: &mut Connection,
    policy: &BillingPolicy,
    filter: &RetryFilter,
    now: Timestamp,
) -> Result<u64, BillingError> {
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    check(&tx, filter)?;
    let chosen = chosen(&tx, filter)?;
    let (doubtful, held): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|(_, reason)| is_in_doubt(reason));
    let assigner = Assigner::open(&tx, policy, now)?;
    for (id, _) in &held {
        assigner.reassign(*id, false)?;
    }
    for (id, _) in &doubtful {
        schedule::schedule_again(&tx, *id, now)?;
    }
    let left =
        "SELECT count(*) FROM outbox WHERE state = 'held' AND id IN (SELECT CAST(value AS INTEGER) FROM json_each(?1))";
    let ids: Vec<i64> = held.iter().map(|(id, _)| *id).collect();
    let ids = serde_json::to_string(&ids).map_err(|error| LedgerError::Inconsistent(error.to_string()))?;
    let left: i64 = tx.query_row(left, [ids], |row| row.get(0))?;
    tx.commit()?;
    Ok(held.len() as u64 - left.unsigned_abs())
}

fn is_in_doubt(reason: &str) -> bool {
    [Hold::Unsure, Hold::Restored].iter().any(|hold| hold.as_str() == reason)
}

/// Refuses a filter that names a row which cannot be released, and says why.
fn check(tx: &Transaction<'_>, filter: &RetryFilter) -> Result<(), BillingError> {
    let wrong = |problem: String| Err(BillingError::Settlement(problem));
    if filter.rows.len() > ROWS_SHOWN {
        return wrong(format!("name at most {ROWS_SHOWN} rows"));
    }
    let stays = "is held for taken_elsewhere: find out who sent it, then settle it (weir stripe settle)";
    if filter.reason == Some(Hold::TakenElsewhere) {
        return wrong(format!("what {stays}"));
    }
    for id in &filter.rows {
        let sql = "SELECT state, coalesce(reason, '') FROM outbox WHERE id = ?1";
        let found =
            tx.prepare_cached(sql)?.query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        match found.optional()? {
            None => return wrong(format!("there is no row {id}")),
            Some((state, _)) if state != "held" => return wrong(format!("row {id} is {state}, not held")),
            Some((_, reason)) if reason == Hold::TakenElsewhere.as_str() => return wrong(format!("row {id} {stays}")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The rows of `filter` that can be released or verified, with the reason of their hold.
fn chosen(tx: &Transaction<'_>, filter: &RetryFilter) -> Result<Vec<(i64, String)>, BillingError> {
    let sql =
        "SELECT id, reason FROM outbox WHERE state = 'held' AND reason IS NOT NULL AND reason <> 'taken_elsewhere'
                 AND (?1 IS NULL OR id IN (SELECT CAST(value AS INTEGER) FROM json_each(?1)))
                 AND (?2 IS NULL OR customer = ?2) AND (?3 IS NULL OR reason = ?3) ORDER BY id";
    let rows = (!filter.rows.is_empty()).then(|| serde_json::to_string(&filter.rows)).transpose();
    let rows = rows.map_err(|error| LedgerError::Inconsistent(error.to_string()))?;
    let mut select = tx.prepare_cached(sql)?;
    let found = select.query_map(params![rows, filter.customer, filter.reason.map(Hold::as_str)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Account;
    use crate::outbox::policy::Late;
    use crate::outbox::tests::ledger;

    fn policy() -> BillingPolicy {
        BillingPolicy {
            ledger: "l".to_owned(),
            account: Account { id: "acct_1".to_owned(), livemode: false },
            event_names: [("requests".to_owned(), "weir_requests".to_owned())].into(),
            grace_ms: 0,
            invoice_delay_ms: 3_600_000,
            late: Late::Hold,
            epoch: 0,
        }
    }

    /// Four rows, held for what each of them says.
    fn rows(db: &Connection) {
        for (id, customer, reason) in [
            (1, "cus_1", "refused"),
            (2, "cus_2", "refused"),
            (3, "cus_1", "too_large"),
            (4, "cus_1", "taken_elsewhere"),
        ] {
            let sql = "INSERT INTO outbox(id, window_start, tenant, meter, revision, value, account, livemode, event_name,
                         customer, identifier, timestamp, state, reason, created_at, window_end)
                       VALUES (?1, ?1 * 3600000, 'acme', 'requests', 0, 5, 'acct_1', 0, 'weir_requests', ?2, 'weir_' || ?1,
                         ?1 * 3600, 'held', ?3, 0, (?1 + 1) * 3600000)";
            db.execute(sql, params![id, customer, reason]).expect("a row");
        }
    }

    fn released(filter: &RetryFilter) -> Vec<i64> {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        rows(db);
        let count = retry(db, &policy(), filter, Timestamp::from_secs(10 * 3_600)).expect("retried");
        let mut select = db.prepare("SELECT id FROM outbox WHERE state = 'pending' ORDER BY id").expect("a query");
        let ids: Vec<i64> =
            select.query_map([], |row| row.get(0)).expect("rows").map(|id| id.expect("an id")).collect();
        assert_eq!(count, ids.len() as u64);
        ids
    }

    #[test]
    fn only_the_rows_of_the_filter_are_let_go() {
        let all = RetryFilter::default();
        assert_eq!(released(&all), [1, 2, 3]);
        assert_eq!(released(&RetryFilter { rows: vec![2], ..all.clone() }), [2]);
        assert_eq!(released(&RetryFilter { customer: Some("cus_1".to_owned()), ..all.clone() }), [1, 3]);
        let refused = RetryFilter { reason: Some(Hold::Refused), ..all.clone() };
        assert_eq!(released(&refused), [1, 2]);
        assert_eq!(released(&RetryFilter { customer: Some("cus_1".to_owned()), ..refused }), [1], "all of it must fit");
    }

    #[test]
    fn a_filter_that_names_what_stays_is_refused_with_the_reason() {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        rows(db);
        let filters = [
            (RetryFilter { rows: vec![1, 4], ..RetryFilter::default() }, "row 4 is held for taken_elsewhere"),
            (RetryFilter { rows: vec![9], ..RetryFilter::default() }, "no row 9"),
            (RetryFilter { reason: Some(Hold::TakenElsewhere), ..RetryFilter::default() }, "settle"),
        ];
        for (filter, words) in filters {
            let problem = retry(db, &policy(), &filter, Timestamp::from_secs(0)).expect_err("refused").to_string();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
