//! Parameters as PostgreSQL takes them.
use std::error::Error as StdError;

use bytes::BytesMut;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use tokio_postgres::types::{IsNull, ToSql as PostgresToSql, Type, to_sql_checked};

use crate::Error;

/// The character that stands for U+0000 in stored texts.
const NUL_SHOWN: &str = "\u{2400}";

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
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
            ValueRef::Text(text) => Ok(Param::Text(String::from_utf8_lossy(text).replace('\0', NUL_SHOWN))),
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
        }
    }

    /// A letter for each type.
    pub(super) fn letter(&self) -> char {
        match self {
            Param::Null => 'n',
            Param::Integer(_) => 'i',
            Param::Text(_) => 't',
            Param::Blob(_) => 'b',
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
        }
        Ok(IsNull::No)
    }

    /// Statements are prepared for the types of their parameters.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
