//! What evaluating budgets costs: two ledgers count the same events side by side, one of them with budgets.
#![allow(clippy::disallowed_methods, clippy::float_arithmetic, reason = "a benchmark measures real time")]
#[path = "../tests/follow/event.rs"]
mod event;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Request, prices, record};
use weir_contract::Timestamp;
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};
use weir_steer::budget::{self, Budget};
use weir_steer::engine::{Engine, Rules};

/// Tenants, each with every budget.
const TENANTS: u64 = 10_000;
/// Events of one record, and records of one transaction: as many as the server gathers under load.
const EVENTS: u64 = 1_000;
const RECORDS: u64 = 12;
/// Transactions.
const STEPS: u64 = 30;
/// 2026-11-16T12:00:00Z
const START: Timestamp = Timestamp::from_millis(1_794_830_400_000);
/// Amounts that few tenants come near to.
const AMPLE: [&str; 3] = ["4", "4000000", "4000"];
/// Amounts that each tenant goes through in the run: stages change all the time.
const SCARCE: [&str; 3] = ["0.04", "40000", "40"];

/// The same events in every run: each of a tenant that a simple generator chooses.
fn step(number: u64, names: &[String]) -> Record {
    let chosen = |at: u64| (number * EVENTS + at).wrapping_mul(6_364_136_223_846_793_005) >> 33;
    let requests: Vec<Request<'_>> = (0..EVENTS)
        .map(|at| {
            let tenant = &names[usize::try_from(chosen(at) % TENANTS).expect("a small number")];
            let time = START.plus_millis(number * 5_000 + at);
            Request { tenant, model: "small", feature: "", user: "", key: "", time, input: 1_000, output: 100 }
        })
        .collect();
    record(number + 1, START.plus_millis((number + 1) * 5_000), number * EVENTS, &requests)
}

fn ledger(dir: &std::path::Path, name: &str) -> SqliteLedger {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
    let mut ledger = SqliteLedger::open(&dir.join(name), "a log", meters).expect("a ledger");
    ledger.set_prices(prices(2), START).expect("set");
    ledger
}

/// Budgets of money, tokens and requests, of these amounts.
fn budgets([money, tokens, requests]: [&str; 3]) -> Arc<[Budget]> {
    let text = format!(
        "
- {{name: monthly, of: cost, amount: {money}, period: month, timezone: Europe/Berlin}}
- {{name: daily, of: tokens, amount: {tokens}, period: day}}
- {{name: requests, of: requests, amount: {requests}, period: week}}
"
    );
    budget::compile(&serde_saphyr::from_str::<Vec<_>>(&text).expect("the shape")).expect("good").into()
}

/// A ledger with budgets, or without, and the time that it took to count.
struct Side {
    name: &'static str,
    ledger: SqliteLedger,
    took: Duration,
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = (0..TENANTS).map(|at| format!("tenant-{at:06}")).collect();
    let plans: Arc<HashMap<String, String>> =
        Arc::new(names.iter().map(|name| (name.clone(), "p".to_owned())).collect());
    let side = |name: &'static str, amounts: Option<[&str; 3]>| {
        let mut ledger = ledger(dir.path(), name);
        if let Some(amounts) = amounts {
            let rules = Rules { budgets: budgets(amounts), plans: Arc::clone(&plans) };
            ledger.set_steering(Some(Box::new(Engine::new(rules, Arc::default()))), START).expect("reviewed");
        }
        Side { name, ledger, took: Duration::ZERO }
    };
    let mut sides = [
        side("without budgets", None),
        side("with 3 budgets each", Some(AMPLE)),
        side("with 3 budgets each, all of which run out", Some(SCARCE)),
    ];
    for number in 0..STEPS {
        let records: Vec<Record> = (0..RECORDS).map(|at| step(number * RECORDS + at, &names)).collect();
        // Whoever is first finds the caches cold.
        sides.rotate_left(1);
        for side in &mut sides {
            let begun = Instant::now();
            side.ledger.apply(&records).expect("counted");
            side.took += begun.elapsed();
        }
        for side in &mut sides {
            side.ledger.checkpoint(Duration::ZERO).expect("checkpointed");
        }
    }
    report(&mut sides);
}

fn report(sides: &mut [Side]) {
    sides.sort_by_key(|side| side.name.len());
    println!("{} events of {TENANTS} tenants in transactions of {}", STEPS * RECORDS * EVENTS, RECORDS * EVENTS);
    let plain = sides.first().map_or(1.0, |side| side.took.as_secs_f64());
    for side in sides {
        let took = side.took.as_secs_f64();
        let (rate, more) = ((STEPS * RECORDS * EVENTS) as f64 / took, (took / plain - 1.0) * 100.0);
        println!("{}: {rate:.0} events/s, {more:+.1} % of the time", side.name);
    }
}
