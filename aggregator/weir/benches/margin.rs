//! Measures `weir margin` over all of 10,000 tenants and 90 days, from the sums that the ledger keeps.
//!
//! `make bench parts=aggregator PART=margin`. The span begins and ends within a month, so that whole months, sums up to a day, and single hours are
//! read. Each tenant uses five meters and twelve models and has cost in every hour; a price plan bills two meters. Other programs share
//! the machine, so that the time of the processor stands beside that of the clock.
#![allow(clippy::disallowed_methods, clippy::float_arithmetic, reason = "a benchmark measures real time")]

#[path = "margin/values.rs"]
mod values;

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir::config::Config;
use weir::finance::Finance;
use weir::finance::query::MarginQuery;
use weir_contract::Timestamp;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};
use weir_ledger::query::LedgerReader;
use weir_tenants::Snapshot;

const TENANTS: u64 = 10_000;
const ROUNDS: usize = 9;
const DAY_MS: u64 = 24 * 3_600_000;
/// The first day that is counted, the span's first, and its end: 90 days later, in the middle of a day.
const BEGAN: &str = "2026-08-01T00:00:00Z";
const FROM: &str = "2026-08-20T00:00:00Z";
const NOW: &str = "2026-11-18T12:30:00Z";
const PLANS: &str = "price_plans:
- name: pro
  currency: USD
  plans: ['*']
  base_fee: 49
  per_request: 0.0005
  charges: [{meter: input_tokens, included: 100000, per_unit: 0.000004}]
";

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.sqlite");
    let began = Instant::now();
    fill(&path);
    values::fill(&path);
    println!(
        "margin: {TENANTS} tenants, 90 days, {} models; filled in {:.0} s",
        values::MODELS,
        began.elapsed().as_secs_f64()
    );
    let filled = peak_mb();
    for by in ["tenant", "plan", "model"] {
        let mut took: Vec<(f64, f64)> = (0..ROUNDS).map(|_| ask(&path, by)).collect();
        took.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut cpu: Vec<f64> = took.iter().map(|(_, cpu)| *cpu).collect();
        cpu.sort_unstable_by(f64::total_cmp);
        let (median, most) = (took[ROUNDS / 2].0, took[ROUNDS - 1].0);
        println!("  by {by:<7} ms: median {median:>7.0}  (most {most:.0}), CPU median {:>7.0}", cpu[ROUNDS / 2]);
    }
    println!("  memory, MB: {} after filling, at most {} while answering", filled, peak_mb());
}

/// One question as a server answers it: on a connection of its own. Returns milliseconds, by the clock and of the processor.
fn ask(path: &std::path::Path, by: &str) -> (f64, f64) {
    let finances = Config::parse(std::path::Path::new("weir.yaml"), PLANS).expect("good plans").finances;
    let tenants: Vec<String> =
        (0..TENANTS).map(|n| format!("- {{id: tenant-{n:05}, plan: pro, created_at: {BEGAN}}}\n")).collect();
    let tenants = Snapshot::parse(std::path::Path::new("tenants.yaml"), &format!("tenants:\n{}", tenants.concat()));
    let (finances, tenants) = (Arc::new(finances), Arc::new(tenants.expect("good tenants")));
    let (began, spent) = (Instant::now(), cpu());
    let reader = LedgerReader::open(path).expect("a reader");
    let mut finance = Finance { reader, finances, other_costs: Vec::new(), tenants, prices: None, now: time(NOW) };
    let by = Some(by.to_owned());
    let query = MarginQuery { by: by.clone(), from: Some(time(FROM)), to: Some(time(NOW)), ..MarginQuery::default() };
    let view = finance.margin(&query).expect("a margin");
    let took = (began.elapsed().as_secs_f64() * 1e3, (cpu() - spent).as_secs_f64() * 1e3);
    let rows = match view.by.as_str() {
        "tenant" => TENANTS,
        "model" => values::MODELS,
        _ => 1,
    };
    assert_eq!(view.rows.len() as u64, rows, "by {}", view.by);
    assert!(view.totals[0].revenue.0 > 0 && view.totals[0].llm_cost.0 > 0, "{:?}", view.totals);
    took
}

/// Writes the sums that a year of such traffic would leave: by month, by the month up to each day, and the hours since.
fn fill(path: &std::path::Path) {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good");
    let mut ledger = SqliteLedger::open(path, "log", meters).expect("a ledger");
    let db = ledger.db();
    let tenants = format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})", TENANTS - 1);
    let tenant = "printf('tenant-%05d', i)";
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
    let (mut day, now) = (time(BEGAN), time(NOW));
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

/// The processor time of this thread so far (proc_pid_schedstat(5)).
fn cpu() -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(spent.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}
