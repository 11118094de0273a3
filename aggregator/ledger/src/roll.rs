//! Sums of hours that are over, by month and by the month up to each day, so that a span of any length is read in few rows.
//!
//! Each step takes the next hour into the sums, in one transaction. An hour that changes after that changes the sums by triggers
//! (`migrations/11_rolled.sql`), whatever changes it: a late event, a repricing. The sums follow from `usage` and `cost`; reading them
//! equals reading those tables at any moment, which `tests/rolling.rs` tries to break.
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::{Connection, Transaction, params};

use super::LedgerError;
use super::costs::{AMOUNTS, COUNTS};
use crate::periods::Anchor;

pub(super) const DAY_MS: u64 = 24 * HOUR_MS;

/// The moment before which windows are in the sums.
pub(super) fn through(db: &Connection) -> Result<Timestamp, LedgerError> {
    let through = db.prepare_cached("SELECT through FROM rolled")?.query_row([], |row| row.get::<_, u64>(0))?;
    Ok(Timestamp::from_millis(through))
}

/// Takes the next hour that ended before `settled` into the sums. Returns false if there is none.
pub(super) fn step(tx: &Transaction<'_>, settled: Timestamp) -> Result<bool, LedgerError> {
    let start = match through(tx)? {
        none if none == Timestamp::default() => match first_window(tx)? {
            Some(first) => first.hour(),
            None => return Ok(false),
        },
        through => through,
    };
    let next = start.plus_millis(HOUR_MS);
    if next > settled {
        return Ok(false);
    }
    take(tx, start, next)?;
    let month = month_start(start);
    if next.as_millis().is_multiple_of(DAY_MS) && month_start(next) == month {
        keep_day(tx, month, next)?;
    }
    tx.prepare_cached("UPDATE rolled SET through = ?1")?.execute([next.as_millis()])?;
    Ok(true)
}

/// The first moment of a calendar month in UTC.
pub(super) fn month_start(at: Timestamp) -> Timestamp {
    Anchor::default().period(at).start
}

/// The first moment of a day in UTC.
pub(super) fn day_start(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() - at.as_millis() % DAY_MS)
}

fn first_window(tx: &Transaction<'_>) -> Result<Option<Timestamp>, LedgerError> {
    let sql = "SELECT min(first) FROM (SELECT min(window_start) AS first FROM usage
               UNION ALL SELECT min(window_start) FROM cost) AS windows";
    let first: Option<u64> = tx.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(first.map(Timestamp::from_millis))
}

/// Adds the windows of an hour to the sums of its month.
fn take(tx: &Transaction<'_>, start: Timestamp, next: Timestamp) -> Result<(), LedgerError> {
    let key = params![month_start(start).as_millis(), start.as_millis(), next.as_millis()];
    let usage = "INSERT INTO usage_month SELECT ?1, tenant, meter, sum(billable) FROM usage
                 WHERE window_start >= ?2 AND window_start < ?3 GROUP BY tenant, meter
                 ON CONFLICT (month_start, tenant, meter)
                 DO UPDATE SET billable = usage_month.billable + excluded.billable";
    tx.prepare_cached(usage)?.execute(key)?;
    let columns = cost_columns();
    let sums: Vec<String> = columns.iter().map(|column| format!("sum({column})")).collect();
    let set: Vec<String> =
        columns.iter().map(|column| format!("{column} = cost_month.{column} + excluded.{column}")).collect();
    let cost = format!(
        "INSERT INTO cost_month SELECT ?1, tenant, currency, {} FROM cost
         WHERE window_start >= ?2 AND window_start < ?3 GROUP BY tenant, currency
         ON CONFLICT (month_start, tenant, currency) DO UPDATE SET {}",
        sums.join(", "),
        set.join(", ")
    );
    tx.prepare_cached(&cost)?.execute(key)?;
    let first = "INSERT INTO first_use SELECT tenant, min(window_start) FROM usage
                 WHERE window_start >= ?2 AND window_start < ?3 AND billable > 0 AND ?1 IS NOT NULL GROUP BY tenant
                 ON CONFLICT (tenant) DO UPDATE SET window_start = excluded.window_start
                 WHERE excluded.window_start < first_use.window_start";
    tx.prepare_cached(first)?.execute(key)?;
    Ok(())
}

/// Keeps the sums of a month up to a day.
fn keep_day(tx: &Transaction<'_>, month: Timestamp, day: Timestamp) -> Result<(), LedgerError> {
    let (month, day) = (month.as_millis(), day.as_millis());
    let usage = "INSERT INTO usage_to_day SELECT ?2, tenant, meter, billable FROM usage_month WHERE month_start = ?1";
    tx.prepare_cached(usage)?.execute([month, day])?;
    let columns = cost_columns().join(", ");
    let cost = format!(
        "INSERT INTO cost_to_day SELECT ?2, tenant, currency, {columns} FROM cost_month WHERE month_start = ?1"
    );
    tx.prepare_cached(&cost)?.execute([month, day])?;
    tx.prepare_cached("INSERT INTO rolled_day VALUES (?1)")?.execute([day])?;
    Ok(())
}

/// The columns of costs, in the order of the table.
pub(super) fn cost_columns() -> Vec<String> {
    let amounts = AMOUNTS.iter().flat_map(|amount| [format!("{amount}_units"), format!("{amount}_pico")]);
    COUNTS.iter().map(ToString::to_string).chain(amounts).collect()
}

/// A range of rows whose sum counts for a span: added, or taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// The kind of rows.
    pub(super) of: Rows,
    /// The first key.
    pub(super) from: Timestamp,
    /// The first key after the range.
    pub(super) to: Timestamp,
    /// 1, or -1.
    pub(super) sign: i64,
}

/// Kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Windows.
    Windows,
    /// Months.
    Months,
    /// The months up to days.
    ToDay,
}

/// The ranges whose sums make up a span.
pub(super) fn slices(db: &Connection, from: Timestamp, to: Timestamp) -> Result<Vec<Slice>, LedgerError> {
    let mut kept = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM rolled_day WHERE day_start = ?1)")?;
    slices_of(through(db)?, from, to, |day| Ok(kept.query_row([day.as_millis()], |row| row.get(0))?))
}

/// The same for sums that have the windows before `through`, and those of the months up to the days for which `kept` returns true.
pub(super) fn slices_of(
    through: Timestamp,
    from: Timestamp,
    to: Timestamp,
    mut kept: impl FnMut(Timestamp) -> Result<bool, LedgerError>,
) -> Result<Vec<Slice>, LedgerError> {
    let mut slices = Vec::new();
    if from >= to {
        return Ok(slices);
    }
    let windows = |from, to, sign| Slice { of: Rows::Windows, from, to, sign };
    // Within a day or so, and where nothing is rolled, windows are as few rows as anything.
    if from >= through || to.millis_since(from) <= DAY_MS {
        slices.push(windows(from, to, 1));
        return Ok(slices);
    }
    let first = month_start(from);
    let rolled_to = to.min(through);
    let last = month_start(rolled_to);
    let months = |to| Slice { of: Rows::Months, from: first, to, sign: 1 };
    if to >= through {
        slices.push(months(Timestamp::from_millis(u64::MAX)));
        slices.push(windows(through, to, 1));
    } else {
        slices.push(months(last));
        up_to(&mut kept, last, to, 1, &mut slices)?;
    }
    up_to(&mut kept, first, from, -1, &mut slices)?;
    slices.retain(|slice| slice.from < slice.to);
    Ok(slices)
}

/// The part of a month before a moment: the kept sums up to its day, and the windows of that day; or windows alone.
fn up_to(
    kept: &mut dyn FnMut(Timestamp) -> Result<bool, LedgerError>,
    month: Timestamp,
    at: Timestamp,
    sign: i64,
    slices: &mut Vec<Slice>,
) -> Result<(), LedgerError> {
    let day = day_start(at);
    if kept(day)? {
        slices.push(Slice { of: Rows::ToDay, from: day, to: day.plus_millis(1), sign });
        slices.push(Slice { of: Rows::Windows, from: day, to: at, sign });
    } else {
        slices.push(Slice { of: Rows::Windows, from: month, to: at, sign });
    }
    Ok(())
}
