//! Releases held rows once the cause of the hold is mended.
use rusqlite::Connection;
use weir_contract::Timestamp;

use super::assign::Assigner;
use super::policy::BillingPolicy;
use super::{BillingError, schedule, sender};
use weir_ledger::LedgerError;

/// Chooses again for every held row that the provider certainly does not have, and schedules verification for the rows
/// in doubt. Rows whose identifier was taken elsewhere stay held: a person must find out by whom. Returns the number of
/// rows that are pending now.
pub fn retry(db: &mut Connection, policy: &BillingPolicy, now: Timestamp) -> Result<u64, BillingError> {
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    let sql = "SELECT id FROM outbox WHERE state = 'held'
               AND reason IN ('no_customer', 'refused', 'too_old', 'too_large', 'invoiced', 'below_zero') ORDER BY id";
    let held: Vec<i64> = tx.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let assigner = Assigner::open(&tx, policy, now)?;
    for id in &held {
        assigner.reassign(*id, false)?;
    }
    schedule::schedule_again(&tx, now)?;
    let left = "SELECT count(*) FROM outbox WHERE state = 'held' AND id IN (SELECT value FROM json_each(?1))";
    let ids = serde_json::to_string(&held).map_err(|error| LedgerError::Inconsistent(error.to_string()))?;
    let left: i64 = tx.query_row(left, [ids], |row| row.get(0))?;
    tx.commit()?;
    Ok(held.len() as u64 - left.unsigned_abs())
}
