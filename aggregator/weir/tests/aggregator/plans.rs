//! Every page, and every read of the API behind one, takes a bounded time however long the server has run: SQLite's plan of each
//! statement that they run uses an index, and goes through no table that grows without bound.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use rusqlite::{Connection, OpenFlags, ffi};
use serde_json::json;
use weir_clock::ManualClock;

use super::browser::Browser;
use super::events::noon;
use super::server::TOKEN;
use super::viewing::{PAGES, busy_in, token};

/// Statements by file.
type Statements = BTreeMap<PathBuf, BTreeSet<String>>;

/// Those of connections to files below a directory.
static HEARD: Mutex<Option<(PathBuf, Statements)>> = Mutex::new(None);

/// What a plan may go through, and why that takes a bounded time. One that no plan goes through any more is to be taken out.
const BOUNDED: [(&str, &str); 36] = [
    ("ledger", "one row"),
    ("rolled", "one row"),
    ("value_kept", "one row"),
    ("reconciliation", "one row: the last comparison"),
    ("meter", "a row for each meter that was ever configured"),
    ("total", "a row for each kind of event and reason, which are the code's own"),
    ("sqlite_schema", "a row for each table: some 60, and one for each of the days that ids are remembered"),
    ("times", "a row for each month or hour of a span, which has few: whole months are summed"),
    ("carry", "a row for each tenant and meter with a fraction of a unit"),
    ("first_use", "a row for each tenant; the questions are about all"),
    ("tenant_plan", "a row for each tenant and change of its plan; the questions are about all"),
    ("noted", "the same: what the tenants file said of tenants that have left"),
    ("anchor", "a row for each tenant with billing periods of its own"),
    ("budget_use", "a row for each tenant and user with a budget, whose number is bounded: the most used come first"),
    ("budget_raise", "rows that people made"),
    ("alert_silence", "rows that people made"),
    ("deploy USING INDEX deploy_at", "marks of deploys: at most 20 of the same, and 500 different ones"),
    ("token", "rows that people made"),
    ("alert", "a row for each alert that holds: at most 500 of a rule, and 100 rules"),
    ("breaker", "a row for each gateway and provider"),
    ("pricing", "a row for each change of prices"),
    ("repricing", "a row for each time that a person had sums priced again"),
    ("early", "events ahead of the clock, by a day at most"),
    ("provider_error", "a row for each meter and code of Stripe's"),
    ("unread_report", "reports of Stripe's until a person has seen them"),
    ("quarantine USING INDEX quarantine_age", "refused events, of which a bounded number is kept"),
    ("notice USING INDEX notice_pending", "messages that wait, of which there are at most 10,000"),
    ("notice USING INDEX notice_order", "the same, by receiver"),
    (
        "notice_failing",
        "a row for each receiver, of which there are at most 32, and those of former configurations for 90 days",
    ),
    ("outbox USING INDEX outbox_pending", "rows that wait to be sent, those of the windows since the last report"),
    ("outbox USING INDEX outbox_open", "rows that are not reported"),
    ("notice USING INDEX notice_at", "the latest, up to the statement's limit"),
    ("source USING INDEX source_age", "the latest, up to the statement's limit"),
    ("source USING INDEX source_trouble", "the latest, up to the statement's limit"),
    ("budget_transition", "the latest, up to the statement's limit; those of a tenant have an index"),
    ("alert_change", "the latest, up to the statement's limit; no page asks for those of one rule"),
];

/// The same of what the server reads for itself every now and then, perhaps meanwhile.
const OWN: [(&str, &str); 8] = [
    ("budget_transition USING INDEX budget_transition_untold", "changes that nobody was told of: the first is enough"),
    (
        "budget_transition USING INDEX budget_transition_held",
        "changes that are held back from people: the first is enough",
    ),
    ("alert_change USING INDEX alert_change_untold", "the same"),
    ("one USING INDEX notice_order", "messages that wait, of which there are at most 10,000"),
    ("(subquery-4)", "the same, in the order in which each receiver gets them"),
    ("ready", "those of them that are due"),
    ("budget_stage", "a row for each budget of a tenant or user beyond its first stage"),
    ("provisioning USING INDEX provisioning_open", "tenants on their way in or out"),
];

/// Pages beside [`PAGES`].
const MORE: [&str; 17] = [
    "/tokens",
    "/requests",
    "/requests?tenant=acme",
    "/requests?id=r",
    "/money/review",
    "/money/compare?tenant=acme",
    "/tenants/acme?by=feature",
    "/tenants/acme?by=user",
    "/budgets?tenant=acme",
    "/budgets/one?tenant=acme&budget=daily",
    "/money?by=feature&month=2026-10",
    "/tenants?month=2026-10",
    "/tenants/acme?month=2026-10",
    "/tenants/acme/bill?at=2026-10",
    "/billing?tenant=acme&after=1&before=1000",
    "/billing?customer=cus_acme&from=2026-11-01T00:00&to=2026-12-01T00:00",
    "/billing/settled?tenant=acme",
];
/// Reads of the API that answer what pages show.
const READS: [&str; 9] = [
    "/v1/status",
    "/v1/ledger",
    "/v1/margin?tenant=acme",
    "/v1/bill?tenant=acme",
    "/v1/cost?tenant=acme&from=2026-11-01T00:00:00Z&step=day",
    "/v1/budgets?tenant=acme",
    "/v1/budgets/history?subject=acme",
    "/v1/cost/events?tenant=acme",
    "/v1/alerts",
];

/// Has SQLite tell of every statement that reads files below `dir`, in this process.
fn listen(dir: &Path) {
    static ONCE: Once = Once::new();
    *HEARD.lock().unwrap_or_else(PoisonError::into_inner) = Some((dir.to_owned(), BTreeMap::new()));
    // SAFETY: `on_open` opens and closes no database and changes no list of extensions.
    ONCE.call_once(|| assert_eq!(unsafe { ffi::sqlite3_auto_extension(Some(on_open)) }, ffi::SQLITE_OK));
}

/// What was heard since the last call.
fn heard() -> Statements {
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    heard.as_mut().map(|(_, statements)| std::mem::take(statements)).unwrap_or_default()
}

unsafe extern "C" fn on_open(
    db: *mut ffi::sqlite3,
    _problem: *mut *mut c_char,
    _api: *const ffi::sqlite3_api_routines,
) -> c_int {
    // SAFETY: SQLite hands over a connection that is being opened; `on_statement` needs no context.
    unsafe { ffi::sqlite3_trace_v2(db, ffi::SQLITE_TRACE_STMT as c_uint, Some(on_statement), std::ptr::null_mut()) }
}

unsafe extern "C" fn on_statement(_: c_uint, _: *mut c_void, statement: *mut c_void, _: *mut c_void) -> c_int {
    let statement = statement.cast::<ffi::sqlite3_stmt>();
    // SAFETY: SQLite hands over a statement that begins to run; its texts live as long as it does.
    let (file, sql, reads, own) = unsafe {
        let db = ffi::sqlite3_db_handle(statement);
        let file = ffi::sqlite3_db_filename(db, c"main".as_ptr());
        let own = ffi::sqlite3_db_readonly(db, c"main".as_ptr()) == 0;
        (text(file), text(ffi::sqlite3_sql(statement)), ffi::sqlite3_stmt_readonly(statement) != 0, own)
    };
    let file = PathBuf::from(file);
    // The ledger's own thread is no read of anybody's.
    let is_read = reads && !(own && file.ends_with("ledger.sqlite"));
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, statements)) = heard.as_mut().filter(|(dir, _)| is_read && file.starts_with(dir)) {
        statements.entry(file).or_default().insert(sql);
    }
    0
}

/// A text of SQLite's; empty if there is none.
///
/// # Safety
/// `text` is null, or ends with a zero and lives until this returns.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: the caller's.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() }
}

/// The steps of a statement's plan that go through a whole table or index.
fn scans(db: &Connection, sql: &str) -> Vec<String> {
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap_or_else(|error| panic!("{error}: {sql}"));
    // Parameters that nobody binds are NULL: a plan is made before they are known.
    let mut steps = explain.raw_query();
    let mut scans = Vec::new();
    while let Some(step) = steps.next().expect("a plan") {
        scans.push(step.get::<_, String>(3).expect("a step"));
    }
    scans.retain(|step| step.starts_with("SCAN ") && step != "SCAN CONSTANT ROW");
    // Whether an index has all that is asked for changes nothing of how much of it is read.
    scans.iter().map(|step| step.replace(" COVERING", "")).collect()
}

#[tokio::test]
async fn every_page_and_the_reads_behind_it_use_indexes() {
    let dir = tempfile::tempdir().expect("a directory");
    listen(&dir.path().canonicalize().expect("a path"));
    let server = busy_in(dir, ManualClock::at(noon()), "").await;
    let own = token(&server, "acme-own", "Alan", json!({"tenant": "acme"})).await;
    let (staff, tenant) = (Browser::sign_in(&server, TOKEN).await, Browser::sign_in(&server, &own).await);
    heard();
    for path in PAGES.into_iter().chain(MORE) {
        staff.page(path).await;
    }
    // There is no such row, which is looked up all the same.
    staff.get("/billing/row?row=1").await;
    for path in READS {
        server.json(path).await;
    }
    for path in ["/own", "/own/usage.csv", "/own/units.csv", "/own/features.csv", "/own/keys.csv", "/own/bill.csv"] {
        tenant.page(path).await;
    }
    let (mut unbounded, mut needed) = (Vec::new(), BTreeSet::new());
    let heard = heard();
    assert!(heard.values().map(BTreeSet::len).sum::<usize>() > 50, "{heard:#?}");
    for (file, statements) in heard {
        let db = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
        for sql in statements.iter().filter(|sql| sql.starts_with("SELECT") || sql.starts_with("WITH")) {
            for step in scans(&db, sql) {
                match BOUNDED.iter().chain(&OWN).find(|(known, _)| step == format!("SCAN {known}")) {
                    Some((known, _)) => drop(needed.insert(*known)),
                    None => unbounded.push(format!("{step}: {sql}")),
                }
            }
        }
    }
    assert!(unbounded.is_empty(), "{}", unbounded.join("\n"));
    let left: Vec<&str> = BOUNDED.iter().map(|(known, _)| *known).filter(|known| !needed.contains(known)).collect();
    assert!(left.is_empty(), "no plan goes through {left:?} any more");
}
