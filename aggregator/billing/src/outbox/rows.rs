//! Sending rows: [`claim`] marks them before the call, [`verdict`] settles them by its answer.
mod claim;
mod verdict;

use weir_contract::{TenantId, Timestamp};
use weir_database::Connection;

use super::policy::BillingPolicy;
use super::{BillingError, sender};
use crate::{Answer, MeterEvent};

/// The first retry waits about this long; each further one twice as long. In milliseconds.
const BACKOFF_MS: u64 = 500;

/// A customer and a meter at the provider; at most one call per lane is under way.
pub type Lane = (String, String);

/// A row that is marked as under way.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its number.
    pub id: i64,
    /// The meter event to send.
    pub event: MeterEvent,
    /// The number of earlier attempts.
    attempts: u64,
    /// True if the provider may have accepted an earlier attempt.
    unsure_before: bool,
}

impl Claimed {
    /// Its customer and meter.
    pub fn lane(&self) -> Lane {
        (self.event.customer.clone(), self.event.event_name.clone())
    }
}

/// A row and its answer.
pub type Settled = (Claimed, Answer);

/// Settles answers and marks up to `want` rows as under way, in one transaction. The caller commits durably before it
/// sends. A lane with a call under way gets no other.
pub fn settle_and_claim(
    db: &mut Connection,
    policy: &BillingPolicy,
    settled: &[Settled],
    want: usize,
    now: Timestamp,
) -> Result<Vec<Claimed>, BillingError> {
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    for (claimed, answer) in settled {
        verdict::settle(&tx, policy, claimed, answer, now)?;
    }
    let rows = if want == 0 { Vec::new() } else { claim::claim(&tx, policy, want, now)? };
    tx.commit()?;
    Ok(rows)
}

/// How many rows of a tenant are still to be reported.
pub fn pending_of(db: &Connection, tenant: &TenantId) -> Result<u64, BillingError> {
    let sql = "SELECT count(*) FROM outbox WHERE state = 'pending' AND tenant = ?1";
    Ok(db.query_row(sql, [tenant.as_str()], |row| row.get(0))?)
}

/// When the next pending row is due, if any. Rows of hours under verification are left out.
pub(crate) fn next_due(db: &Connection) -> Result<Option<Timestamp>, BillingError> {
    let sql = "SELECT min(not_before) FROM outbox o WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM look l
                 WHERE l.customer = o.customer AND l.event_name = o.event_name AND l.hour = o.timestamp / 3600 * 3600)";
    let next: Option<u64> = db.query_row(sql, [], |row| row.get(0))?;
    Ok(next.map(Timestamp::from_millis))
}
