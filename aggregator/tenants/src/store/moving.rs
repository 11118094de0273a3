//! Moves the database of tenants from one place to another: copied and compared in one transaction.
use weir_database::tables::{Table, rows};
use weir_database::{Connection, Fence, Place};

use super::{StoreError, TenantStore};

/// What became of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The source keeps nothing.
    Nothing,
    /// The target has all rows of the source now: so many.
    Copied(u64),
    /// The target had them already.
    Same,
}

/// Why tenants are not moved. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// One of the databases failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target keeps something else.
    #[error(
        "{to} keeps other tenants, keys or tokens already than {from} (table {table} differs): put one of both away; nothing was changed"
    )]
    Differs {
        /// The source.
        from: String,
        /// The target.
        to: String,
        /// The first table that differs.
        table: String,
    },
    /// The copy is not the same.
    #[error("table {0} differs after the copy: was somebody writing? Nothing was changed")]
    Unequal(String),
}

/// What a comparison found.
enum Compared {
    /// All rows are the same: so many.
    Same(u64),
    /// This table differs.
    Differs(String),
}

impl TenantStore {
    /// Copies everything at `from` to `to`, where nothing is kept yet, and compares all rows. Nobody else may write to either of them.
    pub fn transfer(from: (&Place, &Fence), to: (&Place, &Fence)) -> Result<Moved, MoveError> {
        let (source, target) = (Self::open_to_write(from.0, from.1)?, Self::open_to_write(to.0, to.1)?);
        let failed = |source| {
            let place = format!("{}, to {}", from.0.label(), to.0.label());
            MoveError::Store(StoreError::Database { place, source })
        };
        let tables = source.tables().map_err(failed)?;
        if keeps_nothing(&source, &tables).map_err(failed)? {
            return Ok(Moved::Nothing);
        }
        let tx = target.unchecked_transaction().map_err(failed)?;
        let is_new = keeps_nothing(&tx, &tables).map_err(failed)?;
        if is_new {
            tx.defer_references().map_err(failed)?;
            tables.iter().try_for_each(|table| fill(&source, &tx, table)).map_err(failed)?;
        }
        match (compared(&source, &tx, &tables).map_err(failed)?, is_new) {
            (Compared::Same(rows), true) => {
                tx.commit().map_err(failed)?;
                Ok(Moved::Copied(rows))
            }
            (Compared::Same(_), false) => Ok(Moved::Same),
            (Compared::Differs(table), true) => Err(MoveError::Unequal(table)),
            (Compared::Differs(table), false) => {
                Err(MoveError::Differs { from: from.0.label(), to: to.0.label(), table })
            }
        }
    }
}

fn keeps_nothing(db: &Connection, tables: &[Table]) -> Result<bool, weir_database::Error> {
    for table in tables {
        if !rows::is_empty(db, table)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fill(source: &Connection, target: &Connection, table: &Table) -> Result<(), weir_database::Error> {
    rows::copy(source, target, table)?;
    target.number_on(table)
}

fn compared(source: &Connection, target: &Connection, tables: &[Table]) -> Result<Compared, weir_database::Error> {
    let mut all = 0;
    for table in tables {
        let (expected, found) = rows::digests(source, target, table, &mut |_| {})?;
        if expected != found {
            return Ok(Compared::Differs(table.name.clone()));
        }
        all += expected.rows;
    }
    Ok(Compared::Same(all))
}

#[cfg(test)]
mod tests;
