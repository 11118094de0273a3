//! Measures `weir margin` over all of 10,000 tenants and 90 days, from the sums that the ledger keeps.
//!
//! `make bench parts=aggregator PART=margin`. The span begins and ends within a month, so that whole months, sums up to a day, and single hours are
//! read. Each tenant uses five meters and twelve models and has cost in every hour; a price plan bills two meters. Other programs share
//! the machine, so that the time of the processor stands beside that of the clock.
#![allow(clippy::disallowed_methods, clippy::float_arithmetic, reason = "a benchmark measures real time")]

#[path = "margin/sums.rs"]
mod sums;
#[path = "margin/values.rs"]
mod values;

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir::config::Config;
use weir::finance::Finance;
use weir::finance::query::MarginQuery;
use weir_contract::Timestamp;
use weir_ledger::query::LedgerReader;
use weir_tenants::Snapshot;

use sums::{Span, TENANTS, name};

const ROUNDS: usize = 9;
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
    let span = Span { log: "log".to_owned(), began: time(BEGAN), now: time(NOW) };
    sums::fill(&path, &span);
    values::fill(&path, &span);
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
        (0..TENANTS).map(|n| format!("- {{id: {}, plan: pro, created_at: {BEGAN}}}\n", name(n))).collect();
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
