//! Copies a ledger from one database into another, and proves that both hold the same.
//!
//! # Constraints
//!
//! - Nobody may write to either of them meanwhile; that is the caller's to see to. The target is fenced as any other writer's.
//! - Until the last step the target is no ledger: its version is negative, and [`SqliteLedger::open`](crate::SqliteLedger::open) refuses it.
//! - Rows are copied in the order of their keys, so what is there already is the beginning of the table: a copy that was interrupted
//!   goes on behind its last row. If the source has counted something since, all is copied anew.
//! - In the end all rows are read from both, and a digest of those of each table is compared. A difference fails the copy.
use weir_database::tables::{Table, quoted, rows};
use weir_database::{Connection, OptionalExtension, Place};

use crate::{LedgerError, dedupe, schema};

/// The table that says, in an unfinished copy, of what it is one.
const NOTE: &str = "transfer";
/// Tables that triggers write to while others are filled, or that switch such triggers on: written last, whole.
const LAST: [&str; 3] = ["total", "rolled", "ledger"];

/// What a copy is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress<'t> {
    /// Whether the rows are already there, and are being compared.
    pub comparing: bool,
    /// The table.
    pub table: &'t str,
    /// Its number among all, from 1.
    pub number: usize,
    /// How many tables there are.
    pub tables: usize,
    /// Rows of the table that are done.
    pub rows: u64,
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Transferred {
    /// The position in the event log up to which the ledger has counted.
    pub position: u64,
    /// How many rows each table has. They are the same in both databases.
    pub tables: Vec<TableRows>,
}

/// The rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// How many there are.
    pub rows: u64,
}

/// Why a ledger is not copied.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// One of the databases failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The source is no ledger.
    #[error("{0}: there is no ledger")]
    NoSource(String),
    /// The source is of another version.
    #[error(
        "{place}: the ledger is of format {found}, this version of weir copies {known}: let `weir serve` of this version open it once"
    )]
    SourceVersion {
        /// Where it is.
        place: String,
        /// Its format.
        found: i64,
        /// The format that is copied.
        known: i64,
    },
    /// The target is a ledger, or a copy of another one.
    #[error("{0}: there is a ledger already, and nothing was changed: move it away, and run this again")]
    TargetExists(String),
    /// Source and target do not have the same tables.
    #[error("table {0} is not the same in both databases")]
    Tables(String),
    /// A table differs after the copy.
    #[error(
        "table {table} differs after the copy ({source_rows} rows, {target_rows} in the copy): was somebody writing? The copy is not finished"
    )]
    Differs {
        /// The table.
        table: String,
        /// How many rows the source has.
        source_rows: u64,
        /// How many the target has.
        target_rows: u64,
    },
}

impl From<weir_database::Error> for TransferError {
    fn from(error: weir_database::Error) -> Self {
        TransferError::Ledger(error.into())
    }
}

/// Copies the ledger at `from` to `to`, where there is none yet or an unfinished copy of it, and compares both.
pub fn transfer(from: &Place, to: &Place, report: &mut dyn FnMut(Progress<'_>)) -> Result<Transferred, TransferError> {
    let source = open_source(from)?;
    let facts = Facts::read(&source)?;
    let (target, begun) = open_target(to, &facts)?;
    match fill(&source, &target, &facts, report) {
        // Something changed in the source that moved no position.
        Err(TransferError::Differs { .. }) if begun == Begun::Earlier => {
            target.remove_tables()?;
            begin(&target, to, &facts)?;
            fill(&source, &target, &facts, report)
        }
        outcome => outcome,
    }
}

/// Whether an earlier copy is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Now,
    Earlier,
}

/// Copies what the target lacks, and makes it a ledger if it then holds the same.
fn fill(
    source: &Connection,
    target: &Connection,
    facts: &Facts,
    report: &mut dyn FnMut(Progress<'_>),
) -> Result<Transferred, TransferError> {
    let tables = tables_of(source, target)?;
    for (at, table) in tables.iter().enumerate() {
        let told = |rows| Progress { comparing: false, table: &table.name, number: at + 1, tables: tables.len(), rows };
        if !is_last(table) {
            copy_table(source, target, table, &mut |rows| report(told(rows)))?;
        }
    }
    let tx = target.unchecked_transaction()?;
    for table in tables.iter().filter(|table| is_last(table)) {
        tx.execute(&format!("DELETE FROM {}", quoted(&table.name)), [])?;
        tx.add_rows(table, rows::all(source, table)?)?;
    }
    tables.iter().try_for_each(|table| tx.number_on(table))?;
    let mut compared = Vec::with_capacity(tables.len());
    for (at, table) in tables.iter().enumerate() {
        let mut told =
            |rows| report(Progress { comparing: true, table: &table.name, number: at + 1, tables: tables.len(), rows });
        let (expected, found) = rows::digests(source, &tx, table, &mut told)?;
        if found != expected {
            let (source_rows, target_rows) = (expected.rows, found.rows);
            return Err(TransferError::Differs { table: table.name.clone(), source_rows, target_rows });
        }
        compared.push(TableRows { table: table.name.clone(), rows: expected.rows });
    }
    tx.execute_batch(&format!("DROP TABLE {NOTE}"))?;
    tx.set_schema_version(schema::VERSION)?;
    tx.commit()?;
    Ok(Transferred { position: facts.position, tables: compared })
}

/// What names a state of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    id: String,
    log_id: String,
    position: u64,
}

impl Facts {
    fn read(db: &Connection) -> Result<Self, weir_database::Error> {
        db.query_row("SELECT id, log_id, position FROM ledger", [], Self::of)
    }

    fn of(row: &weir_database::Row<'_>) -> Result<Self, weir_database::Error> {
        Ok(Facts { id: row.get(0)?, log_id: row.get(1)?, position: row.get(2)? })
    }
}

fn open_source(place: &Place) -> Result<Connection, TransferError> {
    let db = match place {
        Place::Sqlite(path) if !path.exists() => return Err(TransferError::NoSource(place.label())),
        Place::Sqlite(_) => Connection::open_read_only(place)?,
        Place::Postgres(_) => Connection::open(place)?,
    };
    // A server that uses it would write into what is copied. (A file is locked by its folder.)
    db.take_right()?;
    match db.schema_version()? {
        found if found <= 0 => Err(TransferError::NoSource(place.label())),
        found if found != schema::VERSION => {
            Err(TransferError::SourceVersion { place: place.label(), found, known: schema::VERSION })
        }
        _ => Ok(db),
    }
}

/// Opens the target: empty tables of a new one, or what an earlier copy of the same state of the source left.
fn open_target(place: &Place, of: &Facts) -> Result<(Connection, Begun), TransferError> {
    let db = Connection::open(place)?;
    let found = db.schema_version()?;
    if found > 0 || (found != 0 && found != -schema::VERSION) {
        return Err(TransferError::TargetExists(place.label()));
    }
    if found == 0 {
        begin(&db, place, of)?;
        return Ok((db, Begun::Now));
    }
    let noted = format!("SELECT id, log_id, position FROM {NOTE}");
    let noted = db.query_row(&noted, [], Facts::of).optional()?;
    let Some(noted) = noted.filter(|noted| noted.id == of.id) else {
        return Err(TransferError::TargetExists(place.label()));
    };
    db.take_over()?;
    if noted == *of {
        return Ok((db, Begun::Earlier));
    }
    db.remove_tables()?;
    begin(&db, place, of)?;
    Ok((db, Begun::Now))
}

/// Makes the tables of a new target, and notes of what it will be a copy.
fn begin(db: &Connection, place: &Place, of: &Facts) -> Result<(), TransferError> {
    schema::open(db, place, &of.log_id)?;
    db.take_over()?;
    let tx = db.unchecked_transaction()?;
    for table in tx.tables()? {
        // No table that only grows has rows yet.
        tx.execute(&format!("DELETE FROM {}", quoted(&table.name)), [])?;
    }
    tx.execute_batch(&format!(
        "CREATE TABLE {NOTE}(id TEXT NOT NULL, log_id TEXT NOT NULL, position INTEGER NOT NULL)"
    ))?;
    let sql = format!("INSERT INTO {NOTE}(id, log_id, position) VALUES (?1, ?2, ?3)");
    tx.execute(&sql, (&of.id, &of.log_id, of.position))?;
    tx.set_schema_version(-schema::VERSION)?;
    tx.commit()?;
    Ok(())
}

/// The tables of the source, each as it is in the target, too; with what the source has made since it was new.
fn tables_of(source: &Connection, target: &Connection) -> Result<Vec<Table>, TransferError> {
    let theirs = source.tables()?;
    for table in &theirs {
        if let Some(day) = table.name.strip_prefix("seen_").and_then(|day| day.parse().ok()) {
            dedupe::create_day(target, day)?;
        }
    }
    let ours: Vec<Table> = target.tables()?.into_iter().filter(|table| table.name != NOTE).collect();
    for (left, right) in [(&theirs, &ours), (&ours, &theirs)] {
        if let Some(table) = left.iter().find(|table| !right.iter().any(|other| same(table, other))) {
            return Err(TransferError::Tables(table.name.clone()));
        }
    }
    Ok(theirs)
}

/// Whether two tables have the same columns. Their order may differ where columns were added later.
fn same(a: &Table, b: &Table) -> bool {
    a.name == b.name && a.columns.len() == b.columns.len() && a.columns.iter().all(|column| b.columns.contains(column))
}

fn is_last(table: &Table) -> bool {
    LAST.contains(&table.name.as_str()) || table.key().is_empty()
}

/// Copies what the target does not have yet of a table with a key.
fn copy_table(
    source: &Connection,
    target: &Connection,
    table: &Table,
    report: &mut dyn FnMut(u64),
) -> Result<(), TransferError> {
    let mut key = rows::last_key(target, table)?;
    let mut copied = 0;
    loop {
        let next = rows::after(source, table, key.as_deref())?;
        let Some(last) = next.last() else { return Ok(()) };
        key = Some(rows::key_of(table, last));
        copied += next.len() as u64;
        let tx = target.unchecked_transaction()?;
        tx.add_rows(table, next)?;
        tx.commit()?;
        report(copied);
    }
}
