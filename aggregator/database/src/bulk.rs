//! Many rows at once. SQLite, which is in this process, takes them one by one; to PostgreSQL all of them go in one statement.
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use crate::connection::Engine;
use crate::kind::Kind;
use crate::postgres::{Column, Param, Session};
use crate::{Connection, Error, Row, params_from_iter};

/// Rows of one statement in PostgreSQL: some megabytes of parameters.
const ROWS_MAX: usize = 10_000;

/// A row, by its values in the order of the columns. A column has values of one type.
pub type Values<'v> = Vec<ToSqlOutput<'v>>;

impl Connection {
    /// Runs `INSERT INTO {into} VALUES (…) {conflict}` for each row: `into` names table and columns, and `conflict` says by `excluded.…` what
    /// happens to a row whose key is there already. No two rows have the same key.
    pub fn insert_rows(&self, into: &str, conflict: &str, rows: &[Values<'_>]) -> Result<(), Error> {
        let Some(first) = rows.first() else { return Ok(()) };
        for rows in rows.chunks(ROWS_MAX) {
            if !self.insert_at_once((into, conflict), first.len(), rows)? {
                self.insert_each(into, conflict, rows)?;
            }
        }
        Ok(())
    }

    /// Inserts rows by one statement; false if they have to go one by one.
    fn insert_at_once(&self, (into, conflict): (&str, &str), count: usize, rows: &[Values<'_>]) -> Result<bool, Error> {
        let Engine::Postgres(session) = self.engine() else { return Ok(false) };
        // Keys that differ in U+0000 alone may be one key there, which one statement cannot change twice.
        if rows.iter().flatten().any(has_nul) {
            return Ok(false);
        }
        let columns = columns(vec![Column::default(); count], rows)?;
        // Nothing says which type a column has that is NULL throughout.
        if columns.contains(&Param::Null) {
            return Ok(false);
        }
        insert_columns(session, into, conflict, &columns)?;
        Ok(true)
    }

    /// Inserts rows whose columns are of these kinds.
    pub(crate) fn insert_of_kinds(&self, into: &str, kinds: &[Kind], rows: &[Values<'_>]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let Engine::Postgres(session) = self.engine() else { return self.insert_each(into, "", rows) };
        let columns = columns(kinds.iter().map(|kind| Column::of(*kind)).collect(), rows)?;
        insert_columns(session, into, "", &columns)
    }

    fn insert_each(&self, into: &str, conflict: &str, rows: &[Values<'_>]) -> Result<(), Error> {
        let places: Vec<String> = (1..=rows.first().map_or(0, Vec::len)).map(|number| format!("?{number}")).collect();
        let sql = format!("INSERT INTO {into} VALUES ({}) {conflict}", places.join(","));
        let mut insert = self.prepare_cached(&sql)?;
        rows.iter().try_for_each(|row| insert.execute(params_from_iter(row)).map(drop))
    }

    /// Copies rows into a table of PostgreSQL, whose keys are not there. Types are those of the first row.
    pub fn copy_rows(&self, into: &str, rows: &[Values<'_>]) -> Result<(), Error> {
        let Engine::Postgres(session) = self.engine() else { return self.insert_rows(into, "", rows) };
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<Vec<Param>> =
            rows.iter().map(|row| row.iter().map(|value| Param::of(value)).collect()).collect::<Result<_, _>>()?;
        session.copy(&format!("COPY {into} FROM STDIN BINARY"), &rows)
    }

    /// The rows of `sql`, a query that chooses by `… IN (?1)`, for each of `values`: in PostgreSQL for all of them at once, in any order.
    pub fn query_among<T>(
        &self,
        sql: &str,
        values: &[ToSqlOutput<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        if let Engine::Postgres(session) = self.engine() {
            let sql = sql.replace("IN (?1)", "= ANY(?1)");
            for values in values.chunks(ROWS_MAX) {
                let mut column = Column::default();
                values.iter().try_for_each(|value| column.push(Param::of(value)?))?;
                for row in session.query(&sql, &[column.into()])? {
                    found.push(read(&Row::of_postgres(&row))?);
                }
            }
            return Ok(found);
        }
        let mut select = self.prepare_cached(sql)?;
        for value in values {
            let mut rows = select.query([value])?;
            while let Some(row) = rows.next()? {
                found.push(read(&row)?);
            }
        }
        Ok(found)
    }

    /// The rows of `sql`, a query of PostgreSQL `FROM given(a, b)`, where `given` has these rows.
    pub fn query_given<T>(
        &self,
        sql: &str,
        rows: &[Values<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let (Engine::Postgres(session), Some(first)) = (self.engine(), rows.first()) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for rows in rows.chunks(ROWS_MAX) {
            let columns = columns(vec![Column::default(); first.len()], rows)?;
            let sql = sql.replace("FROM given(", &format!("FROM unnest({}) AS given(", unnested(&columns)));
            for row in session.query(&sql, &columns)? {
                found.push(read(&Row::of_postgres(&row))?);
            }
        }
        Ok(found)
    }
}

fn has_nul(value: &ToSqlOutput<'_>) -> bool {
    matches!(value, ToSqlOutput::Borrowed(ValueRef::Text(text)) if text.contains(&0))
}

/// Inserts by one statement what the columns hold.
fn insert_columns(session: &Session, into: &str, conflict: &str, columns: &[Param]) -> Result<(), Error> {
    let sql = format!("INSERT INTO {into} SELECT * FROM unnest({}) {conflict}", unnested(columns));
    session.execute(&sql, columns).map(drop)
}

/// Adds the values of rows to each column.
fn columns(mut columns: Vec<Column>, rows: &[Values<'_>]) -> Result<Vec<Param>, Error> {
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(Param::of(value as &dyn ToSql)?)?;
        }
    }
    Ok(columns.into_iter().map(Param::from).collect())
}

fn unnested(columns: &[Param]) -> String {
    let all = columns.iter().zip(1..).map(|(column, number)| format!("?{number}::{}", column.sql_type()));
    all.collect::<Vec<_>>().join(",")
}
