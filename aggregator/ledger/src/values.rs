//! Sums by the values of one dimension, such as the model: by month, and by the month up to each day.
//!
//! A tenant's values are packed into one row ([`pack`]), so that a span of any length is read in a few rows for each tenant. Each step
//! takes an hour of one dimension from `analysis`, two hours after its end. What arrives later for such an hour stands in `value_late`,
//! in the transaction that counts it. Pricing again takes the sums back to the start of the month, from where the following steps make
//! them anew; until then the hours themselves are read. Reading a span equals reading its hours in `analysis` at any moment, which
//! the tests try to break.
mod pack;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::{Connection, OptionalExtension, Row, Transaction, params};

use super::{LedgerError, SqliteLedger, roll};
use crate::amount::Currency;
use crate::costs::{currency, of_analysis, parts, sums_of};
use crate::line::{Combination, DIMENSIONS, Line, Marks};
use crate::roll::{DAY_MS, day_start, month_start};
pub(crate) use pack::Values;
use pack::{Malformed, VALUES_MAX};
pub use read::{ValueCost, ValueQuery};

/// How long after its end an hour is taken into the sums, in milliseconds: most late events have arrived by then.
const SETTLED_MS: u64 = 2 * HOUR_MS;
/// The dimensions that are summed, by their places in [`DIMENSIONS`].
pub(crate) const ROLLED: [usize; 7] = [0, 1, 2, 3, 4, 5, 6];

impl SqliteLedger {
    /// Takes the next hour into the sums by month, or into those of a dimension, if it ended two hours ago. Returns false if there is
    /// none.
    pub fn roll(&mut self, now: Timestamp) -> Result<bool, LedgerError> {
        self.check_whole()?;
        let settled = Timestamp::from_millis(now.as_millis().saturating_sub(SETTLED_MS)).hour();
        let outcome = self.db.transaction().map_err(LedgerError::from).and_then(|tx| {
            let rolled = roll::step(&tx, settled)? || step(&tx, settled)?;
            tx.commit()?;
            Ok(rolled)
        });
        self.remember_failure(outcome)
    }
}

impl From<Malformed> for LedgerError {
    fn from(_: Malformed) -> Self {
        LedgerError::Inconsistent("packed sums by value cannot be read".to_owned())
    }
}

/// A table of packed sums, and its key.
#[derive(Clone, Copy, Debug)]
enum Table {
    Month,
    Late,
}

impl Table {
    fn sql(self) -> (&'static str, &'static str) {
        match self {
            Table::Month => (
                "SELECT sums FROM value_month WHERE dimension = ?1 AND month_start = ?2 AND tenant = ?3",
                "INSERT INTO value_month VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (dimension, month_start, tenant) DO UPDATE SET sums = excluded.sums",
            ),
            Table::Late => (
                "SELECT sums FROM value_late WHERE dimension = ?1 AND day_start = ?2 AND tenant = ?3",
                "INSERT INTO value_late VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (dimension, day_start, tenant) DO UPDATE SET sums = excluded.sums",
            ),
        }
    }
}

/// The moment before which windows of a dimension are in the sums.
fn through(db: &Connection, dimension: &str) -> Result<Timestamp, LedgerError> {
    let sql = "SELECT through FROM value_rolled WHERE dimension = ?1";
    let through: Option<u64> = db.prepare_cached(sql)?.query_row([dimension], |row| row.get(0)).optional()?;
    Ok(Timestamp::from_millis(through.unwrap_or(0)))
}

/// Takes the next hour of the dimension that is furthest behind, if it ended before `settled`. Returns false if there is none.
pub(super) fn step(tx: &Transaction<'_>, settled: Timestamp) -> Result<bool, LedgerError> {
    let sql = "SELECT dimension, through FROM value_rolled ORDER BY through, dimension LIMIT 1";
    let (dimension, through): (String, u64) =
        tx.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let start = if through > 0 { Some(through) } else { first_window(tx)? };
    let Some(start) = start.map(|start| Timestamp::from_millis(start).hour()) else { return Ok(false) };
    let next = start.plus_millis(HOUR_MS);
    if next > settled {
        return Ok(false);
    }
    take(tx, &dimension, start, next)?;
    if next.as_millis().is_multiple_of(DAY_MS) && month_start(next) == month_start(start) {
        keep_day(tx, &dimension, month_start(start), next)?;
    }
    let sql = "UPDATE value_rolled SET through = ?2 WHERE dimension = ?1";
    tx.prepare_cached(sql)?.execute(params![dimension, next.as_millis()])?;
    Ok(true)
}

fn first_window(tx: &Transaction<'_>) -> Result<Option<u64>, LedgerError> {
    let sql = "SELECT min(window_start), (SELECT since FROM value_kept) FROM analysis";
    let read = |row: &Row<'_>| Ok((row.get::<_, Option<u64>>(0)?, row.get::<_, u64>(1)?));
    let (first, since) = tx.prepare_cached(sql)?.query_row([], read)?;
    Ok(first.map(|first| first.max(since)))
}

/// The moment from which sums by value are kept. Windows before it may still stand in `analysis`, until the next step of counting.
fn since(db: &Connection) -> Result<Timestamp, LedgerError> {
    let since: u64 = db.prepare_cached("SELECT since FROM value_kept")?.query_row([], |row| row.get(0))?;
    Ok(Timestamp::from_millis(since))
}

/// Adds the windows of an hour to the sums of its month, tenant by tenant.
fn take(tx: &Transaction<'_>, dimension: &str, start: Timestamp, next: Timestamp) -> Result<(), LedgerError> {
    let sql = format!(
        "SELECT tenant, currency, {}, {dimension} FROM analysis WHERE window_start >= ?1 AND window_start < ?2 AND marks & {} = 0
         GROUP BY tenant, {dimension}, currency ORDER BY tenant",
        of_analysis(),
        Marks::UNCOSTED.0
    );
    let mut select = tx.prepare_cached(&sql)?;
    let mut rows = select.query([start.as_millis(), next.as_millis()])?;
    let (month, mut tenant, mut values) = (month_start(start), String::new(), Values::default());
    let last = row_columns();
    while let Some(row) = rows.next()? {
        let of = row.get_ref(0)?.as_str().unwrap_or_default();
        if of != tenant {
            add(tx, Table::Month, (dimension, month, &tenant), &mut values)?;
            of.clone_into(&mut tenant);
        }
        let value = row.get_ref(last)?.as_str().unwrap_or_default();
        values.add((value, currency(&row, 1)?), &parts(&sums_of(&row, 2)?), 1, usize::MAX);
    }
    add(tx, Table::Month, (dimension, month, &tenant), &mut values)
}

/// The column after tenant, currency and the sums of a query of `analysis`.
fn row_columns() -> usize {
    2 + crate::costs::COUNTS.len() + 3 * crate::costs::AMOUNTS.len()
}

/// Adds sums to a row, and empties them.
fn add(
    tx: &Transaction<'_>,
    table: Table,
    (dimension, at, tenant): (&str, Timestamp, &str),
    values: &mut Values,
) -> Result<(), LedgerError> {
    let (select, replace) = table.sql();
    let (key, mut sums) = (params![dimension, at.as_millis(), tenant], Values::default());
    let known: Option<Vec<u8>> = tx.prepare_cached(select)?.query_row(key, |row| row.get(0)).optional()?;
    if let Some(known) = known {
        sums.add_packed(&known, 1, VALUES_MAX)?;
    }
    let mut any = false;
    for (value, currency, parts) in values.drain() {
        sums.add((&value, currency), &parts, 1, VALUES_MAX);
        any = true;
    }
    if any {
        tx.prepare_cached(replace)?.execute(params![dimension, at.as_millis(), tenant, sums.pack()])?;
    }
    Ok(())
}

/// Keeps the sums of a month up to a day.
fn keep_day(tx: &Transaction<'_>, dimension: &str, month: Timestamp, day: Timestamp) -> Result<(), LedgerError> {
    let key = params![dimension, month.as_millis(), day.as_millis()];
    let sql = "INSERT INTO value_to_day SELECT dimension, ?3, tenant, sums FROM value_month
               WHERE dimension = ?1 AND month_start = ?2";
    tx.prepare_cached(sql)?.execute(key)?;
    let sql = "INSERT INTO value_day VALUES (?1, ?2)";
    tx.prepare_cached(sql)?.execute(params![dimension, day.as_millis()])?;
    Ok(())
}

/// Notes what was counted in windows that the sums already have.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// How far each of [`ROLLED`] is.
    through: Vec<Timestamp>,
    since: Timestamp,
    sums: BTreeMap<(usize, Timestamp, String), Values>,
}

impl Late {
    /// Reads how far the sums are.
    pub(super) fn begin(tx: &Transaction<'_>) -> Result<Self, LedgerError> {
        let through = ROLLED.iter().map(|dimension| through(tx, DIMENSIONS[*dimension]));
        Ok(Late { through: through.collect::<Result<_, _>>()?, since: since(tx)?, sums: BTreeMap::new() })
    }

    /// Notes a line that was added to the row of a combination.
    pub(super) fn note(&mut self, line: &Line, combination: &Combination) {
        let is_late = |through: &Timestamp| line.window < *through && line.window >= self.since;
        for (dimension, _) in ROLLED.iter().zip(&self.through).filter(|(_, through)| is_late(through)) {
            let Some(sums) = line.sums() else { return };
            let key = (*dimension, day_start(line.window), line.tenant.as_str().to_owned());
            let value = (&*combination.dimensions[*dimension], combination.currency);
            self.sums.entry(key).or_default().add(value, &parts(&sums), 1, VALUES_MAX);
        }
    }

    /// Writes what was noted.
    pub(super) fn write(self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        self.sums.into_iter().try_for_each(|((dimension, day, tenant), mut values)| {
            add(tx, Table::Late, (DIMENSIONS[dimension], day, &tenant), &mut values)
        })
    }
}

/// Takes the sums back to the start of a moment's month: rows of `analysis` from then on have changed.
pub(super) fn rewind(tx: &Transaction<'_>, from: Timestamp) -> Result<(), LedgerError> {
    let month = month_start(from).as_millis();
    for sql in [
        "DELETE FROM value_month WHERE month_start >= ?1",
        "DELETE FROM value_to_day WHERE day_start > ?1",
        "DELETE FROM value_day WHERE day_start > ?1",
        "DELETE FROM value_late WHERE day_start >= ?1",
    ] {
        tx.prepare_cached(sql)?.execute([month])?;
    }
    let begin = month.max(since(tx)?.as_millis());
    tx.prepare_cached("UPDATE value_rolled SET through = ?1 WHERE through > ?1")?.execute([begin])?;
    Ok(())
}

/// Drops sums of the days before `since`, whose windows expire. Months that reach beyond stay whole: what is read of them begins at a
/// day that is kept.
pub(super) fn expire(tx: &Transaction<'_>, since: Timestamp) -> Result<(), LedgerError> {
    let since = since.as_millis();
    let moved = tx.prepare_cached("UPDATE value_kept SET since = ?1 WHERE since < ?1")?.execute([since])?;
    if moved == 0 {
        return Ok(());
    }
    // A dimension that is not that far has sums of windows that are gone, and no day to take them off by.
    for table in ["value_month", "value_to_day", "value_day", "value_late"] {
        let sql =
            format!("DELETE FROM {table} WHERE dimension IN (SELECT dimension FROM value_rolled WHERE through < ?1)");
        tx.execute(&sql, [since])?;
    }
    tx.execute("UPDATE value_rolled SET through = 0 WHERE through < ?1", [since])?;
    let month = month_start(Timestamp::from_millis(since)).as_millis();
    tx.execute("DELETE FROM value_month WHERE month_start < ?1", [month])?;
    for table in ["value_to_day", "value_day", "value_late"] {
        tx.execute(&format!("DELETE FROM {table} WHERE day_start < ?1"), [since])?;
    }
    Ok(())
}

/// What stands between the values of several dimensions.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// An entry of a reader's answer.
pub(crate) fn cost_of((value, of, parts): (Box<str>, Option<Currency>, crate::costs::Parts)) -> ValueCost {
    ValueCost { value: value.into(), currency: of, sums: crate::costs::of_parts(&parts) }
}
