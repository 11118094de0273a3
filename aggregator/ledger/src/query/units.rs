//! Billable units and costs by tenant over a span, for the replay of price plans. Long spans are read from the sums of
//! [`crate::roll`].
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;

use rusqlite::{Row, Transaction, params};
use weir_contract::Timestamp;

use super::{LedgerReader, millis};
use crate::LedgerError;
use crate::amount::{Currency, PICO};
use crate::costs::{COUNTS, Parts, SUMS, of_parts};
use crate::periods::{self, Anchor};
use crate::roll::{self, Rows, Slice};
use crate::view::cost::CostRow;

/// Units by meter, by tenant.
pub type TenantUnits = HashMap<String, Arc<BTreeMap<String, u64>>>;

/// The first window with a billable unit, by tenant.
pub type FirstWindows = HashMap<String, Timestamp>;

type Signed = HashMap<String, BTreeMap<String, i64>>;

const ADJUSTED: &str = "SELECT tenant, meter, value FROM adjustment JOIN outbox ON outbox.id = adjustment.outbox
    WHERE window_start >= ?1 AND window_start < ?2 AND (?3 IS NULL OR tenant = ?3)";
const VOID: &str = "SELECT tenant, meter, -value FROM settlement JOIN outbox ON outbox.id = settlement.outbox
    WHERE outcome = 'void' AND window_start >= ?1 AND window_start < ?2 AND (?3 IS NULL OR tenant = ?3)";

impl LedgerReader {
    /// Units of some meters to bill, of windows that start in a span, of one tenant or of all: what was counted, corrected by hand,
    /// and not settled as void.
    pub fn units(
        &mut self,
        tenant: Option<&str>,
        meters: &BTreeSet<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<TenantUnits, LedgerError> {
        let tx = self.0.transaction()?;
        let mut sums = Signed::default();
        for slice in roll::slices(&tx, from, to)? {
            add_units(&tx, &usage_sql(&slice), (slice.from, slice.to, slice.sign), (tenant, meters), &mut sums)?;
        }
        for sql in [ADJUSTED, VOID] {
            add_units(&tx, sql, (from, to, 1), (tenant, meters), &mut sums)?;
        }
        // Corrections may exceed what was counted; nobody is billed less than nothing.
        let units = |meters: BTreeMap<String, i64>| {
            Arc::new(meters.into_iter().map(|(meter, sum)| (meter, sum.max(0).unsigned_abs())).collect())
        };
        Ok(sums.into_iter().map(|(tenant, meters)| (tenant, units(meters))).collect())
    }

    /// What the requests of a span cost, by tenant and currency.
    pub fn tenant_costs(
        &mut self,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<CostRow>, LedgerError> {
        let tx = self.0.transaction()?;
        let mut sums: BTreeMap<(String, Option<Currency>), Parts> = BTreeMap::new();
        for slice in roll::slices(&tx, from, to)? {
            let mut select = tx.prepare_cached(&cost_sql(&slice))?;
            let mut rows = select.query(params![slice.from.as_millis(), slice.to.as_millis(), tenant])?;
            while let Some(row) = rows.next()? {
                let key = (row.get(0)?, Currency::parse(row.get_ref(1)?.as_str().unwrap_or_default()));
                let sum = sums.entry(key).or_insert([0; SUMS]);
                for (sum, part) in sum.iter_mut().zip(cost_parts(row)?) {
                    *sum += i128::from(slice.sign) * part;
                }
            }
        }
        let there = sums.into_iter().filter(|(_, sums)| sums.iter().any(|sum| *sum != 0));
        Ok(there
            .map(|((tenant, currency), sums)| CostRow { tenant, currency, sums: of_parts(&sums), ..CostRow::default() })
            .collect())
    }

    /// The first window with a billable unit, of one tenant or of each.
    pub fn first_windows(&mut self, tenant: Option<&str>) -> Result<FirstWindows, LedgerError> {
        let tx = self.0.transaction()?;
        let through = roll::through(&tx)?.as_millis();
        let sql = "SELECT tenant, min(first) FROM (
                     SELECT tenant, window_start AS first FROM first_use
                     UNION ALL SELECT tenant, min(window_start) FROM usage WHERE window_start >= ?2 AND billable > 0 GROUP BY tenant)
                   WHERE ?1 IS NULL OR tenant = ?1 GROUP BY tenant";
        let mut select = tx.prepare_cached(sql)?;
        let rows = select.query_map(params![tenant, through], |row| Ok((row.get(0)?, millis(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Where billing periods begin, of each tenant for which that is known. The others have calendar months.
    pub fn anchors(&mut self) -> Result<std::collections::HashMap<String, Anchor>, LedgerError> {
        periods::anchors(&self.0)
    }
}

fn add_units(
    tx: &Transaction<'_>,
    sql: &str,
    (from, to, sign): (Timestamp, Timestamp, i64),
    (tenant, meters): (Option<&str>, &BTreeSet<&str>),
    sums: &mut Signed,
) -> Result<(), LedgerError> {
    let mut select = tx.prepare_cached(sql)?;
    let mut rows = select.query(params![from.as_millis(), to.as_millis(), tenant])?;
    while let Some(row) = rows.next()? {
        let (tenant, meter) =
            (row.get_ref(0)?.as_str().unwrap_or_default(), row.get_ref(1)?.as_str().unwrap_or_default());
        if !meters.contains(meter) {
            continue;
        }
        let amount = sign * row.get::<_, i64>(2)?;
        // Most rows are of a tenant and meter that are there already, and need no new texts.
        let known = sums.get_mut(tenant).and_then(|meters| meters.get_mut(meter));
        match known {
            Some(sum) => *sum += amount,
            None => *sums.entry(tenant.to_owned()).or_default().entry(meter.to_owned()).or_default() += amount,
        }
    }
    Ok(())
}

/// The table and key of a slice, after `usage` or `cost`.
fn table(slice: &Slice, of: &str) -> (String, &'static str) {
    match slice.of {
        Rows::Windows => (of.to_owned(), "window_start"),
        Rows::Months => (format!("{of}_month"), "month_start"),
        Rows::ToDay => (format!("{of}_to_day"), "day_start"),
    }
}

fn usage_sql(slice: &Slice) -> String {
    let (table, key) = table(slice, "usage");
    let chosen = format!("FROM {table} WHERE {key} >= ?1 AND {key} < ?2 AND (?3 IS NULL OR tenant = ?3)");
    match slice.of {
        Rows::Windows => format!("SELECT tenant, meter, sum(billable) {chosen} GROUP BY tenant, meter"),
        Rows::Months | Rows::ToDay => format!("SELECT tenant, meter, billable {chosen}"),
    }
}

fn cost_sql(slice: &Slice) -> String {
    let ((table, key), columns) = (table(slice, "cost"), roll::cost_columns().join(", "));
    format!(
        "SELECT tenant, currency, {columns} FROM {table} WHERE {key} >= ?1 AND {key} < ?2 AND (?3 IS NULL OR tenant = ?3)"
    )
}

fn cost_parts(row: &Row<'_>) -> Result<Parts, rusqlite::Error> {
    let mut parts = [0; SUMS];
    let column = |number: usize| row.get::<_, i64>(2 + number).map(i128::from);
    for (number, part) in parts.iter_mut().enumerate() {
        *part = match number.checked_sub(COUNTS.len()) {
            None => column(number)?,
            Some(amount) => column(COUNTS.len() + 2 * amount)? * PICO + column(COUNTS.len() + 2 * amount + 1)?,
        };
    }
    Ok(parts)
}
