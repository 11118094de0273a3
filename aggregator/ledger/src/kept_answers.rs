//! Remembers the counted answers among those that providers keep.
//!
//! A response that was made in the background, a run or a batch is fetched by anyone, as often as they like, and tells its
//! usage each time. It counts once for a tenant and `response_id`, beside the event's own id. Days are forgotten as ids of events
//! are, which bounds the table; providers keep such answers for 30 days.
use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};
use weir_contract::{EventId, TenantId, Timestamp};
use weir_database::{Connection, OptionalExtension, Transaction, params};

use super::{LedgerError, signed};
use crate::validate::day;

/// The longest id of an answer that is kept as it is, in bytes: providers' have some dozens, and an index of PostgreSQL takes no more than
/// 2,700.
const ID_MAX_BYTES: usize = 1_024;

/// The id under which an answer is kept: of a longer one its beginning, and a hash of all of it.
fn kept_id(response_id: &str) -> Cow<'_, str> {
    if response_id.len() <= ID_MAX_BYTES {
        return response_id.into();
    }
    let mut end = ID_MAX_BYTES;
    while !response_id.is_char_boundary(end) {
        end -= 1;
    }
    let mut hasher = SipHasher13::new();
    hasher.write(response_id.as_bytes());
    format!("{}…{:032x}", &response_id[..end], hasher.finish128().as_u128()).into()
}

/// Notes an answer that an event tells; true if it is counted for the first time.
pub(super) fn note(
    tx: &Transaction<'_>,
    (tenant, response_id): (&TenantId, &str),
    (id, time): (EventId, Timestamp),
) -> Result<bool, LedgerError> {
    let sql = "INSERT INTO kept_answer(tenant, response_id, day, event) VALUES (?1,?2,?3,?4) ON CONFLICT DO NOTHING";
    let response_id = kept_id(response_id);
    let row = params![tenant.as_str(), &*response_id, signed(day(time))?, id.as_bytes()];
    Ok(tx.prepare_cached(sql)?.execute(row)? == 1)
}

/// Returns true if an answer was counted with another event than this one. None if that is no longer known.
pub(super) fn is_repeat(
    db: &Connection,
    (tenant, response_id): (&TenantId, &str),
    id: EventId,
) -> Result<Option<bool>, LedgerError> {
    let sql = "SELECT event FROM kept_answer WHERE tenant = ?1 AND response_id = ?2";
    let response_id = kept_id(response_id);
    let key = params![tenant.as_str(), &*response_id];
    let first: Option<Option<Vec<u8>>> = db.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    Ok(first.flatten().map(|first| first != id.as_bytes()))
}

/// Drops the days before `oldest`.
pub(super) fn drop_days_before(tx: &Transaction<'_>, oldest: u64) -> Result<(), LedgerError> {
    tx.prepare_cached("DELETE FROM kept_answer WHERE day < ?1")?.execute([signed(oldest)?])?;
    Ok(())
}
