//! Billable units and costs by tenant over a span, for the replay of price plans. Long spans are read from the sums of
//! [`crate::roll`].
use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;

use weir_contract::Timestamp;
use weir_database::{Row, Transaction, params};

use super::{LedgerReader, millis};
use crate::LedgerError;
use crate::amount::{Currency, PICO};
use crate::costs::{COUNTS, Parts, SUMS, of_parts};
use crate::first_answers;
use crate::periods::{self, Anchor};
use crate::roll::{self, Rows, Slice};
use crate::view::cost::CostRow;

/// Units of some meters, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeterUnits {
    meters: Arc<[String]>,
    units: Arc<[u64]>,
}

impl MeterUnits {
    /// The units of a meter.
    pub fn get(&self, meter: &str) -> u64 {
        let at = self.meters.iter().position(|known| known == meter);
        at.and_then(|at| self.units.get(at)).copied().unwrap_or(0)
    }
}

impl FromIterator<(String, u64)> for MeterUnits {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(units: I) -> Self {
        let (meters, units): (Vec<String>, Vec<u64>) = units.into_iter().unzip();
        MeterUnits { meters: meters.into(), units: units.into() }
    }
}

/// Units by tenant.
pub type TenantUnits = HashMap<String, MeterUnits>;

/// The first window with a billable unit, by tenant.
pub type FirstWindows = HashMap<String, Timestamp>;

const ADJUSTED: &str = "SELECT tenant, meter, value FROM adjustment JOIN outbox ON outbox.id = adjustment.outbox
    WHERE window_start >= ?1 AND window_start < ?2 AND (?3 IS NULL OR tenant = ?3)";
const VOID: &str = "SELECT tenant, meter, -value FROM settlement JOIN outbox ON outbox.id = settlement.outbox
    WHERE outcome = 'void' AND window_start >= ?1 AND window_start < ?2 AND (?3 IS NULL OR tenant = ?3)";

/// First uses of the hours that are in the sums.
const FIRST_USE: &str =
    "SELECT tenant, window_start FROM first_use WHERE (?1 IS NULL OR tenant = ?1) AND ?2 IS NOT NULL";
/// The same of one tenant.
const FIRST_USE_OF: &str = "SELECT tenant, window_start FROM first_use WHERE tenant = ?1 AND ?2 IS NOT NULL";
/// Windows since. Rows are neither sorted nor grouped, which costs more than reading them.
const FIRST_SINCE: &str =
    "SELECT tenant, window_start FROM usage WHERE window_start >= ?2 AND billable > 0 AND ?1 IS NULL";

/// The same of one tenant: its rows are looked up in each window by itself.
const FIRST_SINCE_OF: &str = "WITH RECURSIVE times(at) AS (
       SELECT min(window_start) FROM usage WHERE window_start >= ?2
       UNION ALL SELECT (SELECT min(window_start) FROM usage WHERE window_start > times.at) FROM times WHERE times.at IS NOT NULL)
     SELECT tenant, window_start FROM times CROSS JOIN usage WHERE window_start = times.at AND tenant = ?1 AND billable > 0";

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
        let mut sums = Signed::of(meters);
        for slice in roll::slices(&tx, from, to)? {
            sums.read(&tx, &usage_sql(&slice, tenant), (slice.from, slice.to, slice.sign), tenant)?;
        }
        for sql in [ADJUSTED, VOID] {
            sums.read(&tx, sql, (from, to, 1), tenant)?;
        }
        Ok(sums.finish())
    }

    /// What the requests of a span cost, by tenant and currency.
    pub fn tenant_costs(
        &mut self,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<CostRow>, LedgerError> {
        costs_by_tenant(&self.0.transaction()?, tenant, from, to)
    }

    /// The first window with a billable unit, of one tenant or of each.
    pub fn first_windows(&mut self, tenant: Option<&str>) -> Result<FirstWindows, LedgerError> {
        let tx = self.0.transaction()?;
        let through = roll::through(&tx)?.as_millis();
        let mut first = FirstWindows::default();
        for sql in if tenant.is_some() { [FIRST_USE_OF, FIRST_SINCE_OF] } else { [FIRST_USE, FIRST_SINCE] } {
            let mut select = tx.prepare_cached(sql)?;
            let mut rows = select.query(params![tenant, through])?;
            while let Some(row) = rows.next()? {
                let (tenant, window) = (row.get_ref(0)?.as_str().unwrap_or_default(), millis(row.get(1)?));
                match first.get_mut(tenant) {
                    Some(known) => *known = window.min(*known),
                    None => drop(first.insert(tenant.to_owned(), window)),
                }
            }
        }
        Ok(first)
    }

    /// When each tenant's first request was answered: with usage, and without an error.
    pub fn first_answers(&mut self) -> Result<std::collections::HashMap<String, Timestamp>, LedgerError> {
        first_answers::all(&self.0)
    }

    /// Where billing periods begin, of one tenant or of each, where that is known. The others have calendar months.
    pub fn anchors(&mut self, tenant: Option<&str>) -> Result<std::collections::HashMap<String, Anchor>, LedgerError> {
        periods::anchors(&self.0, tenant)
    }
}

/// The costs of one tenant or of each, sorted by tenant and currency.
pub(crate) fn costs_by_tenant(
    tx: &Transaction<'_>,
    tenant: Option<&str>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<CostRow>, LedgerError> {
    let mut sums: HashMap<String, Vec<(Option<Currency>, Parts)>> = HashMap::default();
    for slice in roll::slices(tx, from, to)? {
        let mut select = tx.prepare_cached(&cost_sql(&slice, tenant))?;
        let mut rows = select.query(params![slice.from.as_millis(), slice.to.as_millis(), tenant])?;
        while let Some(row) = rows.next()? {
            let tenant = row.get_ref(0)?.as_str().unwrap_or_default();
            let currency = Currency::parse(row.get_ref(1)?.as_str().unwrap_or_default());
            // Most rows are of a tenant that is there already, and need no new text.
            let of_tenant = match sums.get_mut(tenant) {
                Some(known) => known,
                None => sums.entry(tenant.to_owned()).or_default(),
            };
            add_parts(of_tenant, currency, &cost_parts(&row)?, slice.sign);
        }
    }
    let rows = sums.into_iter().flat_map(|(tenant, sums)| {
        let there = sums.into_iter().filter(|(_, parts)| parts.iter().any(|part| *part != 0));
        there.map(move |(currency, parts)| CostRow {
            tenant: tenant.clone(),
            currency,
            sums: of_parts(&parts),
            ..CostRow::default()
        })
    });
    let mut rows: Vec<CostRow> = rows.collect();
    rows.sort_unstable_by(|a, b| (&a.tenant, a.currency).cmp(&(&b.tenant, b.currency)));
    Ok(rows)
}

/// Sums of units with a sign. Rows of a tenant follow each other in every table, so that a tenant is looked up once for all of them.
struct Signed {
    meters: Arc<[String]>,
    by_tenant: HashMap<String, Box<[i64]>>,
    /// The tenant of the last rows, and their sums.
    tenant: String,
    units: Box<[i64]>,
}

impl Signed {
    fn of(meters: &BTreeSet<&str>) -> Self {
        let meters: Arc<[String]> = meters.iter().map(|meter| (*meter).to_owned()).collect();
        let units = vec![0; meters.len()].into();
        Signed { meters, by_tenant: HashMap::default(), tenant: String::new(), units }
    }

    /// Adds the rows of a statement.
    fn read(
        &mut self,
        tx: &Transaction<'_>,
        sql: &str,
        (from, to, sign): (Timestamp, Timestamp, i64),
        tenant: Option<&str>,
    ) -> Result<(), LedgerError> {
        let mut select = tx.prepare_cached(sql)?;
        let mut rows = select.query(params![from.as_millis(), to.as_millis(), tenant])?;
        while let Some(row) = rows.next()? {
            let meter = row.get_ref(1)?.as_bytes().unwrap_or_default();
            let Some(at) = self.meters.iter().position(|known| known.as_bytes() == meter) else { continue };
            if row.get_ref(0)?.as_bytes().unwrap_or_default() != self.tenant.as_bytes() {
                self.settle();
                row.get_ref(0)?.as_str().unwrap_or_default().clone_into(&mut self.tenant);
            }
            if let Some(sum) = self.units.get_mut(at) {
                *sum += sign * row.get::<_, i64>(2)?;
            }
        }
        self.settle();
        Ok(())
    }

    /// Adds the sums of the last rows to those of their tenant.
    fn settle(&mut self) {
        if self.units.iter().all(|sum| *sum == 0) {
            return;
        }
        match self.by_tenant.get_mut(self.tenant.as_str()) {
            Some(known) => known.iter_mut().zip(&self.units).for_each(|(sum, units)| *sum += units),
            None => drop(self.by_tenant.insert(self.tenant.clone(), self.units.clone())),
        }
        self.units.fill(0);
    }

    /// Corrections may exceed what was counted; nobody is billed less than nothing.
    fn finish(self) -> TenantUnits {
        let units = |sums: Box<[i64]>| MeterUnits {
            meters: Arc::clone(&self.meters),
            units: sums.iter().map(|sum| (*sum).max(0).unsigned_abs()).collect(),
        };
        self.by_tenant.into_iter().map(|(tenant, sums)| (tenant, units(sums))).collect()
    }
}

/// Adds the sums of a row, or takes them off.
fn add_parts(sums: &mut Vec<(Option<Currency>, Parts)>, currency: Option<Currency>, parts: &Parts, sign: i64) {
    let at = sums.iter().position(|(of, _)| *of == currency).unwrap_or_else(|| {
        sums.push((currency, [0; SUMS]));
        sums.len() - 1
    });
    if let Some((_, sum)) = sums.get_mut(at) {
        sum.iter_mut().zip(parts).for_each(|(sum, part)| *sum += i128::from(sign) * part);
    }
}

/// The table and key of a slice, after `usage` or `cost`.
fn table(slice: &Slice, of: &str) -> (String, &'static str) {
    match slice.of {
        Rows::Windows => (of.to_owned(), "window_start"),
        Rows::Months => (format!("{of}_month"), "month_start"),
        Rows::ToDay => (format!("{of}_to_day"), "day_start"),
    }
}

fn usage_sql(slice: &Slice, tenant: Option<&str>) -> String {
    rows_sql(table(slice, "usage"), "tenant, meter, billable", tenant)
}

fn cost_sql(slice: &Slice, tenant: Option<&str>) -> String {
    rows_sql(table(slice, "cost"), &format!("tenant, currency, {}", roll::cost_columns().join(", ")), tenant)
}

/// The rows of a span (`?1` to `?2`), of all tenants or of one (`?3`).
///
/// Every table begins with the time. So one tenant's rows are looked up for each time by itself, of which a slice has few, instead of
/// reading those of all tenants.
fn rows_sql((table, key): (String, &str), columns: &str, tenant: Option<&str>) -> String {
    let (times, from) = rows_of((&table, key), tenant);
    format!("{times}SELECT {columns} FROM {from}")
}

/// The beginning of such a statement, empty for all tenants, and its tables with their conditions.
pub(crate) fn rows_of((table, key): (&str, &str), tenant: Option<&str>) -> (String, String) {
    if tenant.is_none() {
        return (String::new(), format!("{table} WHERE {key} >= ?1 AND {key} < ?2 AND ?3 IS NULL"));
    }
    let times = format!(
        "WITH RECURSIVE times(at) AS (
           SELECT min({key}) FROM {table} WHERE {key} >= ?1 AND {key} < ?2
           UNION ALL SELECT (SELECT min({key}) FROM {table} WHERE {key} > times.at AND {key} < ?2) FROM times
           WHERE times.at IS NOT NULL) "
    );
    (times, format!("times CROSS JOIN {table} WHERE {key} = times.at AND tenant = ?3"))
}

fn cost_parts(row: &Row<'_>) -> Result<Parts, weir_database::Error> {
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
