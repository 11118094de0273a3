//! Settling held rows by hand: billed by other means, or not billed at all.
//!
//! A settled row is at its end: nothing sends it, and nothing lets it go. Who settled it, by what and why stays beside it and
//! in the audit.
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Transaction, params};

use super::BillingError;
use super::view::{ROWS_SHOWN, SettleRequest, SettledRow, Settlement};
use weir_ledger::audit;

/// The longest reason, in characters.
const WHY_MAX_CHARS: usize = 500;
/// The longest name of an invoice or invoice item, in characters.
const REFERENCE_MAX_CHARS: usize = 200;
/// The most rows that are named for what keeps them from being settled.
const PROBLEMS_SHOWN: usize = 10;

/// Settles all rows of `request`, or none.
pub fn settle(
    db: &mut Connection,
    request: &SettleRequest,
    who: &str,
    now: Timestamp,
) -> Result<Vec<SettledRow>, BillingError> {
    check(request).map_err(BillingError::Adjustment)?;
    let tx = db.transaction()?;
    let mut rows = request.rows.clone();
    rows.sort_unstable();
    rows.dedup();
    let (mut held, mut problems) = (Vec::new(), Vec::new());
    for id in rows {
        match held_row(&tx, id)? {
            Ok(row) => held.push(row),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        problems.truncate(PROBLEMS_SHOWN);
        return Err(BillingError::Settlement(format!("nothing is settled: {}", problems.join("; "))));
    }
    for row in &held {
        write(&tx, request, row, who, now)?;
    }
    tx.commit()?;
    Ok(held)
}

fn check(request: &SettleRequest) -> Result<(), String> {
    let SettleRequest { rows, outcome, reference, why } = request;
    if rows.is_empty() || rows.len() > ROWS_SHOWN {
        return Err(format!("name 1 to {ROWS_SHOWN} rows"));
    }
    if why.trim().is_empty() || why.chars().count() > WHY_MAX_CHARS {
        return Err(format!("say why, in at most {WHY_MAX_CHARS} characters"));
    }
    if *outcome == Settlement::Invoiced && reference.trim().is_empty() {
        return Err("say by what it is billed: `ref` names the invoice or invoice item".to_owned());
    }
    if reference.chars().count() > REFERENCE_MAX_CHARS || reference.chars().any(char::is_control) {
        return Err(format!("`ref` has at most {REFERENCE_MAX_CHARS} characters and no control characters"));
    }
    Ok(())
}

/// The row, or why it cannot be settled.
fn held_row(tx: &Transaction<'_>, id: i64) -> Result<Result<SettledRow, String>, BillingError> {
    let sql = "SELECT state, window_start, tenant, meter, value, coalesce(reason, '') FROM outbox WHERE id = ?1";
    let found = tx.prepare_cached(sql)?.query_row([id], |row| {
        let window = Timestamp::from_millis(row.get::<_, i64>(1)?.unsigned_abs());
        let (tenant, meter, value, reason) = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
        Ok((row.get::<_, String>(0)?, SettledRow { row: id, window, tenant, meter, value, reason }))
    });
    Ok(match found.optional()? {
        None => Err(format!("there is no row {id}")),
        Some((state, row)) if state == "held" => Ok(row),
        Some((state, _)) => Err(format!("row {id} is {state}, and only held rows are settled")),
    })
}

fn write(
    tx: &Transaction<'_>,
    request: &SettleRequest,
    row: &SettledRow,
    who: &str,
    now: Timestamp,
) -> Result<(), BillingError> {
    let (outcome, reference, why) = (request.outcome.as_str(), &request.reference, &request.why);
    tx.prepare_cached(
        "INSERT INTO settlement(outbox, at, who, outcome, reference, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![row.row, now.as_millis(), who, outcome, reference, why])?;
    tx.prepare_cached("UPDATE outbox SET state = 'settled' WHERE id = ?1 AND state = 'held'")?.execute([row.row])?;
    let by = if reference.is_empty() { String::new() } else { format!(" by {reference}") };
    let SettledRow { row, window, tenant, meter, value, reason } = row;
    let detail = format!("row {row}: {tenant} {meter} {value} in {window}, held for {reason}: {outcome}{by}: {why}");
    Ok(audit::note(tx, now, who, "stripe settle", &detail)?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::Account;
    use crate::outbox::policy::{BillingPolicy, Late};
    use crate::outbox::view::RetryFilter;
    use crate::outbox::{close, held, sender, tests::ledger, view};

    const HOUR_MS: u64 = 3_600_000;

    fn policy(epoch: i64) -> BillingPolicy {
        BillingPolicy {
            ledger: "l".to_owned(),
            account: Account { id: "acct_1".to_owned(), livemode: false },
            event_names: [("requests".to_owned(), "weir_requests".to_owned())].into(),
            grace_ms: 0,
            invoice_delay_ms: HOUR_MS,
            late: Late::Hold,
            epoch,
        }
    }

    fn request(rows: &[i64], outcome: Settlement) -> SettleRequest {
        SettleRequest { rows: rows.to_vec(), outcome, reference: "ii_1".to_owned(), why: "by hand".to_owned() }
    }

    /// Two hours of a tenant without a customer: two held rows.
    fn two_held(db: &mut Connection) -> (BillingPolicy, Timestamp) {
        let now = Timestamp::from_millis(10 * HOUR_MS);
        let policy = policy(sender::take_over(db, "a", now).expect("taken"));
        for hour in [1, 2] {
            let sql = "INSERT INTO usage(window_start, tenant, meter, billable) VALUES (?1, 'acme', 'requests', 5)";
            db.execute(sql, [hour * HOUR_MS.cast_signed()]).expect("usage");
        }
        assert_eq!(close::step(db, &policy, now, now).expect("closed").0, 2);
        (policy, now)
    }

    #[test]
    fn a_settled_row_is_neither_held_nor_sent_and_keeps_who_and_why() {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        let (policy, now) = two_held(db);
        let settled = settle(db, &request(&[1, 1], Settlement::Invoiced), "ann", now).expect("settled");
        assert_eq!((settled.len(), settled[0].reason.as_str(), settled[0].value), (1, "no_customer", 5));
        let view = view::billing(db).expect("read");
        assert_eq!((view.held, view.settled, view.rows.len()), (1, 1, 1));
        assert_eq!(view.held_by_reason["no_customer"], 1);
        let customers = [("acme".to_owned(), "cus_1".to_owned())].into();
        close::note(db, &customers, &HashMap::new(), now).expect("noted");
        close::map_held(db, &policy, now).expect("mapped");
        held::retry(db, &policy, &RetryFilter::default(), now).expect("retried");
        let view = view::billing(db).expect("read");
        assert_eq!((view.pending, view.held, view.settled), (1, 0, 1), "the other one goes");
        let (who, detail): (String, String) = db
            .query_row("SELECT who, detail FROM audit WHERE act = 'stripe settle'", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("noted");
        assert_eq!(who, "ann");
        assert!(
            detail.starts_with("row 1: acme requests 5 in ") && detail.ends_with("invoiced by ii_1: by hand"),
            "{detail}"
        );
    }

    #[test]
    fn rows_are_settled_together_or_not_at_all_and_only_held_ones() {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        let (_, now) = two_held(db);
        let problem = settle(db, &request(&[1, 7], Settlement::Void), "ann", now).expect_err("refused").to_string();
        assert!(problem.contains("there is no row 7"), "{problem}");
        assert_eq!(view::totals(db).expect("read").held, 2, "row 1 neither");
        settle(db, &request(&[1], Settlement::Void), "ann", now).expect("settled");
        let problem = settle(db, &request(&[1], Settlement::Void), "ann", now).expect_err("refused").to_string();
        assert!(problem.contains("row 1 is settled"), "{problem}");
        assert!(db.execute("DELETE FROM settlement", []).is_err(), "it stays");
    }

    #[test]
    fn a_settlement_says_by_what_and_why() {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        let (_, now) = two_held(db);
        let good = request(&[1], Settlement::Invoiced);
        let bad = [
            SettleRequest { rows: Vec::new(), ..good.clone() },
            SettleRequest { rows: vec![1; ROWS_SHOWN + 1], ..good.clone() },
            SettleRequest { why: " ".to_owned(), ..good.clone() },
            SettleRequest { why: "w".repeat(501), ..good.clone() },
            SettleRequest { reference: " ".to_owned(), ..good.clone() },
            SettleRequest { reference: "r".repeat(201), ..good.clone() },
            SettleRequest { reference: "a\nb".to_owned(), ..good.clone() },
        ];
        for request in bad {
            let outcome = settle(db, &request, "ann", now);
            assert!(matches!(outcome, Err(BillingError::Adjustment(_))), "{request:?}: {outcome:?}");
        }
        let void = SettleRequest { reference: String::new(), outcome: Settlement::Void, ..good };
        assert_eq!(settle(db, &void, "ann", now).expect("settled").len(), 1, "nothing stands for what is not billed");
    }

    #[test]
    fn the_tables_check_still_holds() {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        two_held(db);
        assert!(db.execute("UPDATE outbox SET state = 'lost' WHERE id = 1", []).is_err());
        if db.is_postgres() {
            return;
        }
        let found: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!(found, "ok");
    }
}
