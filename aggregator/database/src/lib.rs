//! The database that holds the ledger, and what is kept beside it: one surface, shaped like the part of `rusqlite` that they use.
//!
//! SQL is written once, in what SQLite and PostgreSQL both understand: parameters are `?1`, `?2`, …; integers are 64 bits wide and
//! signed; a truth is an integer, 0 or 1; an upsert names the columns of its conflict.
//!
//! # Constraints
//!
//! - A [`Connection`] belongs to one thread at a time.
//! - A [`Transaction`] that is dropped before [`Transaction::commit`] is rolled back.
//! - A failed statement ends a transaction: what it changed so far is rolled back. (SQLite would go on.)
//! - Values are those of [`types`]: integers, texts, bytes and NULL. Floating-point numbers are not used.
//!
//! # Engines
//!
//! - SQLite is the default and the reference: what it answers is right.
//! - PostgreSQL: see [`postgres`].
#![forbid(unsafe_code)]

mod beside;
mod bulk;
mod connection;
mod error;
mod kind;
mod params;
mod place;
mod postgres;
mod right;
#[cfg(feature = "simulated")]
pub mod simulated;
mod statement;
pub mod tables;
#[cfg(feature = "testing")]
pub mod testing;

pub use beside::Attached;
pub use bulk::Values;
pub use connection::{Connection, Fence, Transaction};
pub use error::{Error, Failure, Holder, OptionalExtension, Refused};
pub use params::{Params, ParamsFromIter, params_from_iter};
pub use place::Place;
pub use postgres::{PostgresPlace, Reach, Server, quoted};
pub use statement::{MappedRows, Row, Rows, Statement};

/// Values as they go to the database and come from it.
pub mod types {
    pub use rusqlite::types::{FromSql, FromSqlError, ToSql, ToSqlOutput, Value, ValueRef};
    /// What converting a value to one of the database gives.
    pub type ToSqlResult<'v> = rusqlite::Result<ToSqlOutput<'v>>;
}

/// The parameters of a statement, in order: `params![window, tenant]`.
#[macro_export]
macro_rules! params {
    () => { &[] as &[&dyn $crate::types::ToSql] };
    ($($param:expr),+ $(,)?) => { &[$(&$param as &dyn $crate::types::ToSql),+] as &[&dyn $crate::types::ToSql] };
}
