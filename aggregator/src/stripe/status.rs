//! How the reporting stands, with all that needs somebody's eye.
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::api::BillingView;
use crate::ledger::LedgerError;
use crate::outbox::{Hold, view};
use crate::reconcile::record::{self, LastReconciliation};
use crate::webhook::reports::{self, ProviderError};

/// Rows that are held for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRows {
    /// Why.
    pub reason: String,
    /// How many.
    pub rows: u64,
    /// Since when the first of them is.
    pub since: Timestamp,
    /// What to do.
    pub remedy: String,
}

/// Answer to `GET /v1/stripe`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Rows by state, and those that are not taken.
    #[serde(flatten)]
    pub billing: BillingView,
    /// Pending rows whose call is under way, or was and brought no answer.
    pub in_flight: u64,
    /// How old the oldest closed window is that Stripe has not taken, in seconds.
    pub lag_seconds: u64,
    /// What is held, by reason.
    pub held_for: Vec<HeldRows>,
    /// Errors that Stripe found in what it had taken.
    pub errors: Vec<ProviderError>,
    /// The last comparison with Stripe's summaries.
    pub reconciliation: Option<LastReconciliation>,
}

impl StatusView {
    /// Whether something needs a person.
    pub fn needs_a_person(&self) -> bool {
        self.billing.held > 0 || self.reconciliation.as_ref().is_some_and(|last| last.attention)
    }
}

/// Reads all of it; `rows` also lists single rows.
pub fn read(db: &mut Connection, now: Timestamp, rows: bool) -> Result<StatusView, LedgerError> {
    let billing = if rows { view::billing(db)? } else { view::totals(db)? };
    let lag_seconds = billing.oldest_open.map_or(0, |oldest| now.millis_since(oldest) / 1000);
    let sql =
        "SELECT count(*) FROM outbox WHERE state = 'pending' AND (in_flight IS NOT NULL OR unsure_at IS NOT NULL)";
    let in_flight: i64 = db.query_row(sql, [], |row| row.get(0))?;
    Ok(StatusView {
        in_flight: in_flight.unsigned_abs(),
        lag_seconds,
        held_for: if rows { held(db)? } else { Vec::new() },
        errors: reports::errors(db)?,
        reconciliation: record::last(db)?,
        billing,
    })
}

fn held(db: &Connection) -> Result<Vec<HeldRows>, LedgerError> {
    let mut all = Vec::new();
    for hold in Hold::ALL {
        let sql =
            "SELECT count(*), min(coalesce(held_at, created_at)) FROM outbox WHERE state = 'held' AND reason = ?1";
        let (rows, since): (i64, Option<i64>) =
            db.prepare_cached(sql)?.query_row(params![hold.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if rows > 0 {
            all.push(HeldRows {
                reason: hold.as_str().to_owned(),
                rows: rows.unsigned_abs(),
                since: Timestamp::from_millis(since.unwrap_or(0).unsigned_abs()),
                remedy: hold.remedy().to_owned(),
            });
        }
    }
    Ok(all)
}
