//! Rows of two databases that have the same tables: copied from one into the other, and compared.
use std::hash::Hasher;

use rusqlite::types::Value;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{Table, as_stored, quoted};
use crate::{Connection, Error, OptionalExtension, Row, params_from_iter};

/// How many rows are read, written and compared at once.
const ROWS: usize = 1_000;
/// The most rows of a table without a key. All of them have one row, or hold comparisons with the provider.
const KEYLESS_MAX: usize = 100_000;

/// All rows of a table, in no order: the databases may sort texts with U+0000 differently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many there are.
    pub rows: u64,
    /// The sum of the rows' hashes.
    sum: u128,
}

/// Reads a table of both in turn, so that neither connection is idle for long: PostgreSQL ends one that is. `report` is told how many rows
/// of the source are read.
pub fn digests(
    source: &Connection,
    target: &Connection,
    table: &Table,
    report: &mut dyn FnMut(u64),
) -> Result<(Digest, Digest), Error> {
    let (mut expected, mut found) = (Digest::default(), Digest::default());
    if table.key().is_empty() {
        all(source, table)?.into_iter().for_each(|row| expected.add(row));
        all(target, table)?.into_iter().for_each(|row| found.add(row));
        return Ok((expected, found));
    }
    let (mut of_source, mut of_target) = (Some(None), Some(None));
    while of_source.is_some() || of_target.is_some() {
        if let Some(key) = of_source {
            of_source = expected.step(source, table, key)?;
        }
        if let Some(key) = of_target {
            of_target = found.step(target, table, key)?;
        }
        report(expected.rows);
    }
    Ok((expected, found))
}

impl Digest {
    /// Adds the next rows, and returns behind which key it goes on; None at the end.
    fn step(
        &mut self,
        db: &Connection,
        table: &Table,
        key: Option<Vec<Value>>,
    ) -> Result<Option<Option<Vec<Value>>>, Error> {
        let rows = after(db, table, key.as_deref())?;
        let next = rows.last().map(|last| Some(key_of(table, last)));
        rows.into_iter().for_each(|row| self.add(row));
        Ok(next)
    }

    fn add(&mut self, row: Vec<Value>) {
        let mut hasher = SipHasher13::new();
        for value in row.into_iter().map(as_stored) {
            let (tag, bytes) = match value {
                Value::Null => (0, Vec::new()),
                Value::Integer(number) => (1, number.to_be_bytes().to_vec()),
                Value::Real(number) => (2, number.to_be_bytes().to_vec()),
                Value::Text(text) => (3, text.into_bytes()),
                Value::Blob(bytes) => (4, bytes),
            };
            hasher.write_u8(tag);
            hasher.write_u64(bytes.len() as u64);
            hasher.write(&bytes);
        }
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hasher.finish128().as_u128());
    }
}

/// The next rows behind a key, in the order of the key; without one the first rows.
pub fn after(db: &Connection, table: &Table, key: Option<&[Value]>) -> Result<Vec<Vec<Value>>, Error> {
    let columns_of_key: Vec<String> = table.key().iter().map(|column| quoted(&column.name)).collect();
    let order = columns_of_key.join(", ");
    let marks = (1..=key.map_or(0, <[Value]>::len)).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ");
    let behind = if key.is_some() { format!("WHERE ({order}) > ({marks})") } else { String::new() };
    let (columns, name) = (table.column_list(), quoted(&table.name));
    let sql = format!("SELECT {columns} FROM {name} {behind} ORDER BY {order} LIMIT {ROWS}");
    read(db, table, &sql, key.unwrap_or_default())
}

/// All rows of a small table, in an order of their own.
pub fn all(db: &Connection, table: &Table) -> Result<Vec<Vec<Value>>, Error> {
    let (columns, name) = (table.column_list(), quoted(&table.name));
    read(db, table, &format!("SELECT {columns} FROM {name} ORDER BY {columns} LIMIT {KEYLESS_MAX}"), &[])
}

/// Whether a table has no row.
pub fn is_empty(db: &Connection, table: &Table) -> Result<bool, Error> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&table.name));
    db.query_row(&sql, [], |row| Ok(!row.get::<_, bool>(0)?))
}

fn read(db: &Connection, table: &Table, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, Error> {
    let mut select = db.prepare(sql)?;
    let mut rows = select.query(params_from_iter(params))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..table.columns.len()).map(|at| row.get_ref(at).map(Value::from));
        all.push(values.collect::<Result<_, _>>()?);
    }
    Ok(all)
}

/// The key of the last row.
pub fn last_key(db: &Connection, table: &Table) -> Result<Option<Vec<Value>>, Error> {
    let key: Vec<String> = table.key().iter().map(|column| quoted(&column.name)).collect();
    let backwards: Vec<String> = key.iter().map(|column| format!("{column} DESC")).collect();
    let (columns, name, backwards) = (key.join(", "), quoted(&table.name), backwards.join(", "));
    let sql = format!("SELECT {columns} FROM {name} ORDER BY {backwards} LIMIT 1");
    let read = |row: &Row<'_>| (0..key.len()).map(|at| row.get_ref(at).map(Value::from)).collect();
    db.query_row(&sql, [], read).optional()
}

/// The key of a row.
#[must_use]
pub fn key_of(table: &Table, row: &[Value]) -> Vec<Value> {
    let at = |name: &str| table.columns.iter().position(|column| column.name == name);
    table.key().iter().filter_map(|column| row.get(at(&column.name)?).cloned()).collect()
}

/// Copies all rows of a table with a key into the same table of another database, which has none of them.
pub fn copy(source: &Connection, target: &Connection, table: &Table) -> Result<(), Error> {
    let mut key = None;
    loop {
        let rows = after(source, table, key.as_deref())?;
        let Some(last) = rows.last() else { return Ok(()) };
        key = Some(key_of(table, last));
        target.add_rows(table, rows)?;
    }
}
