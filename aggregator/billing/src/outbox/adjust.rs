//! Corrections by hand: each is a row of its own in a window, with a name and a reason.
use rusqlite::{Connection, params};
use weir_contract::Timestamp;

use super::assign::{self, Assigner, UnbilledAmount};
use super::policy::BillingPolicy;
use super::view::{AdjustRequest, AdjustView};
use super::{BillingError, sender};
use weir_ledger::{SqliteLedger, audit, splits};

/// The longest reason, in bytes.
const WHY_MAX_BYTES: usize = 500;

/// Makes a correction by hand; it is on disk when this returns.
pub fn adjust(
    ledger: &mut SqliteLedger,
    policy: &BillingPolicy,
    request: &AdjustRequest,
    who: &str,
    now: Timestamp,
) -> Result<AdjustView, BillingError> {
    let made = ledger.durably(|db| insert(db, policy, request, who, now));
    // The correction may have decided where an hour is split.
    ledger.forget_splits();
    made
}

/// Makes a row for `request` and audits who asked for it and why. The counted sum stays as it is.
pub(super) fn insert(
    db: &mut Connection,
    policy: &BillingPolicy,
    request: &AdjustRequest,
    who: &str,
    now: Timestamp,
) -> Result<AdjustView, BillingError> {
    let wrong = |problem: &str| Err(BillingError::Adjustment(problem.to_owned()));
    let Some(event_name) = policy.event_names.get(&request.meter) else {
        return wrong("this meter is not in `stripe.meters`");
    };
    if request.value == 0 {
        return wrong("by 0 changes nothing");
    }
    if request.why.trim().is_empty() || request.why.len() > WHY_MAX_BYTES {
        return wrong("say why, in at most 500 bytes");
    }
    if request.window > now {
        return wrong("this window has not begun");
    }
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    let window = splits::decide(&tx, &request.tenant, request.window)?;
    let amount = UnbilledAmount {
        tenant: request.tenant.clone(),
        meter: request.meter.clone(),
        event_name: event_name.clone(),
        window,
        window_end: splits::window_end(&tx, &request.tenant, window)?,
        revision: assign::next_revision(&tx, window, &request.tenant, &request.meter)?,
        value: request.value,
        customer: None,
    };
    let id = Assigner::open(&tx, policy, now)?.insert(&amount, "adjustment")?;
    tx.execute(
        "INSERT INTO adjustment(outbox, at, who, why) VALUES (?1, ?2, ?3, ?4)",
        params![id, now.as_millis(), who, request.why],
    )?;
    let detail =
        format!("row {id}: {} {} in {window} by {}: {}", request.tenant, request.meter, request.value, request.why);
    audit::note(&tx, now, who, "adjust", &detail)?;
    let held: Option<String> = tx.query_row("SELECT reason FROM outbox WHERE id = ?1", [id], |row| row.get(0))?;
    tx.commit()?;
    Ok(AdjustView { row: id, window, held })
}
