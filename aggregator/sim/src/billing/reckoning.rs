//! Computes from the sent events what Stripe must have, and compares it with what Stripe has.
//!
//! Computes windows, periods, customers and sums on its own; reads the outbox by SQL, and shares no code with the
//! aggregator.
mod restored;

use std::collections::{BTreeMap, BTreeSet};

use weir_database::Connection;

use self::restored::Unknown;
use super::UNDER_WAY_MAX_MS;
use super::plan::Plan;
use super::provider::{Provider, Taken};
use crate::gateways::Item;
use crate::machine::LEDGER;

type Result<T> = std::result::Result<T, String>;
/// Tenant, meter, start of the window in milliseconds.
type Window = (String, String, u64);

struct Row {
    tenant: String,
    meter: String,
    window_ms: u64,
    value: i64,
    state: String,
    reason: String,
    customer: Option<String>,
    event_name: String,
    identifier: Option<String>,
    timestamp_s: u64,
    moved: bool,
}

fn rows() -> Result<Vec<Row>> {
    let sql = |error: weir_database::Error| format!("the outbox cannot be read: {error}");
    let db = Connection::open(LEDGER).map_err(sql)?;
    let columns =
        "SELECT tenant, meter, window_start, value, state, coalesce(reason, ''), customer, event_name, identifier,
                          timestamp, moved FROM outbox ORDER BY id";
    let mut select = db.prepare(columns).map_err(sql)?;
    let read = select.query_map([], |row| {
        Ok(Row {
            tenant: row.get(0)?,
            meter: row.get(1)?,
            window_ms: row.get::<_, i64>(2)?.unsigned_abs(),
            value: row.get(3)?,
            state: row.get(4)?,
            reason: row.get(5)?,
            customer: row.get(6)?,
            event_name: row.get(7)?,
            identifier: row.get(8)?,
            timestamp_s: row.get::<_, i64>(9)?.unsigned_abs(),
            moved: row.get(10)?,
        })
    });
    read.map_err(sql)?.collect::<std::result::Result<_, _>>().map_err(sql)
}

/// The sum of every window.
fn expected(items: &[Item], plan: &Plan) -> Result<BTreeMap<Window, i64>> {
    let mut sums: BTreeMap<Window, i64> = BTreeMap::new();
    for item in items.iter().filter(|item| item.accepted > 0) {
        for (_, tenant, meter, reason, amount) in &item.amounts {
            if reason.is_empty() && plan.event_names().contains_key(*meter) {
                let window = plan.window(tenant, item.time_ms);
                *sums.entry(((*tenant).to_owned(), (*meter).to_owned(), window)).or_default() += amount.cast_signed();
            }
        }
    }
    let written = adjustments()?;
    for adjust in &plan.adjustments {
        let there = written.contains(&adjust.why);
        if adjust.acknowledged && !there {
            return Err(format!("{} was promised and is not there", adjust.why));
        }
        if there {
            let window = plan.window(&adjust.tenant, adjust.at_ms);
            *sums.entry((adjust.tenant.clone(), adjust.meter.clone(), window)).or_default() += adjust.value;
        }
    }
    Ok(sums)
}

fn adjustments() -> Result<BTreeSet<String>> {
    let sql = |error: weir_database::Error| format!("the adjustments cannot be read: {error}");
    let db = Connection::open(LEDGER).map_err(sql)?;
    let mut select = db.prepare("SELECT why FROM adjustment").map_err(sql)?;
    let read = select.query_map([], |row| row.get(0)).map_err(sql)?;
    read.collect::<std::result::Result<_, _>>().map_err(sql)
}

/// Checks that must hold once everything is closed, sent and verified.
pub(super) fn check(items: &[Item], plan: &Plan, provider: &Provider) -> Result<()> {
    let rows = rows()?;
    check_sums(&rows, &expected(items, plan)?)?;
    let unknown = Unknown::new(plan, provider);
    unknown.check_lanes(&rows, provider)?;
    unknown.check_totals(&rows, items, plan, provider)?;
    check_rows(&rows, plan, provider, &unknown)?;
    check_taken(&rows, plan, provider, &unknown)?;
    check_periods(plan, provider, &rows, &unknown)
}

/// Checks that the outbox has each window's sum, to the unit.
fn check_sums(rows: &[Row], expected: &BTreeMap<Window, i64>) -> Result<()> {
    let mut sums: BTreeMap<Window, i64> = BTreeMap::new();
    for row in rows {
        *sums.entry((row.tenant.clone(), row.meter.clone(), row.window_ms)).or_default() += row.value;
    }
    for window in sums.keys().chain(expected.keys()) {
        let (is, should) = (sums.get(window).copied().unwrap_or(0), expected.get(window).copied().unwrap_or(0));
        if is != should {
            return Err(format!("the outbox has {is} of {window:?}, {should} was used"));
        }
    }
    Ok(())
}

/// Checks that every row is at Stripe once, or is held for a valid reason, for the customer of its window.
fn check_rows(rows: &[Row], plan: &Plan, provider: &Provider, unknown: &Unknown<'_>) -> Result<()> {
    for row in rows {
        let Row { tenant, meter, window_ms, value, state, reason, .. } = row;
        let name = format!("{value} of {tenant} {meter} in {window_ms} ({state} {reason})");
        let same = |identifier: &String| Some(identifier) == row.identifier.as_ref();
        // Lost items that are counted again may have other revisions: another amount under the same identifier.
        let own =
            |taken: &&Taken| same(&taken.event.identifier) && (taken.event.value == *value || !unknown.has(taken));
        let times = provider.taken.iter().filter(own).count();
        let named = provider.taken.iter().filter(|taken| same(&taken.event.identifier)).count();
        let not_there = times == 0 || times == 1 && unknown.blurs(row);
        let allowed = match (state.as_str(), reason.as_str()) {
            ("reported", _) => times == 1 || times == 0 && unknown.blurs(row),
            ("held", "no_customer") => times == 0 && plan.customers_of(tenant, *window_ms).contains(&None),
            ("held", "below_zero") => not_there && *value < 0,
            ("held", "invoiced") => not_there && plan.holds_late,
            ("held", "unsure") => times <= 1 && (doubtful(rows, row) > 1 || unknown.has_lane_of(row)),
            ("held", "restored") => times <= 1 && (doubtful(rows, row) > 1 || unknown.excuses(plan, row)),
            ("settled", _) => not_there,
            // Its identifier is there, be it with another amount.
            ("held", "taken_elsewhere") => named == 1 && unknown.blurs(row),
            _ => false,
        };
        if !allowed {
            return Err(format!("{name} is at Stripe {times} times"));
        }
        if let Some(customer) = &row.customer
            && !plan.customers_of(tenant, *window_ms).contains(&Some(customer.clone()))
        {
            return Err(format!("{name} went to {customer}"));
        }
        if plan.event_names().get(meter) != Some(&row.event_name) {
            return Err(format!("{name} went to the meter {}", row.event_name));
        }
        let end_ms = plan.window_end(tenant, *window_ms);
        let inside = (*window_ms..end_ms).contains(&(row.timestamp_s * 1_000));
        if !row.moved && !inside {
            return Err(format!("{name} is stamped {} outside its window", row.timestamp_s));
        }
    }
    Ok(())
}

/// The number of rows of the same hour, customer and meter that cannot be told apart.
fn doubtful(rows: &[Row], of: &Row) -> usize {
    let same = |row: &&Row| {
        (&row.customer, &row.event_name, row.timestamp_s / 3_600)
            == (&of.customer, &of.event_name, of.timestamp_s / 3_600)
    };
    rows.iter().filter(same).filter(|row| ["unsure", "restored"].contains(&row.reason.as_str())).count()
}

/// Checks that Stripe has no amount without a row, with a different row, or after its invoice was final.
fn check_taken(rows: &[Row], plan: &Plan, provider: &Provider, unknown: &Unknown<'_>) -> Result<()> {
    let by_name: BTreeMap<&String, &Row> =
        rows.iter().filter_map(|row| row.identifier.as_ref().map(|identifier| (identifier, row))).collect();
    for taken in &provider.taken {
        let event = &taken.event;
        let Some(row) = by_name.get(&event.identifier) else {
            if unknown.has(taken) {
                continue;
            }
            return Err(format!("Stripe has what no row is: {event:?}"));
        };
        if (event.value, &event.event_name, Some(&event.customer))
            != (row.value, &row.event_name, row.customer.as_ref())
            && !unknown.has(taken)
        {
            return Err(format!("Stripe has another amount than the row: {event:?}"));
        }
        let end_ms = plan.period_end(&row.tenant, event.timestamp * 1_000);
        // A call may have been under way for a while.
        if taken.at_ms >= end_ms + plan.invoice_delay_ms + UNDER_WAY_MAX_MS {
            return Err(format!(
                "taken at {} when its invoice was final at {end_ms}: nobody pays {event:?}",
                taken.at_ms
            ));
        }
    }
    Ok(())
}

/// Checks that no period is below zero, as far as the ledger knows it.
fn check_periods(plan: &Plan, provider: &Provider, rows: &[Row], unknown: &Unknown<'_>) -> Result<()> {
    let tenants: BTreeMap<&String, &String> =
        rows.iter().filter_map(|row| row.customer.as_ref().map(|customer| (customer, &row.tenant))).collect();
    let (mut sums, mut blurred) = (BTreeMap::<(&String, &String, u64), i64>::new(), BTreeSet::new());
    for taken in &provider.taken {
        let event = &taken.event;
        let Some(tenant) = tenants.get(&event.customer) else { continue };
        let period = (&event.customer, &event.event_name, plan.period_end(tenant, event.timestamp * 1_000));
        *sums.entry(period).or_default() += event.value;
        if unknown.has(taken) {
            blurred.insert(period);
        }
    }
    match sums.iter().find(|(period, sum)| **sum < 0 && !blurred.contains(period)) {
        Some((period, sum)) => Err(format!("the period {period:?} comes to {sum}")),
        None => Ok(()),
    }
}
