//! Reads costs by the values of dimensions, one tenant after the other.
use weir_contract::Timestamp;
use weir_database::{Connection, Row, Rows, Statement, params};

use super::{ROLLED, SEPARATOR, Values, cost_of, row_columns, since, through};
use crate::LedgerError;
use crate::amount::Currency;
use crate::costs::{
    Parts, ROW_COLUMNS, currency, of_analysis, of_analysis_row, parts as parts_of_sums, parts_of_row, sums_of,
};
use crate::line::{DIMENSIONS, Marks};
use crate::query::LedgerReader;
use crate::query::units::rows_of;
use crate::roll::{Rows as Kind, Slice, month_start, slices_of};
use crate::view::cost::CostSums;

/// The most windows that are read row by row, each in the order of tenants. Of more the rows are sorted and summed first.
const WINDOWS_APART: usize = 64;
/// The most values of one tenant that an answer keeps apart; further ones are summed under [`crate::line::OTHER`].
const VALUES_MAX: usize = 20_000;

/// A query for costs by value.
#[derive(Clone, Copy, Debug)]
pub struct ValueQuery<'q> {
    /// Only this tenant.
    pub tenant: Option<&'q str>,
    /// Some of [`DIMENSIONS`].
    pub by: &'q [&'q str],
    /// Windows from this moment on.
    pub from: Timestamp,
    /// Windows that start before this moment.
    pub to: Timestamp,
    /// True if each tenant has sums of its own; else all tenants are one, without a name.
    pub by_tenant: bool,
}

/// The cost of one value of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueCost {
    /// The value; the values of several dimensions with U+001F between them.
    pub value: String,
    /// The currency; None for requests of which nothing has a price.
    pub currency: Option<Currency>,
    /// The sums.
    pub sums: CostSums,
}

impl ValueCost {
    /// The values, in the order of the query's dimensions.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.value.split(SEPARATOR)
    }
}

impl LedgerReader {
    /// The moment from which sums by value are kept.
    pub fn values_since(&self) -> Result<Timestamp, LedgerError> {
        since(self.connection())
    }

    /// Reads costs by value, as far back as they are kept, and hands each tenant's to `each`, in the order of their names. Memory is
    /// bounded by the values of one tenant.
    pub fn value_costs(
        &mut self,
        query: &ValueQuery<'_>,
        each: &mut dyn FnMut(&str, Vec<ValueCost>),
    ) -> Result<(), LedgerError> {
        if let Some(unknown) = query.by.iter().find(|dimension| !DIMENSIONS.contains(dimension)) {
            return Err(LedgerError::Inconsistent(format!("there is no dimension {unknown}")));
        }
        let tx = self.db().transaction()?;
        let query = ValueQuery { from: query.from.max(since(&tx)?), ..*query };
        let parts = parts_of(&tx, &query)?;
        let mut statements = parts.iter().map(|part| prepare(&tx, &query, part)).collect::<Result<Vec<_>, _>>()?;
        let mut cursors = Vec::with_capacity(parts.len());
        for (statement, part) in statements.iter_mut().zip(&parts) {
            cursors.push(Cursor::open(statement, &query, *part)?);
        }
        merge(&mut cursors, each)
    }
}

/// A range of rows of one table.
#[derive(Clone, Copy, Debug)]
struct Part {
    slice: Slice,
    of: Source,
}

/// What a part reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Packed sums of a month.
    Month,
    /// Packed sums of a month up to a day.
    ToDay,
    /// Packed sums of what arrived late.
    Late,
    /// Windows, summed by value.
    Windows,
    /// One window, row by row.
    Window,
}

/// The ranges that make up a span: those of the sums, each with what arrived late for it, or windows alone.
fn parts_of(db: &Connection, query: &ValueQuery<'_>) -> Result<Vec<Part>, LedgerError> {
    let (from, to) = (query.from, query.to);
    let rolled = |name: &str| ROLLED.iter().any(|dimension| DIMENSIONS[*dimension] == name);
    let slices = match query.by {
        [dimension] if query.by_tenant && rolled(dimension) => {
            let mut kept =
                db.prepare_cached("SELECT EXISTS (SELECT 1 FROM value_day WHERE dimension = ?1 AND day_start = ?2)")?;
            let is_kept = |day: Timestamp| Ok(kept.query_row(params![dimension, day.as_millis()], |row| row.get(0))?);
            slices_of(through(db, dimension)?, from, to, is_kept)?
        }
        _ if from < to => vec![Slice { of: Kind::Windows, from, to, sign: 1 }],
        _ => Vec::new(),
    };
    let mut parts = Vec::new();
    let since = since(db)?;
    for slice in slices {
        let late = |from, to| Part { slice: Slice { from, to, ..slice }, of: Source::Late };
        match slice.of {
            Kind::Windows => windows(db, Slice { from: slice.from.max(since), ..slice }, &mut parts)?,
            Kind::Months => {
                months(db, query, slice, &mut parts)?;
                parts.push(late(slice.from, slice.to));
            }
            Kind::ToDay => {
                parts.extend([Part { slice, of: Source::ToDay }, late(month_start(slice.from), slice.from)]);
            }
        }
    }
    // What is added comes first, so that no sum is below nothing in between.
    parts.sort_by_key(|part| -part.slice.sign);
    Ok(parts)
}

/// The months of a range, each by itself: within one, rows come in the order of tenants.
fn months(db: &Connection, query: &ValueQuery<'_>, range: Slice, parts: &mut Vec<Part>) -> Result<(), LedgerError> {
    let mut next =
        db.prepare_cached("SELECT min(month_start) FROM value_month WHERE dimension = ?1 AND month_start >= ?2")?;
    let mut from = range.from;
    loop {
        let month: Option<u64> = next.query_row(params![query.by.concat(), from.as_millis()], |row| row.get(0))?;
        let Some(month) = month.map(Timestamp::from_millis).filter(|month| *month < range.to) else { return Ok(()) };
        from = month.plus_millis(1);
        parts.push(Part { slice: Slice { from: month, to: from, ..range }, of: Source::Month });
    }
}

/// The windows of a range: each by itself if there are few, which saves sorting their rows.
fn windows(db: &Connection, range: Slice, parts: &mut Vec<Part>) -> Result<(), LedgerError> {
    let mut next = db.prepare_cached("SELECT min(window_start) FROM analysis WHERE window_start >= ?1")?;
    let (mut from, mut found) = (range.from, Vec::new());
    loop {
        let window: Option<u64> = next.query_row([from.as_millis()], |row| row.get(0))?;
        let Some(window) = window.map(Timestamp::from_millis).filter(|window| *window < range.to) else { break };
        if found.len() == WINDOWS_APART {
            parts.push(Part { slice: range, of: Source::Windows });
            return Ok(());
        }
        from = window.plus_millis(1);
        found.push(Part { slice: Slice { from: window, to: from, ..range }, of: Source::Window });
    }
    parts.append(&mut found);
    Ok(())
}

fn prepare<'c>(db: &'c Connection, query: &ValueQuery<'_>, part: &Part) -> Result<Statement<'c>, LedgerError> {
    // One tenant's rows are looked up by the keys of the tables, of which the tenant is a part.
    let chosen = if query.tenant.is_some() { "tenant = ?3" } else { "?3 IS NULL" };
    let packed = |table: &str, key: &str, first: &str| {
        let is = format!("dimension = '{}' AND {key} {first} ?1 AND {key} < ?2 AND {chosen}", query.by.concat());
        format!("SELECT tenant, sums FROM {table} WHERE {is} ORDER BY tenant")
    };
    let tenant = if query.by_tenant { "tenant" } else { "''" };
    let values = query.by.join(&format!(" || '{SEPARATOR}' || "));
    let sql = match part.of {
        Source::Late => packed("value_late", "day_start", ">="),
        // The keys of the tables end with the tenant where the moment is one, so that nothing is sorted.
        Source::Month => packed("value_month", "month_start", "="),
        Source::ToDay => packed("value_to_day", "day_start", "="),
        Source::Window => format!(
            "SELECT {tenant} AS of, currency, {}, {values} AS value FROM analysis
             WHERE window_start = ?1 AND window_start < ?2 AND {chosen} AND marks & {} = 0 ORDER BY of",
            of_analysis_row(),
            Marks::UNCOSTED.0
        ),
        Source::Windows => {
            let (times, from) = rows_of(("analysis", "window_start"), query.tenant);
            format!(
                "{times}SELECT {tenant} AS of, currency, {}, {values} AS value FROM {from} AND marks & {} = 0
                 GROUP BY of, value, currency ORDER BY of",
                of_analysis(),
                Marks::UNCOSTED.0
            )
        }
    };
    Ok(db.prepare(&sql)?)
}

/// The rows of a part, of which the first that is not taken yet names the next tenant.
struct Cursor<'s> {
    rows: Rows<'s>,
    part: Part,
    /// The tenant of the current row; None at the end.
    tenant: Option<String>,
}

impl<'s> Cursor<'s> {
    fn open(statement: &'s mut Statement<'_>, query: &ValueQuery<'_>, part: Part) -> Result<Self, LedgerError> {
        let (from, to) = (part.slice.from.as_millis(), part.slice.to.as_millis());
        // SQLite's integers have a sign; the last month's range is open.
        let to = to.min(i64::MAX.unsigned_abs());
        let rows = statement.query(params![from, to, query.tenant])?;
        let mut cursor = Cursor { rows, part, tenant: None };
        cursor.advance()?;
        Ok(cursor)
    }

    fn advance(&mut self) -> Result<(), LedgerError> {
        let row = self.rows.next()?;
        match row.map(|row| row.get_ref(0)).transpose()?.map(|tenant| tenant.as_str().unwrap_or_default()) {
            Some(tenant) => tenant.clone_into(self.tenant.get_or_insert_default()),
            None => self.tenant = None,
        }
        Ok(())
    }

    /// Adds the rows of a tenant.
    fn take(&mut self, tenant: &str, values: &mut Values) -> Result<(), LedgerError> {
        while self.tenant.as_deref() == Some(tenant) {
            if let Some(row) = self.rows.get() {
                add(&row, &self.part, values)?;
            }
            self.advance()?;
        }
        Ok(())
    }
}

fn add(row: &Row<'_>, part: &Part, values: &mut Values) -> Result<(), LedgerError> {
    let (parts, value): (Parts, usize) = match part.of {
        Source::Month | Source::ToDay | Source::Late => {
            let sums = row.get_ref(1)?.as_blob().unwrap_or_default();
            return Ok(values.add_packed(sums, part.slice.sign, VALUES_MAX)?);
        }
        Source::Windows => (parts_of_sums(&sums_of(row, 2)?), row_columns()),
        Source::Window => (parts_of_row(row, 2)?, 2 + ROW_COLUMNS),
    };
    let value = row.get_ref(value)?.as_str().unwrap_or_default();
    values.add((value, currency(row, 1)?), &parts, part.slice.sign, VALUES_MAX);
    Ok(())
}

/// Goes through the tenants in order, and sums what the cursors have of each.
fn merge(cursors: &mut [Cursor<'_>], each: &mut dyn FnMut(&str, Vec<ValueCost>)) -> Result<(), LedgerError> {
    let mut values = Values::default();
    loop {
        let next = cursors.iter().filter_map(|cursor| cursor.tenant.as_deref()).min();
        let Some(tenant) = next.map(str::to_owned) else { return Ok(()) };
        for cursor in &mut *cursors {
            cursor.take(&tenant, &mut values)?;
        }
        let costs: Vec<ValueCost> = values.drain().map(cost_of).collect();
        if !costs.is_empty() {
            each(&tenant, costs);
        }
    }
}
