//! Parameters as PostgreSQL takes them.
use std::error::Error as StdError;

use bytes::BytesMut;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use tokio_postgres::types::{IsNull, ToSql as PostgresToSql, Type, to_sql_checked};

use crate::Error;
use crate::kind::Kind;

/// The character that stands for U+0000 in stored texts.
const NUL_SHOWN: &str = "\u{2400}";

/// A text as it is stored.
pub(crate) fn shown(text: &str) -> String {
    text.replace('\0', NUL_SHOWN)
}

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
    /// The values of a column.
    Column(Column),
}

/// The values of a column, which are of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Blobs(Vec<Option<Vec<u8>>>),
    /// So many values, all NULL so far.
    Nulls(usize),
}

impl Default for Column {
    fn default() -> Self {
        Column::Nulls(0)
    }
}

/// A column without any value is NULL.
impl From<Column> for Param {
    fn from(column: Column) -> Self {
        match column {
            Column::Nulls(_) => Param::Null,
            column => Param::Column(column),
        }
    }
}

impl Column {
    /// No value yet, of a kind.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Column::Integers(Vec::new()),
            Kind::Text => Column::Texts(Vec::new()),
            Kind::Blob => Column::Blobs(Vec::new()),
        }
    }

    /// Adds a value, which is of the type of those before.
    pub(crate) fn push(&mut self, value: Param) -> Result<(), Error> {
        if let Column::Nulls(count) = *self {
            *self = match &value {
                Param::Null => Column::Nulls(count + 1),
                Param::Integer(_) => Column::Integers(vec![None; count]),
                Param::Text(_) => Column::Texts(vec![None; count]),
                Param::Blob(_) => Column::Blobs(vec![None; count]),
                Param::Column(_) => return Err(Error::Unstorable),
            };
        }
        match (self, value) {
            (Column::Nulls(_), _) => {}
            (Column::Integers(values), Param::Integer(number)) => values.push(Some(number)),
            (Column::Texts(values), Param::Text(text)) => values.push(Some(text)),
            (Column::Blobs(values), Param::Blob(bytes)) => values.push(Some(bytes)),
            (Column::Integers(values), Param::Null) => values.push(None),
            (Column::Texts(values), Param::Null) => values.push(None),
            (Column::Blobs(values), Param::Null) => values.push(None),
            _ => return Err(Error::Unstorable),
        }
        Ok(())
    }

    fn declared(&self) -> Type {
        match self {
            Column::Integers(_) => Type::INT8_ARRAY,
            Column::Texts(_) | Column::Nulls(_) => Type::TEXT_ARRAY,
            Column::Blobs(_) => Type::BYTEA_ARRAY,
        }
    }

    fn write(&self, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Column::Integers(values) => values.to_sql(&Type::INT8_ARRAY, out),
            Column::Texts(values) => values.to_sql(&Type::TEXT_ARRAY, out),
            Column::Blobs(values) => values.to_sql(&Type::BYTEA_ARRAY, out),
            Column::Nulls(count) => vec![None::<String>; *count].to_sql(&Type::TEXT_ARRAY, out),
        }
    }
}

impl Param {
    pub(crate) fn of(value: &dyn ToSql) -> Result<Self, Error> {
        let output = value.to_sql()?;
        let borrowed = match &output {
            ToSqlOutput::Borrowed(value) => *value,
            ToSqlOutput::Owned(value) => ValueRef::from(value),
            _ => return Err(Error::Unstorable),
        };
        match borrowed {
            ValueRef::Null => Ok(Param::Null),
            ValueRef::Integer(number) => Ok(Param::Integer(number)),
            ValueRef::Text(text) => Ok(Param::Text(shown(&String::from_utf8_lossy(text)))),
            ValueRef::Blob(bytes) => Ok(Param::Blob(bytes.to_vec())),
            ValueRef::Real(_) => Err(Error::Unstorable),
        }
    }

    /// The type that a statement is prepared for. A NULL stands in the statement itself, and its parameter is not used.
    pub(super) fn declared(&self) -> Type {
        match self {
            Param::Integer(_) => Type::INT8,
            Param::Text(_) | Param::Null => Type::TEXT,
            Param::Blob(_) => Type::BYTEA,
            Param::Column(column) => column.declared(),
        }
    }

    /// The type as SQL names it.
    pub(crate) fn sql_type(&self) -> &'static str {
        match self {
            Param::Integer(_) => "bigint",
            Param::Text(_) | Param::Null => "text",
            Param::Blob(_) => "bytea",
            Param::Column(Column::Integers(_)) => "bigint[]",
            Param::Column(Column::Texts(_) | Column::Nulls(_)) => "text[]",
            Param::Column(Column::Blobs(_)) => "bytea[]",
        }
    }

    /// A letter for each type.
    pub(super) fn letter(&self) -> char {
        match self {
            Param::Null => 'n',
            Param::Integer(_) => 'i',
            Param::Text(_) => 't',
            Param::Blob(_) => 'b',
            Param::Column(Column::Integers(_)) => 'I',
            Param::Column(Column::Texts(_) | Column::Nulls(_)) => 'T',
            Param::Column(Column::Blobs(_)) => 'B',
        }
    }
}

impl PostgresToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Param::Null => return Ok(IsNull::Yes),
            Param::Integer(number) => out.extend_from_slice(&number.to_be_bytes()),
            Param::Text(text) => out.extend_from_slice(text.as_bytes()),
            Param::Blob(bytes) => out.extend_from_slice(bytes),
            Param::Column(column) => return column.write(out),
        }
        Ok(IsNull::No)
    }

    /// Statements are prepared for the types of their parameters.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
