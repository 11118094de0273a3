//! What evaluating budgets costs: two ledgers count the same events side by side, one of them with budgets.
#![allow(clippy::disallowed_methods, clippy::float_arithmetic, reason = "a benchmark measures real time")]
#[path = "../tests/follow/event.rs"]
mod event;

use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Request, prices, record};
use weir_contract::Timestamp;
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};
use weir_steer::budget;
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
const BUDGETS: &str = "
- {name: monthly, of: cost, amount: 0.04, period: month, timezone: Europe/Berlin}
- {name: daily, of: tokens, amount: 40000, period: day}
- {name: requests, of: requests, amount: 40, period: week}
";

/// The same events in every run: each of a tenant that a simple generator chooses.
fn step(number: u64, names: &[String]) -> Record {
    let chosen = |at: u64| (number * EVENTS + at).wrapping_mul(6_364_136_223_846_793_005) >> 33;
    let requests: Vec<Request<'_>> = (0..EVENTS)
        .map(|at| {
            let tenant = &names[usize::try_from(chosen(at) % TENANTS).expect("a small number")];
            let time = START.plus_millis(number * 5_000 + at);
            Request { tenant, model: "small", feature: "", time, input: 1_000, output: 100 }
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

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = (0..TENANTS).map(|at| format!("tenant-{at:06}")).collect();
    let (mut plain, mut steered) = (ledger(dir.path(), "plain"), ledger(dir.path(), "steered"));
    let budgets = budget::compile(&serde_saphyr::from_str::<Vec<_>>(BUDGETS).expect("the shape")).expect("good");
    let plans = names.iter().map(|name| (name.clone(), "p".to_owned())).collect();
    let rules = Rules { budgets: budgets.into(), plans: Arc::new(plans) };
    let engine = Engine::new(rules, Arc::default());
    steered.set_steering(Some(Box::new(engine)), START).expect("reviewed");
    let (mut of_plain, mut of_steered) = (Duration::ZERO, Duration::ZERO);
    for number in 0..STEPS {
        let records: Vec<Record> = (0..RECORDS).map(|at| step(number * RECORDS + at, &names)).collect();
        // Whoever is first finds the caches cold.
        let order = if number % 2 == 0 { [false, true] } else { [true, false] };
        for with in order {
            let (ledger, sum) = if with { (&mut steered, &mut of_steered) } else { (&mut plain, &mut of_plain) };
            let begun = Instant::now();
            ledger.apply(&records).expect("counted");
            *sum += begun.elapsed();
        }
        plain.checkpoint().expect("checkpointed");
        steered.checkpoint().expect("checkpointed");
    }
    let rate = |time: Duration| (STEPS * RECORDS * EVENTS) as f64 / time.as_secs_f64();
    println!("{} events of {TENANTS} tenants in transactions of {}", STEPS * RECORDS * EVENTS, RECORDS * EVENTS);
    println!("without budgets: {:.0} events/s", rate(of_plain));
    println!("with 3 budgets each: {:.0} events/s", rate(of_steered));
    let more = (of_steered.as_secs_f64() / of_plain.as_secs_f64() - 1.0) * 100.0;
    println!("budgets cost {more:.1} % of counting");
}
