//! Remembers the counted answers among those that providers keep.
//!
//! A response that was made in the background, a run or a batch is fetched by anyone, as often as they like, and tells its
//! usage each time. It counts once for a tenant and `response_id`, beside the event's own id. Days are forgotten as ids of events
//! are, which bounds the table; providers keep such answers for 30 days.
use rusqlite::{Transaction, params};
use weir_contract::{TenantId, Timestamp};

use super::{LedgerError, signed};
use crate::validate::day;

/// Notes an answer; true if it is counted for the first time.
pub(super) fn note(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    response_id: &str,
    time: Timestamp,
) -> Result<bool, LedgerError> {
    let sql = "INSERT INTO kept_answer(tenant, response_id, day) VALUES (?1,?2,?3) ON CONFLICT DO NOTHING";
    let row = params![tenant.as_str(), response_id, signed(day(time))?];
    Ok(tx.prepare_cached(sql)?.execute(row)? == 1)
}

/// Drops the days before `oldest`.
pub(super) fn drop_days_before(tx: &Transaction<'_>, oldest: u64) -> Result<(), LedgerError> {
    tx.prepare_cached("DELETE FROM kept_answer WHERE day < ?1")?.execute([signed(oldest)?])?;
    Ok(())
}
