//! What every engine does alike. SQLite is the reference; PostgreSQL is asked where `WEIR_TEST_POSTGRES` names a server.
use weir_database::testing::place;
use weir_database::types::{ToSqlOutput, Value, ValueRef};
use weir_database::{Connection, Error, Failure, OptionalExtension, Place, Values, params, params_from_iter};

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

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

const PAIRS: &str = "CREATE TABLE pair(k TEXT PRIMARY KEY, n INTEGER NOT NULL, b BLOB)";

fn pairs(db: &Connection) -> Vec<(String, i64, Option<Vec<u8>>)> {
    let mut select = db.prepare("SELECT k, n, b FROM pair ORDER BY k").expect("prepared");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("asked");
    rows.collect::<Result<_, _>>().expect("read")
}

fn pair<'k>(key: &'k str, number: i64, bytes: Option<&'k [u8]>) -> Values<'k> {
    let bytes = bytes.map_or(ValueRef::Null, ValueRef::Blob);
    vec![ToSqlOutput::Borrowed(ValueRef::Text(key.as_bytes())), number.into(), ToSqlOutput::Borrowed(bytes)]
}

#[test]
fn many_rows_are_inserted_or_added_to_those_that_are_there() {
    let Database { db, _folder, .. } = database(PAIRS);
    let conflict = "ON CONFLICT (k) DO UPDATE SET n = pair.n + excluded.n";
    let insert = |rows: &[Values<'_>]| db.insert_rows("pair(k, n, b)", conflict, rows).expect("inserted");
    insert(&[]);
    insert(&[pair("a", 1, None), pair("b", 2, Some(&[0, 255]))]);
    insert(&[pair("b", 5, None), pair("c", i64::MIN, None), pair("ü'?1", 7, None)]);
    let expected = [("a", 1, None), ("b", 7, Some(vec![0, 255])), ("c", i64::MIN, None), ("ü'?1", 7, None)]
        .map(|(k, n, b)| (k.to_owned(), n, b));
    assert_eq!(pairs(&db), expected);
}

#[test]
fn keys_that_differ_in_nul_alone_stop_no_statement_of_many_rows() {
    let Database { db, _folder, .. } = database(PAIRS);
    let conflict = "ON CONFLICT (k) DO UPDATE SET n = pair.n + excluded.n";
    let rows = [pair("a\0", 1, None), pair("a\u{2400}", 2, None)];
    db.insert_rows("pair(k, n, b)", conflict, &rows).expect("inserted");
    assert_eq!(pairs(&db).iter().map(|(_, number, _)| number).sum::<i64>(), 3);
}

#[test]
fn rows_are_copied_and_found_by_many_keys() {
    let Database { mut db, _folder, .. } = database(PAIRS);
    let keys: Vec<String> = (0..20_000).map(|number| format!("{number:05}")).collect();
    let rows: Vec<Values<'_>> = keys.iter().zip(0..).map(|(key, number)| pair(key, number, Some(&[1]))).collect();
    let tx = db.transaction().expect("begun");
    tx.copy_rows("pair(k, n, b)", &rows).expect("copied");
    tx.commit().expect("committed");
    assert_eq!(pairs(&db).len(), keys.len());
    let asked: Vec<_> = rows.iter().step_by(2).map(|row| row[0].clone()).chain(["absent".into()]).collect();
    let mut found =
        db.query_among("SELECT n FROM pair WHERE k IN (?1)", &asked, |row| row.get::<_, i64>(0)).expect("asked");
    found.sort_unstable();
    assert_eq!(found, (0..20_000).step_by(2).collect::<Vec<i64>>());
    let twice = db.copy_rows("pair(k, n, b)", &rows[..1]).expect_err("it is there");
    assert_eq!(twice.failure(), Failure::Constraint, "{twice}");
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

/// Two connections to one database of which one may write; None where SQLite is asked.
fn writers() -> Option<(Database, Connection)> {
    let database = database(
        "CREATE TABLE ledger_owner(epoch INTEGER NOT NULL); INSERT INTO ledger_owner VALUES (0); CREATE TABLE t(n INTEGER)",
    );
    let other = database.db.is_postgres().then(|| Connection::open(&database.place).expect("opened"))?;
    Some((database, other))
}

#[test]
fn a_second_writer_is_refused_while_the_first_one_lives() {
    let Some((Database { db, _folder, .. }, other)) = writers() else { return };
    db.take_over().expect("taken");
    db.execute("INSERT INTO t VALUES (1)", []).expect("it may write");
    let done = AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            let db = db;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(numbers(&db), [1]);
                sleep(Duration::from_millis(500));
            }
        });
        let refused = other.take_over();
        done.store(true, Ordering::Relaxed);
        refused
    });
    let error = refused.expect_err("the first one lives").to_string();
    assert!(error.contains("weir, process") && error.contains("stop it first"), "{error}");
}

#[test]
fn a_writer_that_is_silent_for_too_long_can_write_nothing_more_once_another_one_took_over() {
    let Some((Database { mut db, _folder, .. }, other)) = writers() else { return };
    db.take_over().expect("taken");
    db.execute("INSERT INTO t VALUES (1)", []).expect("it may write");
    other.take_over().expect("the first one says nothing");
    other.execute("INSERT INTO t VALUES (2)", []).expect("it may write now");
    assert!(matches!(db.execute("INSERT INTO t VALUES (3)", []), Err(Error::Owned(_))));
    drop(other);
    let error = (0..50).find_map(|_| match db.transaction().map(drop) {
        Err(Error::Owned(_)) => {
            sleep(Duration::from_millis(100));
            None
        }
        outcome => Some(outcome.expect_err("there was another one")),
    });
    assert!(matches!(error, Some(Error::Fenced)), "{error:?}");
}

#[test]
fn further_connections_write_for_as_long_as_the_owner_may() {
    let Some((Database { db, place, _folder }, other)) = writers() else { return };
    db.take_over().expect("taken");
    let mut kept = Connection::open(place.beside("kept")).expect("opened");
    kept.execute_batch(NUMBERS).expect("a table");
    kept.obey(&db.fence());
    let under_way = db.unchecked_transaction().expect("begun");
    kept.execute("INSERT INTO t VALUES (1)", []).expect("it waits for no transaction of the owner");
    drop(under_way);
    drop(db);
    let tx = kept.transaction().expect("begun");
    tx.execute("INSERT INTO t VALUES (2)", []).expect("stored");
    std::thread::scope(|scope| {
        let taken = scope.spawn(|| {
            let other = other;
            other.take_over().expect("taken");
            other
        });
        sleep(Duration::from_millis(500));
        assert!(!taken.is_finished(), "who takes over waits for what is under way");
        tx.commit().expect("committed");
        taken.join().expect("joined")
    });
    let refused = kept.execute("INSERT INTO t VALUES (3)", []).expect_err("the owner is another one");
    assert!(matches!(refused, Error::Fenced), "{refused}");
    assert_eq!(numbers(&kept), [1, 2]);
}

#[test]
fn a_writer_that_was_silent_goes_on_where_nobody_took_over() {
    let Some((Database { db, _folder, .. }, _)) = writers() else { return };
    db.take_over().expect("taken");
    sleep(Duration::from_secs(5));
    db.execute("INSERT INTO t VALUES (1)", []).expect("it may write");
    assert_eq!(numbers(&db), [1]);
}

#[test]
fn a_database_is_filled_from_another_one_and_put_in_its_place() {
    let Database { db, place, _folder } =
        database("CREATE TABLE ledger_owner(epoch INTEGER NOT NULL); CREATE TABLE t(n INTEGER)");
    db.execute_batch("INSERT INTO ledger_owner VALUES (7); INSERT INTO t VALUES (1), (2)").expect("stored");
    let (new, old) = (place.beside("new"), place.beside("old"));
    let other = Connection::open(&new).expect("made");
    other
        .execute_batch("CREATE TABLE ledger_owner(epoch INTEGER NOT NULL); CREATE TABLE t(n INTEGER)")
        .expect("tables");
    other.execute_batch("INSERT INTO ledger_owner VALUES (7)").expect("stored");
    let both = other.attach(&place).expect("attached");
    other.execute(&both.named("INSERT INTO main.t SELECT n * 10 FROM living.t"), []).expect("filled");
    other.detach().expect("detached");
    let is_postgres = db.is_postgres();
    drop((db, other));
    place.replace_by(&new, &old).expect("put in place");
    let db = Connection::open(&place).expect("opened");
    assert_eq!(numbers(&db), [10, 20]);
    let epoch: i64 = db.query_row("SELECT epoch FROM ledger_owner", [], |row| row.get(0)).expect("read");
    assert_eq!(epoch, if is_postgres { 8 } else { 7 }, "owners of the one before are refused");
    assert_eq!(numbers(&Connection::open(&old).expect("it stays")), [1, 2]);
    old.remove().expect("removed");
    new.remove().expect("none is there");
}
