//! A ledger is copied into another database and back: nothing is lost, and nothing that is unfinished is taken for a ledger.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use weir_database::tables::{Column, Kind, Table, as_stored, quoted};
use weir_database::testing::{on_postgres, place};
use weir_database::types::Value;
use weir_database::{Connection, Place};
use weir_ledger::meters::{self, Meters};
use weir_ledger::transfer::{TransferError, Transferred, transfer};
use weir_ledger::{LedgerError, SqliteLedger};

/// More than two of the portions in which rows are copied.
const FILLED: i64 = 2 * PORTION as i64 + 345;
/// Rows of a portion.
const PORTION: u64 = 1_000;

fn meters() -> Meters {
    Meters::new(meters::defaults(), Vec::new()).expect("good meters")
}

/// A ledger in a file with rows in every table: texts with quotes, NUL and letters of other alphabets, the ends of the numbers.
fn filled(path: &Path) -> Place {
    let ledger = SqliteLedger::open(path, "log-1", meters()).expect("a ledger");
    drop(ledger);
    let db = Connection::open(path).expect("opened");
    let ids = "CREATE TABLE seen_20000(id BLOB PRIMARY KEY, hash INTEGER NOT NULL, position INTEGER NOT NULL, item INTEGER NOT NULL)
               WITHOUT ROWID";
    db.execute_batch(ids).expect("a day");
    db.execute("UPDATE ledger SET position = 77", []).expect("moved");
    for table in db.tables().expect("tables") {
        if table.key().is_empty() && table.name != "reconciliation" || ["total", "meter"].contains(&&*table.name) {
            continue;
        }
        let from = db.query_row(&format!("SELECT count(*) FROM {}", quoted(&table.name)), [], |row| row.get(0));
        let from: i64 = from.expect("counted");
        let rows = (from..FILLED).map(|n| table.columns.iter().map(|column| value(&table, column, n)).collect());
        let tx = db.unchecked_transaction().expect("begun");
        tx.add_rows(&table, rows.collect()).unwrap_or_else(|error| panic!("{}: {error}", table.name));
        tx.commit().expect("committed");
    }
    Place::Sqlite(path.to_owned())
}

fn value(table: &Table, column: &Column, n: i64) -> Value {
    let words: &[&str] = match (table.name.as_str(), column.name.as_str()) {
        ("outbox", "state") => &["pending", "reported", "held", "settled"],
        ("outbox", "kind") => &["usage", "adjustment"],
        ("anchor", "source") => &["tenants", "provider"],
        ("anchor", "interval") => &["day", "week", "month", "year"],
        ("settlement", "outcome") => &["invoiced", "void"],
        _ => &[],
    };
    if let Some(word) = words.get(n as usize % words.len().max(1)) {
        return Value::Text((*word).to_owned());
    }
    match column.kind {
        Kind::Integer if n == 0 && column.key == 0 => Value::Integer(0),
        Kind::Integer => Value::Integer(n * 3 + 1),
        Kind::Text if n % 5 == 3 && column.key == 0 => Value::Text(format!("a\0b{n}")),
        Kind::Text => Value::Text(format!("{}'\"é日{n}", ["Z", "a", "Ä", "\\"][n as usize % 4])),
        Kind::Blob => Value::Blob(n.to_be_bytes().iter().chain(&[0; 8]).copied().collect()),
    }
}

/// All rows of a table, in an order that does not depend on the database.
fn rows_of(db: &Connection, table: &Table) -> Vec<String> {
    let sql = format!("SELECT {} FROM {}", table.column_list(), quoted(&table.name));
    let read = |row: &weir_database::Row<'_>| {
        let values = (0..table.columns.len()).map(|at| row.get_ref(at).map(|value| as_stored(value.into())));
        values.collect::<Result<Vec<Value>, _>>()
    };
    let mut select = db.prepare(&sql).expect("prepared");
    let rows = select.query_map([], read).expect("asked");
    let mut rows: Vec<String> = rows.map(|row| format!("{:?}", row.expect("read"))).collect();
    rows.sort();
    rows
}

fn copied(from: &Place, to: &Place) -> Result<Transferred, TransferError> {
    transfer(from, to, &mut |_| ())
}

#[test]
fn a_ledger_and_its_copy_there_and_back_hold_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = filled(&dir.path().join("ledger.sqlite"));
    let other = place(&dir.path().join("other.sqlite"));
    let mut last = None;
    let there = transfer(&source, &other, &mut |told| last = Some((told.comparing, told.number, told.tables)));
    let there = there.expect("copied");
    assert_eq!(there.position, 77);
    assert_eq!(last, Some((true, there.tables.len(), there.tables.len())));
    let rows = |name: &str| there.tables.iter().find(|table| table.table == name).map(|table| table.rows);
    assert_eq!(
        (rows("usage"), rows("seen_20000"), rows("ledger")),
        (Some(FILLED as u64), Some(FILLED as u64), Some(1))
    );
    assert!(rows("total").is_some_and(|rows| rows > 7), "{:?}", rows("total"));

    let back = Place::Sqlite(dir.path().join("back.sqlite"));
    assert_eq!(copied(&other, &back).expect("copied back"), there);
    let (source, back) = (Connection::open(&source).expect("opened"), Connection::open(&back).expect("opened"));
    for table in source.tables().expect("tables") {
        assert!(rows_of(&source, &table) == rows_of(&back, &table), "{}", table.name);
    }
    // A copy is a ledger like any other, and its numbers go on.
    drop(SqliteLedger::open(&other, "log-1", meters()).expect("opened"));
    let db = Connection::open(&other).expect("opened");
    let sql = "INSERT INTO audit(at, who, act, detail) VALUES (1, 'a', 'b', 'c') RETURNING id";
    let highest: i64 = db.query_row("SELECT max(id) FROM audit", [], |row| row.get(0)).expect("read");
    assert_eq!(db.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("added"), highest + 1);
}

#[test]
fn an_interrupted_copy_is_no_ledger_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = filled(&dir.path().join("ledger.sqlite"));
    let target = place(&dir.path().join("other.sqlite"));
    for stop_at in ["attempt", "outbox", "usage_to_day"] {
        let stopped = catch_unwind(AssertUnwindSafe(|| {
            transfer(&source, &target, &mut |told| {
                assert!(told.table != stop_at || told.rows < PORTION * 2 || told.comparing, "interrupted");
            })
        }));
        assert!(stopped.is_err(), "{stop_at}");
        let refused = SqliteLedger::open(&target, "log-1", meters()).map(drop);
        assert!(matches!(refused, Err(LedgerError::Unfinished(_))), "{refused:?}");
    }
    let mut again = Vec::new();
    let done = transfer(&source, &target, &mut |told| {
        if !told.comparing {
            again.push((told.table.to_owned(), told.rows));
        }
    });
    done.expect("copied");
    assert!(!again.iter().any(|(table, _)| table == "attempt" || table == "audit"), "copied twice: {again:?}");
    assert!(again.contains(&("usage_to_day".to_owned(), FILLED as u64 - 2 * PORTION)), "{again:?}");
}

#[test]
fn a_copy_of_a_source_that_went_on_begins_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = filled(&dir.path().join("ledger.sqlite"));
    let target = place(&dir.path().join("other.sqlite"));
    let stopped = catch_unwind(AssertUnwindSafe(|| transfer(&source, &target, &mut |told| assert!(told.number < 30))));
    assert!(stopped.is_err());
    let db = Connection::open(&source).expect("opened");
    db.execute("UPDATE ledger SET position = 78", []).expect("moved");
    db.execute("DELETE FROM usage WHERE window_start < 100", []).expect("removed");
    assert_eq!(copied(&source, &target).expect("copied").position, 78);
}

#[test]
fn a_copy_that_was_tampered_with_is_found_and_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = filled(&dir.path().join("ledger.sqlite"));
    let target = place(&dir.path().join("other.sqlite"));
    let stopped = catch_unwind(AssertUnwindSafe(|| transfer(&source, &target, &mut |told| assert!(!told.comparing))));
    assert!(stopped.is_err());
    let db = Connection::open(&target).expect("opened");
    let sql = "UPDATE usage SET billable = billable + 1 WHERE window_start = (SELECT max(window_start) FROM usage)";
    assert_eq!(db.execute(sql, []).expect("changed"), 1);
    drop(db);
    let mut begun = false;
    transfer(&source, &target, &mut |told| begun |= !told.comparing && told.table == "audit").expect("copied");
    assert!(begun, "nothing was copied anew");
    let usage = "SELECT sum(billable) FROM usage";
    let sum = |place: &Place| -> i64 {
        Connection::open(place).and_then(|db| db.query_row(usage, [], |row| row.get(0))).expect("read")
    };
    assert_eq!(sum(&source), sum(&target));
}

#[test]
fn a_source_that_changes_under_a_copy_is_found_and_the_copy_is_no_ledger() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = filled(&dir.path().join("ledger.sqlite"));
    let target = place(&dir.path().join("other.sqlite"));
    let writer = Connection::open(&source).expect("opened");
    let sql = "UPDATE cost SET requests = requests + 1 WHERE window_start = (SELECT min(window_start) FROM cost)";
    let found = transfer(&source, &target, &mut |told| {
        if told.table == "outbox" && !told.comparing && told.rows == PORTION {
            assert_eq!(writer.execute(sql, []).expect("changed"), 1);
        }
    });
    let Err(TransferError::Differs { table, source_rows, target_rows }) = found else { panic!("{found:?}") };
    assert_eq!((table.as_str(), source_rows, target_rows), ("cost", FILLED as u64, FILLED as u64));
    let refused = SqliteLedger::open(&target, "log-1", meters()).map(drop);
    assert!(matches!(refused, Err(LedgerError::Unfinished(_))), "{refused:?}");
}

#[test]
fn only_a_ledger_of_this_version_is_copied_and_only_where_none_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = filled(&dir.path().join("ledger.sqlite"));
    let target = place(&dir.path().join("other.sqlite"));
    drop(SqliteLedger::open(&target, "log-2", meters()).expect("another ledger"));
    let refused = copied(&source, &target);
    assert!(matches!(refused, Err(TransferError::TargetExists(_))), "{refused:?}");
    let log: String = Connection::open(&target)
        .and_then(|db| db.query_row("SELECT log_id FROM ledger", [], |row| row.get(0)))
        .expect("as it was");
    assert_eq!(log, "log-2");

    let nothing = copied(&Place::Sqlite(dir.path().join("nothing.sqlite")), &target);
    assert!(matches!(nothing, Err(TransferError::NoSource(_))), "{nothing:?}");
    let db = Connection::open(&source).expect("opened");
    let version = db.schema_version().expect("read");
    db.set_schema_version(version - 1).expect("aged");
    let old = copied(&source, &place(&dir.path().join("third.sqlite")));
    assert!(matches!(old, Err(TransferError::SourceVersion { .. })), "{old:?}");
    // The two databases are of different kinds where the tests run over PostgreSQL.
    assert_eq!(on_postgres(), matches!(target, Place::Postgres(_)));
}
