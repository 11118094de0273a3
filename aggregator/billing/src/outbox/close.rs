//! Closes windows: makes a row of each sum that the outbox does not have yet.
use std::collections::HashMap;

use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::{Connection, OptionalExtension, Transaction, params};

use super::assign::{self, Assigner, UnbilledAmount};
use super::policy::BillingPolicy;
use super::{BillingError, mapping, sender};
use crate::Account;
use weir_ledger::periods::{self, Anchor};
use weir_ledger::{LedgerError, SqliteLedger, splits};

/// The most rows that one transaction makes, so that counting continues in between.
const ROWS_PER_STEP: u32 = 5_000;

/// Records, durably, the customers and billing periods of the tenants file. Both apply forward only.
pub fn note_tenants(
    ledger: &mut SqliteLedger,
    customers: &HashMap<String, String>,
    anchors: &HashMap<String, Anchor>,
    now: Timestamp,
) -> Result<(), BillingError> {
    if ledger.durably(|db| note(db, customers, anchors, now))? {
        ledger.forget_splits();
    }
    Ok(())
}

/// Records the customers and anchors of the tenants file. Both apply forward only. Returns true if the splits of hours
/// changed.
pub(super) fn note(
    db: &mut Connection,
    customers: &HashMap<String, String>,
    anchors: &HashMap<String, Anchor>,
    now: Timestamp,
) -> Result<bool, BillingError> {
    let tx = db.transaction()?;
    mapping::note(&tx, customers, now)?;
    let changed = periods::note_tenants_anchors(&tx, anchors)?;
    tx.commit()?;
    Ok(changed)
}

/// A sum with a part that is not in the outbox yet.
struct UnclosedSum {
    window: Timestamp,
    tenant: String,
    meter: String,
    missing: i64,
}

/// Makes rows from windows that end by `as_of`, at most `ROWS_PER_STEP`. Returns the number of rows, and whether none
/// is left to make.
pub fn step(
    db: &mut Connection,
    policy: &BillingPolicy,
    as_of: Timestamp,
    now: Timestamp,
) -> Result<(u64, bool), BillingError> {
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    pin(&tx, &policy.account)?;
    let open = open_sums(&tx, policy, as_of)?;
    let assigner = Assigner::open(&tx, policy, now)?;
    for sum in &open {
        let amount = UnbilledAmount {
            tenant: sum.tenant.clone(),
            meter: sum.meter.clone(),
            event_name: policy.event_names.get(&sum.meter).cloned().unwrap_or_default(),
            window: sum.window,
            window_end: splits::window_end(&tx, &sum.tenant, sum.window)?,
            revision: assign::next_revision(&tx, sum.window, &sum.tenant, &sum.meter)?,
            value: sum.missing,
            customer: None,
        };
        assert!(sum.missing != 0, "a sum that stands in rows wholly is not open");
        assigner.insert(&amount, "usage")?;
        let written = tx
            .prepare_cached(
                "UPDATE usage SET outboxed = outboxed + ?1 WHERE window_start = ?2 AND tenant = ?3 AND meter = ?4",
            )?
            .execute(params![sum.missing, sum.window.as_millis(), sum.tenant, sum.meter])?;
        assert_eq!(written, 1, "the sum that a row was made from is there");
    }
    tx.commit()?;
    Ok((open.len() as u64, open.len() < ROWS_PER_STEP as usize))
}

/// Refuses an account or mode other than the one that existing rows were made for. Read-only.
pub(crate) fn check_account(db: &Connection, account: &Account) -> Result<(), BillingError> {
    match pinned(db)? {
        Some(pinned) if !same(&pinned, account) => {
            Err(BillingError::OtherAccount { pinned, configured: account.clone() })
        }
        _ => Ok(()),
    }
}

/// The account that rows were made for, if there are any.
pub fn pinned(db: &Connection) -> Result<Option<Account>, BillingError> {
    let read = |row: &weir_database::Row<'_>| Ok(Account { id: row.get(0)?, livemode: row.get(1)? });
    Ok(db.query_row("SELECT account, livemode FROM billing", [], read).optional()?)
}

/// Compares accounts. Early ledgers may have recorded no account name, so an empty one matches any.
fn same(pinned: &Account, account: &Account) -> bool {
    pinned.livemode == account.livemode && (pinned.id == account.id || pinned.id.is_empty())
}

/// Pins the ledger to one account and mode, at its first report.
fn pin(tx: &Transaction<'_>, account: &Account) -> Result<(), BillingError> {
    check_account(tx, account)?;
    let row = params![account.id, account.livemode];
    match pinned(tx)? {
        None => drop(tx.execute("INSERT INTO billing(account, livemode) VALUES (?1, ?2)", row)?),
        Some(pinned) if pinned != *account => {
            tx.execute("UPDATE billing SET account = ?1", [&account.id])?;
            tx.execute("UPDATE outbox SET account = ?1 WHERE account = ''", [&account.id])?;
        }
        Some(_) => {}
    }
    Ok(())
}

fn open_sums(tx: &Transaction<'_>, policy: &BillingPolicy, as_of: Timestamp) -> Result<Vec<UnclosedSum>, BillingError> {
    let Some(over) = as_of.as_millis().checked_sub(policy.grace_ms) else { return Ok(Vec::new()) };
    // All hours before this one are over, and so are first parts of split hours that end before `over`.
    let hour = over - over % HOUR_MS;
    let meters = serde_json::to_string(&policy.event_names.keys().collect::<Vec<_>>())
        .map_err(|error| LedgerError::Inconsistent(error.to_string()))?;
    let mut select = tx.prepare_cached(
        "SELECT window_start, tenant, meter, billable - outboxed FROM usage
         WHERE open = 1 AND billable <> outboxed AND window_start < ?1 AND meter IN (SELECT value FROM json_each(?3))
         UNION ALL
         SELECT u.window_start, u.tenant, u.meter, u.billable - u.outboxed FROM cut c
         JOIN usage u ON u.window_start = c.hour AND u.tenant = c.tenant
         WHERE c.hour >= ?1 AND c.hour < c.at AND c.at <= ?2
           AND u.billable <> u.outboxed AND u.meter IN (SELECT value FROM json_each(?3))
         LIMIT ?4",
    )?;
    let rows = select.query_map(params![hour, over, meters, ROWS_PER_STEP], |row| {
        Ok(UnclosedSum {
            window: Timestamp::from_millis(row.get::<_, u64>(0)?),
            tenant: row.get(1)?,
            meter: row.get(2)?,
            missing: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Releases rows that were held for want of a customer and have one now. Returns their number.
pub fn map_held(db: &mut Connection, policy: &BillingPolicy, now: Timestamp) -> Result<u64, BillingError> {
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    let sql = "SELECT id FROM outbox o WHERE state = 'held' AND reason = 'no_customer' AND EXISTS (
                 SELECT 1 FROM mapping m WHERE m.tenant = o.tenant AND m.customer IS NOT NULL)";
    let waiting: Vec<i64> = tx.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let assigner = Assigner::open(&tx, policy, now)?;
    for id in &waiting {
        assigner.reassign(*id, false)?;
    }
    tx.commit()?;
    Ok(waiting.len() as u64)
}
