//! Idempotency keys of counted requests. A client that tries again sends the key of its first attempt, so a key that is
//! known marks a retry. Days are forgotten as ids of events are, which bounds the table.
use weir_contract::{TenantId, Timestamp};
use weir_database::{Transaction, params};

use super::{LedgerError, signed};
use crate::validate::day;

/// The longest hash that is remembered, in bytes: SHA-256 in hex.
const HASH_MAX_BYTES: usize = 64;

/// Notes a request's key; true if an earlier request had it.
pub(super) fn is_known(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    hash: &str,
    time: Timestamp,
) -> Result<bool, LedgerError> {
    if hash.len() > HASH_MAX_BYTES {
        return Ok(false);
    }
    let sql = "INSERT INTO request_key(tenant, hash, day) VALUES (?1,?2,?3) ON CONFLICT DO NOTHING";
    let row = params![tenant.as_str(), hash, signed(day(time))?];
    Ok(tx.prepare_cached(sql)?.execute(row)? == 0)
}

/// Drops the days before `oldest`.
pub(super) fn drop_days_before(tx: &Transaction<'_>, oldest: u64) -> Result<(), LedgerError> {
    tx.prepare_cached("DELETE FROM request_key WHERE day < ?1")?.execute([signed(oldest)?])?;
    Ok(())
}
