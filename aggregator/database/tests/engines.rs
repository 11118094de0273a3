//! What every engine does alike. SQLite is the reference; PostgreSQL is asked where `WEIR_TEST_POSTGRES` names a server.
use weir_database::testing::place;
use weir_database::types::Value;
use weir_database::{Connection, Error, Failure, OptionalExtension, Place, params, params_from_iter};

/// A new database, and where it is.
struct Database {
    db: Connection,
    place: Place,
    _folder: tempfile::TempDir,
}

fn database(tables: &str) -> Database {
    let folder = tempfile::tempdir().expect("a folder");
    let place = place(&folder.path().join("engine.sqlite"));
    let db = Connection::open(&place).expect("opened");
    db.execute_batch(tables).expect("tables");
    Database { db, place, _folder: folder }
}

fn numbers(db: &Connection) -> Vec<i64> {
    let mut select = db.prepare("SELECT n FROM t ORDER BY n").expect("prepared");
    select.query_map([], |row| row.get(0)).expect("asked").collect::<Result<_, _>>().expect("read")
}

const NUMBERS: &str = "CREATE TABLE t(n INTEGER NOT NULL UNIQUE)";

#[test]
fn values_come_back_as_they_were_stored() {
    let Database { db, _folder, .. } = database("CREATE TABLE t(n INTEGER, w TEXT, b BLOB)");
    let rows = [
        (Value::Integer(i64::MIN), Value::Text("ü'?1".to_owned()), Value::Blob(vec![0, 255])),
        (Value::Integer(i64::MAX), Value::Text(String::new()), Value::Blob(Vec::new())),
        (Value::Null, Value::Null, Value::Null),
    ];
    for (number, words, bytes) in &rows {
        let row = params![number, words, bytes];
        assert_eq!(db.execute("INSERT INTO t(n, w, b) VALUES (?1, ?2, ?3)", row).expect("stored"), 1);
    }
    let mut select = db.prepare_cached("SELECT n, w, b FROM t").expect("prepared");
    let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("asked");
    assert_eq!(found.collect::<Result<Vec<_>, _>>().expect("read"), rows);
}

#[test]
fn sums_and_truths_are_whole_numbers() {
    let Database { db, _folder, .. } = database(NUMBERS);
    for number in [3_u64, 4, 5] {
        db.execute("INSERT INTO t VALUES (?1)", [number]).expect("stored");
    }
    let sql =
        "SELECT sum(n), count(*), max(n) > ?1, EXISTS (SELECT 1 FROM t WHERE n = ?2), sum(n) / 5 FROM t WHERE n > ?1";
    let read = db.query_row(sql, params![3, 7], |row| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?, row.get::<_, bool>(3)?))
    });
    assert_eq!(read.expect("read"), (9, 2, true, false));
}

#[test]
fn a_parameter_that_is_null_chooses_everything() {
    let Database { db, _folder, .. } = database("CREATE TABLE t(n INTEGER, w TEXT)");
    db.execute_batch("INSERT INTO t VALUES (1, 'a'), (2, 'b')").expect("stored");
    let sql = "SELECT count(*) FROM t WHERE (?1 IS NULL OR w = ?1) AND (?2 IS NULL OR n >= ?2)";
    let count = |words: Option<&str>, number: Option<i64>| -> i64 {
        db.prepare_cached(sql).expect("prepared").query_row(params![words, number], |row| row.get(0)).expect("counted")
    };
    assert_eq!((count(None, None), count(Some("b"), None), count(None, Some(2))), (2, 1, 1));
    assert_eq!(count(Some("a"), Some(2)), 0);
}

#[test]
fn a_transaction_that_is_dropped_changes_nothing() {
    let Database { mut db, _folder, .. } = database(NUMBERS);
    let tx = db.transaction().expect("begun");
    tx.execute("INSERT INTO t VALUES (1)", []).expect("stored");
    drop(tx);
    let tx = db.write_transaction().expect("begun");
    tx.execute("INSERT INTO t VALUES (2)", []).expect("stored");
    tx.commit().expect("committed");
    assert_eq!(numbers(&db), [2]);
}

#[test]
fn a_reader_sees_one_state_for_the_whole_transaction() {
    let Database { db, place, _folder } = database(NUMBERS);
    db.configure_writer(1024, 1024 * 1024).expect("configured");
    let mut reader = Connection::open_read_only(&place).expect("opened");
    let tx = reader.transaction().expect("begun");
    assert_eq!(numbers(&tx), []);
    db.execute("INSERT INTO t VALUES (1)", []).expect("stored");
    assert_eq!(numbers(&tx), []);
    drop(tx);
    assert_eq!(numbers(&reader), [1]);
    assert!(reader.execute("INSERT INTO t VALUES (2)", []).is_err(), "a reader writes nothing");
}

#[test]
fn a_constraint_that_refuses_is_told_apart() {
    let Database { db, _folder, .. } = database(NUMBERS);
    db.execute("INSERT INTO t VALUES (1)", []).expect("stored");
    let twice = db.execute("INSERT INTO t VALUES (1)", []).expect_err("refused");
    assert_eq!(twice.failure(), Failure::Constraint, "{twice}");
    let nothing = db.execute("INSERT INTO t VALUES (?1)", [None::<i64>]).expect_err("refused");
    assert_eq!(nothing.failure(), Failure::Constraint, "{nothing}");
    assert_eq!(db.execute("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", []).expect("passed over"), 0);
    assert_eq!(numbers(&db), [1], "the connection goes on");
}

#[test]
fn the_number_of_parameters_must_be_right() {
    let Database { db, _folder, .. } = database(NUMBERS);
    assert!(matches!(
        db.execute("INSERT INTO t VALUES (?1)", params![1, 2]),
        Err(Error::Parameters { expected: 1, given: 2 })
    ));
    assert!(db.execute("INSERT INTO t VALUES (?1)", []).is_err());
    assert_eq!(numbers(&db), []);
}

#[test]
fn rows_are_read_while_other_statements_run() {
    let Database { db, _folder, .. } = database(NUMBERS);
    let values = params_from_iter(1..=4_i64);
    db.execute("INSERT INTO t VALUES (?), (?), (?), (?)", values).expect("stored");
    let mut select = db.prepare("SELECT n FROM t ORDER BY n").expect("prepared");
    let mut rows = select.query([]).expect("asked");
    assert!(rows.get().is_none());
    let mut doubled = Vec::new();
    while let Some(row) = rows.next().expect("read") {
        let number: i64 = row.get(0).expect("a number");
        doubled.push(db.query_row("SELECT ?1 * 2", [number], |row| row.get::<_, i64>(0)).expect("doubled"));
    }
    assert_eq!(doubled, [2, 4, 6, 8]);
    assert!(rows.get().is_none());
}

#[test]
fn an_insert_gives_back_what_it_made() {
    let Database { db, _folder, .. } = database(NUMBERS);
    let made: i64 = db.query_row("INSERT INTO t VALUES (?1) RETURNING n", [7], |row| row.get(0)).expect("made");
    assert_eq!((made, numbers(&db)), (7, vec![7]));
    let none = db.query_row("SELECT n FROM t WHERE n = ?1", [8], |row| row.get::<_, i64>(0)).optional();
    assert_eq!(none.expect("asked"), None);
}

#[test]
fn a_value_of_another_type_is_refused_with_its_column() {
    let Database { db, _folder, .. } = database("CREATE TABLE t(w TEXT)");
    db.execute("INSERT INTO t VALUES ('a')", []).expect("stored");
    let read = db.query_row("SELECT 1, w FROM t", [], |row| row.get::<_, i64>(1));
    assert!(read.expect_err("no number").to_string().contains('1'));
}

#[test]
fn a_schema_has_a_version_and_numbered_tables() {
    let Database { db, _folder, .. } = database("CREATE TABLE seen_7(n INTEGER); CREATE TABLE seen_x(n INTEGER)");
    assert_eq!(db.schema_version().expect("read"), 0);
    db.set_schema_version(23).expect("noted");
    assert_eq!(db.schema_version().expect("read"), 23);
    assert_eq!(db.numbered_tables("seen_").expect("found"), ["seen_7"]);
}

#[test]
fn a_failed_statement_lets_no_transaction_be_committed_in_postgres() {
    let Database { mut db, _folder, .. } = database(NUMBERS);
    let is_postgres = db.is_postgres();
    let tx = db.transaction().expect("begun");
    tx.execute("INSERT INTO t VALUES (1)", []).expect("stored");
    assert!(tx.execute("INSERT INTO t VALUES (1)", []).is_err());
    let committed = tx.commit();
    match is_postgres {
        true => assert!(matches!(committed, Err(Error::RolledBack)), "{committed:?}"),
        false => assert!(committed.is_ok()),
    }
    assert_eq!(numbers(&db), if is_postgres { vec![] } else { vec![1] });
}

#[test]
fn who_takes_over_ends_the_one_before() {
    let Database { mut db, place, _folder } = database(
        "CREATE TABLE ledger_owner(epoch INTEGER NOT NULL); INSERT INTO ledger_owner VALUES (0); CREATE TABLE t(n INTEGER)",
    );
    if !db.is_postgres() {
        return;
    }
    db.take_over().expect("taken");
    db.execute("INSERT INTO t VALUES (1)", []).expect("it may write");
    let other = Connection::open(&place).expect("opened");
    other.take_over().expect("taken");
    other.execute("INSERT INTO t VALUES (2)", []).expect("it may write now");
    assert!(matches!(db.execute("INSERT INTO t VALUES (3)", []), Err(Error::Fenced)));
    assert!(matches!(db.transaction().map(drop), Err(Error::Fenced)));
    assert_eq!(numbers(&other), [1, 2]);
}
