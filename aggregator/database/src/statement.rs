use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::types::{FromSql, ValueRef};

use crate::postgres::{Param, Session, cell};
use crate::{Error, Params};

/// A prepared statement.
pub struct Statement<'c>(Engine<'c>);

enum Engine<'c> {
    Sqlite(rusqlite::Statement<'c>),
    SqliteCached(rusqlite::CachedStatement<'c>),
    /// The session keeps what is prepared.
    Postgres(&'c Session, String),
}

impl std::fmt::Debug for Statement<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Statement")
    }
}

impl<'c> Statement<'c> {
    pub(crate) fn sqlite(statement: rusqlite::Statement<'c>) -> Self {
        Statement(Engine::Sqlite(statement))
    }

    pub(crate) fn sqlite_cached(statement: rusqlite::CachedStatement<'c>) -> Self {
        Statement(Engine::SqliteCached(statement))
    }

    pub(crate) fn postgres(session: &'c Session, sql: &str) -> Self {
        Statement(Engine::Postgres(session, sql.to_owned()))
    }

    /// Runs the statement, and returns how many rows it changed.
    pub fn execute<P: Params>(&mut self, params: P) -> Result<usize, Error> {
        match &mut self.0 {
            Engine::Sqlite(statement) => Ok(bound(statement, params)?.raw_execute()?),
            Engine::SqliteCached(statement) => Ok(bound(statement, params)?.raw_execute()?),
            Engine::Postgres(session, sql) => session.execute(sql, &taken(params)?),
        }
    }

    /// Runs the query.
    pub fn query<P: Params>(&mut self, params: P) -> Result<Rows<'_>, Error> {
        let rows = match &mut self.0 {
            Engine::Sqlite(statement) => Read::Sqlite(bound(statement, params)?.raw_query()),
            Engine::SqliteCached(statement) => Read::Sqlite(bound(statement, params)?.raw_query()),
            Engine::Postgres(session, sql) => Read::Postgres { rows: session.query(sql, &taken(params)?)?, next: 0 },
        };
        Ok(Rows(rows))
    }

    /// Runs the query, and hands each row to `read`.
    pub fn query_map<T, P, F>(&mut self, params: P, read: F) -> Result<MappedRows<'_, F>, Error>
    where
        P: Params,
        F: FnMut(&Row<'_>) -> Result<T, Error>,
    {
        Ok(MappedRows { rows: self.query(params)?, read })
    }

    /// Runs the query, and hands its first row to `read`. [`Error::NoRows`] without one.
    pub fn query_row<T, P, F>(&mut self, params: P, read: F) -> Result<T, Error>
    where
        P: Params,
        F: FnOnce(&Row<'_>) -> Result<T, Error>,
    {
        let mut rows = self.query(params)?;
        let row = rows.next()?.ok_or(Error::NoRows)?;
        read(&row)
    }
}

/// Binds all parameters of a statement.
fn bound<'s, 'c, P: Params>(
    statement: &'s mut rusqlite::Statement<'c>,
    params: P,
) -> Result<&'s mut rusqlite::Statement<'c>, Error> {
    let expected = statement.parameter_count();
    let mut given = 0;
    params.each(|value| {
        given += 1;
        // The first that is too many is refused below, with the numbers.
        if given <= expected { Ok(statement.raw_bind_parameter(given, value)?) } else { Ok(()) }
    })?;
    if given == expected { Ok(statement) } else { Err(Error::Parameters { expected, given }) }
}

/// The parameters of a statement of PostgreSQL.
fn taken<P: Params>(params: P) -> Result<Vec<Param>, Error> {
    let mut taken = Vec::new();
    params.each(|value| {
        taken.push(Param::of(value)?);
        Ok(())
    })?;
    Ok(taken)
}

/// The rows of a query, one after the other.
pub struct Rows<'s>(Read<'s>);

enum Read<'s> {
    Sqlite(rusqlite::Rows<'s>),
    /// All rows, and the number of the next one.
    Postgres {
        rows: Vec<tokio_postgres::Row>,
        next: usize,
    },
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

impl Rows<'_> {
    /// Goes to the next row; None after the last.
    #[allow(clippy::should_implement_trait, reason = "a row lends from the rows")]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, Error> {
        match &mut self.0 {
            Read::Sqlite(rows) => Ok(rows.next()?.map(|row| Row(Lent::Sqlite(row)))),
            Read::Postgres { rows, next } => {
                *next += 1;
                Ok(rows.get(*next - 1).map(|row| Row(Lent::Postgres(row))))
            }
        }
    }

    /// The row that the last call of [`Rows::next`] went to.
    pub fn get(&self) -> Option<Row<'_>> {
        match &self.0 {
            Read::Sqlite(rows) => FallibleStreamingIterator::get(rows).map(|row| Row(Lent::Sqlite(row))),
            Read::Postgres { rows, next } => rows.get(next.checked_sub(1)?).map(|row| Row(Lent::Postgres(row))),
        }
    }
}

/// Rows, each read by a function; see [`Statement::query_map`].
#[derive(Debug)]
pub struct MappedRows<'s, F> {
    rows: Rows<'s>,
    read: F,
}

impl<T, F: FnMut(&Row<'_>) -> Result<T, Error>> Iterator for MappedRows<'_, F> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.rows.next() {
            Ok(row) => row.map(|row| (self.read)(&row)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// One row.
pub struct Row<'r>(Lent<'r>);

enum Lent<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Row")
    }
}

/// The index of a column, from 0.
pub trait ColumnIndex {
    /// As a number.
    fn number(self) -> usize;
}

impl ColumnIndex for usize {
    fn number(self) -> usize {
        self
    }
}

impl<'r> Row<'r> {
    pub(crate) fn of_postgres(row: &'r tokio_postgres::Row) -> Self {
        Row(Lent::Postgres(row))
    }

    /// The value of a column, from 0.
    pub fn get<I: ColumnIndex, T: FromSql>(&self, column: I) -> Result<T, Error> {
        let column = column.number();
        match &self.0 {
            Lent::Sqlite(row) => Ok(row.get(column)?),
            Lent::Postgres(row) => {
                T::column_result(cell(row, column)?).map_err(|problem| Error::Column { column, problem })
            }
        }
    }

    /// The value of a column, from 0, as it lies in the row.
    pub fn get_ref(&self, column: usize) -> Result<ValueRef<'r>, Error> {
        match &self.0 {
            Lent::Sqlite(row) => Ok(row.get_ref(column)?),
            Lent::Postgres(row) => cell(row, column),
        }
    }
}
