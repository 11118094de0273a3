//! Schedules verifications: which hours of a customer and meter are compared with the provider's summaries, and when.
use weir_contract::Timestamp;
use weir_database::{Connection, params};

use super::BillingError;

/// The first read follows the last attempt after this time, in milliseconds, so that summaries can include it.
const SETTLED_MS: u64 = 60 * 60 * 1000;
/// After this many reads without a result a person must act, and later rows of the hour are sent again.
pub(super) const READS_MAX: i64 = 48;
/// The reads of an hour that a person schedules again: few, because later rows of the hour wait meanwhile.
const READS_AGAIN: i64 = 3;

/// Schedules the hour of a row.
pub(super) fn schedule(db: &Connection, id: i64, now: Timestamp) -> Result<(), BillingError> {
    let sql = "INSERT INTO look(customer, event_name, hour, next_at)
               SELECT customer, event_name, timestamp / 3600 * 3600, ?2 FROM outbox WHERE id = ?1 AND customer IS NOT NULL
               ON CONFLICT DO NOTHING";
    db.prepare_cached(sql)?.execute(params![id, now.plus_millis(SETTLED_MS).as_millis()])?;
    Ok(())
}

/// Schedules the hours of all rows that wait for verification.
pub(super) fn schedule_all(db: &Connection, now: Timestamp) -> Result<(), BillingError> {
    let sql = "INSERT INTO look(customer, event_name, hour, next_at)
               SELECT DISTINCT customer, event_name, timestamp / 3600 * 3600, ?1 FROM outbox
               WHERE state = 'held' AND reason IN ('unsure', 'restored') AND customer IS NOT NULL
               ON CONFLICT (customer, event_name, hour)
               DO UPDATE SET reads = 0, sum = NULL, read_at = NULL, next_at = excluded.next_at";
    db.execute(sql, [now.plus_millis(SETTLED_MS).as_millis()])?;
    Ok(())
}

/// Has the hour of a held row in doubt looked at once more, should that have been given up. One that is looked at goes on as
/// it is.
pub(super) fn schedule_again(db: &Connection, id: i64, now: Timestamp) -> Result<(), BillingError> {
    let sql = "INSERT INTO look(customer, event_name, hour, next_at, reads)
               SELECT customer, event_name, timestamp / 3600 * 3600, ?2, ?3 FROM outbox
               WHERE id = ?1 AND customer IS NOT NULL
               ON CONFLICT DO NOTHING";
    let next = now.plus_millis(SETTLED_MS).as_millis();
    db.prepare_cached(sql)?.execute(params![id, next, READS_MAX - READS_AGAIN])?;
    Ok(())
}
