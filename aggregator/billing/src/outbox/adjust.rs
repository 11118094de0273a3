//! Corrections by hand: each is a row of its own in a window, with a name and a reason.
use weir_contract::Timestamp;
use weir_database::{Connection, params};

use super::assign::{self, Assigner, UnbilledAmount, VALUE_MAX};
use super::policy::{BillingPolicy, Late};
use super::view::{AdjustRequest, AdjustView};
use super::{BillingError, Hold, sender};
use weir_ledger::{SqliteLedger, audit, splits};

/// The longest reason, in bytes.
const WHY_MAX_BYTES: usize = 500;
/// The oldest window that a correction may bill in the open period, in milliseconds before now: a year and a month.
const MOVED_MAX_MS: u64 = 400 * 24 * 3_600_000;

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
    let wrong = |problem: String| BillingError::Adjustment(problem);
    let event_name = event_name(policy, request)?;
    check(policy, request, now).map_err(wrong)?;
    let tx = db.transaction()?;
    sender::check(&tx, policy.epoch)?;
    let window = splits::decide(&tx, &request.tenant, request.window)?;
    let amount = UnbilledAmount {
        tenant: request.tenant.clone(),
        meter: request.meter.clone(),
        event_name,
        window,
        window_end: splits::window_end(&tx, &request.tenant, window)?,
        revision: assign::next_revision(&tx, window, &request.tenant, &request.meter)?,
        value: request.value,
        customer: None,
    };
    let assigner = Assigner::open(&tx, policy, now)?;
    if let Some(hold) = assigner.assign(&amount, false)?.hold {
        unbillable(hold, window).map_or(Ok(()), |problem| Err(wrong(problem)))?;
    }
    let id = assigner.insert(&amount, "adjustment")?;
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

/// Stripe's name of the meter.
fn event_name(policy: &BillingPolicy, request: &AdjustRequest) -> Result<String, BillingError> {
    let unknown = || BillingError::Unknown("this meter is not in `stripe.meters`".to_owned());
    policy.event_names.get(&request.meter).cloned().ok_or_else(unknown)
}

/// What is wrong with the request.
fn check(policy: &BillingPolicy, request: &AdjustRequest, now: Timestamp) -> Result<(), String> {
    if request.value == 0 {
        return Err("by 0 changes nothing".to_owned());
    }
    if request.value.unsigned_abs() > VALUE_MAX.unsigned_abs() {
        return Err("Stripe takes at most 15 digits".to_owned());
    }
    if request.why.trim().is_empty() || request.why.len() > WHY_MAX_BYTES {
        return Err("say why, in at most 500 bytes".to_owned());
    }
    if request.window > now {
        return Err("this window has not begun".to_owned());
    }
    if policy.late == Late::NextPeriod && now.millis_since(request.window) > MOVED_MAX_MS {
        let days = MOVED_MAX_MS / (24 * 3_600_000);
        return Err(format!("the window {} is more than {days} days back: is the year right?", request.window.hour()));
    }
    Ok(())
}

/// Why no invoice can take an amount that would be held for `hold`, if none can.
fn unbillable(hold: Hold, window: Timestamp) -> Option<String> {
    let instead = "bill or credit it by an invoice item";
    match hold {
        Hold::Invoiced => Some(format!(
            "the invoice of the period that {window} lies in is final: {instead}, or set `stripe.late: next_period`"
        )),
        Hold::TooOld => {
            Some(format!("{window} is older than the 35 days that Stripe takes meter events for: {instead}"))
        }
        _ => None,
    }
}

/// Returns true if the ledger knows the tenant: its customer, or usage or a row of it in the window.
pub(super) fn is_known(db: &Connection, tenant: &str, window: Timestamp) -> Result<bool, BillingError> {
    let hour = window.hour().as_millis();
    let end = hour + weir_contract::time::HOUR_MS;
    let sql = "SELECT EXISTS (SELECT 1 FROM mapping WHERE tenant = ?1)
       OR EXISTS (SELECT 1 FROM usage WHERE window_start >= ?2 AND window_start < ?3 AND tenant = ?1)
       OR EXISTS (SELECT 1 FROM outbox WHERE window_start >= ?2 AND window_start < ?3 AND tenant = ?1)";
    Ok(db.prepare_cached(sql)?.query_row(params![tenant, hour, end], |row| row.get(0))?)
}
