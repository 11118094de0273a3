//! A ledger of 10,000 tenants that have used something in every hour of some months.
use std::path::Path;

use weir_contract::Timestamp;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};

/// The tenants: `tenant-0000` and so on.
pub(crate) const TENANTS: u64 = 10_000;
const DAY_MS: u64 = 24 * 3_600_000;

/// What is filled.
pub(crate) struct Span {
    /// The name of the log that the ledger counts.
    pub(crate) log: String,
    /// The first day, which begins a month.
    pub(crate) began: Timestamp,
    /// The moment at which the ledger has counted everything.
    pub(crate) now: Timestamp,
}

/// A tenant's name.
pub(crate) fn name(number: u64) -> String {
    format!("tenant-{number:04}")
}

/// Writes the sums that a year of such traffic would leave: by month, by the month up to each day, and the hours since.
pub(crate) fn fill(path: &Path, span: &Span) {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good");
    let mut ledger = SqliteLedger::open(path, &span.log, meters).expect("a ledger");
    let db = ledger.db();
    let tenants = format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})", TENANTS - 1);
    let tenant = "printf('tenant-%04d', i)";
    let tx = db.transaction().expect("a transaction");
    let usage = |table: &str, at: Timestamp, units: u64| {
        let sql = format!(
            "INSERT INTO {table} {tenants} SELECT {}, {tenant}, name, {units} * (1 + i % 7){} FROM n, (SELECT DISTINCT name FROM meter)",
            at.as_millis(),
            if table == "usage" { ", 0, 1" } else { "" }
        );
        tx.execute(&sql, []).expect("filled");
    };
    let cost = |table: &str, at: Timestamp, units: u64| {
        let sql = format!(
            "INSERT INTO {table} {tenants} SELECT {}, {tenant}, 'USD', {units}, 1, 1, 1, 0, 0, {units} * 900, {units} * 200, 0, 0, 0, 0,
               {units} / 50, 1 + i, 0, 5, 0, 6, 0, 7 FROM n",
            at.as_millis()
        );
        tx.execute(&sql, []).expect("filled");
    };
    let (mut day, now) = (span.began, span.now);
    let mut month = day;
    let mut of_month = 0;
    while day < now {
        of_month += 500;
        let next = day.plus_millis(DAY_MS);
        let is_last = next > now;
        if is_last || next.to_string().get(8..10) == Some("01") {
            usage("usage_month", month, of_month);
            cost("cost_month", month, of_month);
            (month, of_month) = (next, 0);
        } else {
            usage("usage_to_day", next, of_month);
            cost("cost_to_day", next, of_month);
            tx.execute("INSERT INTO rolled_day VALUES (?1)", [next.as_millis()]).expect("noted");
        }
        day = next;
    }
    // The last two hours are not in the sums yet.
    let through = Timestamp::from_millis(now.hour().as_millis() - 2 * 3_600_000);
    tx.execute("UPDATE rolled SET through = ?1", [through.as_millis()]).expect("noted");
    for hour in 0..2 {
        usage("usage", through.plus_millis(hour * 3_600_000), 20);
        cost("cost", through.plus_millis(hour * 3_600_000), 20);
    }
    tx.commit().expect("filled");
}
