//! Reads costs by the values of dimensions, one tenant after the other.
use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::{Connection, Row, Rows, Statement, params};
use weir_contract::Timestamp;

use super::pack::Values;
use super::{ROLLED, SEPARATOR, cost_of, row_columns, since, through};
use crate::LedgerError;
use crate::amount::Currency;
use crate::costs::{currency, of_analysis, parts, sums_of};
use crate::line::{DIMENSIONS, Marks};
use crate::query::LedgerReader;
use crate::roll::{Rows as Kind, Slice, month_start, slices_of};
use crate::view::cost::CostSums;

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
    /// True for rows of `value_late`, false for those of the slice's own table.
    late: bool,
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
    for mut slice in slices {
        if slice.of == Kind::Windows {
            slice.from = slice.from.max(since);
        }
        parts.push(Part { slice, late: false });
        let late = match slice.of {
            Kind::Windows => continue,
            Kind::Months => slice,
            Kind::ToDay => Slice { from: month_start(slice.from), to: slice.from, ..slice },
        };
        parts.push(Part { slice: late, late: true });
    }
    // What is added comes first, so that no sum is below nothing in between.
    parts.sort_by_key(|part| -part.slice.sign);
    Ok(parts)
}

fn prepare<'c>(db: &'c Connection, query: &ValueQuery<'_>, part: &Part) -> Result<Statement<'c>, LedgerError> {
    let chosen = "(?3 IS NULL OR tenant = ?3)";
    let packed = |table: &str, key: &str| {
        let is = format!("dimension = '{}' AND {key} >= ?1 AND {key} < ?2 AND {chosen}", query.by.concat());
        format!("SELECT tenant, sums FROM {table} WHERE {is} ORDER BY tenant")
    };
    let sql = match (part.late, part.slice.of) {
        (true, _) => packed("value_late", "day_start"),
        (false, Kind::Months) => packed("value_month", "month_start"),
        (false, Kind::ToDay) => packed("value_to_day", "day_start"),
        (false, Kind::Windows) => {
            let tenant = if query.by_tenant { "tenant" } else { "''" };
            let values = query.by.join(&format!(" || char({}) || ", u32::from(SEPARATOR)));
            format!(
                "SELECT {tenant} AS of, currency, {}, {values} AS value FROM analysis
                 WHERE window_start >= ?1 AND window_start < ?2 AND {chosen} AND marks & {} = 0
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
                add(row, &self.part, values)?;
            }
            self.advance()?;
        }
        Ok(())
    }
}

fn add(row: &Row<'_>, part: &Part, values: &mut Values) -> Result<(), LedgerError> {
    if part.late || part.slice.of != Kind::Windows {
        let sums = row.get_ref(1)?.as_blob().unwrap_or_default();
        return Ok(values.add_packed(sums, part.slice.sign, VALUES_MAX)?);
    }
    let value = row.get_ref(row_columns())?.as_str().unwrap_or_default();
    values.add((value, currency(row, 1)?), &parts(&sums_of(row, 2)?), part.slice.sign, VALUES_MAX);
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
