//! The seeded simulator: the real intake, writer, log, ledger and pruning, on a failing disk and clock.
//!
//! One seed is one world: gateways that make, delay, repeat, reorder and falsify events (`gateways`); a machine that is
//! killed and loses power between any two steps and within any write (`machine`, on `weir-disk`); a clock that jumps;
//! and sixty days. At the end everything heals and the gateways send until all is answered. Then the `oracle`, which
//! shares no code with the aggregator, compares the acknowledged and sent items with the tables.
//!
//! `make sim SEEDS=10000` runs seeds and prints them with their faults; `make sim SEED=17` runs one and prints every
//! step. A world is one thread in a process of its own (`alone`) and depends on the seed only, so a failed seed fails
//! again in the same way.
//!
//! `Bug`s are planted at fault points, which no released build contains. The tests prove that the simulator finds each.
//!
//! This crate contains only tests. Their needs are ordinary dependencies, not dev-dependencies, so that every build of
//! the whole workspace has the same features and compiles nothing twice.
#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "the number of seeds comes from the environment, as for all tests")]
mod alone;
mod billing;
mod gateways;
mod machine;
mod oracle;
mod planted;
mod run;

use planted::{Bug, COUNTING_BUGS};

use alone::{alone, has_part, share};

/// From this many seeds on they are spread over one process per core.
const SEEDS_SHARED: u64 = 600;

/// The default number of seeds.
const SEEDS: u64 = 300;
/// The most seeds until a planted bug must be found.
const SEEDS_PER_BUG: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs one seed on a thread of its own, because the disk belongs to the thread.
fn simulate(seed: u64, bug: Option<Bug>) -> Result<run::Summary, String> {
    let ran = std::thread::scope(|scope| scope.spawn(|| run::run(seed, bug)).join());
    ran.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}

#[test]
fn whatever_fails_acknowledged_events_are_counted_once() {
    alone(module_path!(), "whatever_fails_acknowledged_events_are_counted_once", run_seeds);
}

fn run_seeds() {
    if let Some(seed) = number("WEIR_SIM_SEED") {
        let summary = run::traced(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        println!("seed {seed}: {summary}");
        return;
    }
    let first = number("WEIR_SIM_FIRST").unwrap_or(0);
    let seeds = number("WEIR_SIM_SEEDS").unwrap_or(SEEDS);
    if seeds >= SEEDS_SHARED && !has_part() {
        return share(module_path!(), "whatever_fails_acknowledged_events_are_counted_once", first, seeds);
    }
    let mut total = run::Summary::default();
    for seed in first..first + seeds {
        match simulate(seed, None) {
            Ok(summary) => {
                println!("seed {seed}: {summary}");
                total.add(&summary);
            }
            Err(failure) => panic!("seed {seed}: {failure}\nsee it again with: make sim SEED={seed}"),
        }
    }
    println!("all: {total}");
    assert!(total.reached_everything(), "some kind of trouble never came up: {total}");
}

#[test]
fn a_seed_runs_the_same_twice() {
    alone(module_path!(), "a_seed_runs_the_same_twice", || {
        for seed in 0..5 {
            assert_eq!(simulate(seed, None), simulate(seed, None), "seed {seed}");
        }
    });
}

/// Searches for a planted bug; fails if no seed finds it.
fn find(bug: Bug) {
    let found = (0..SEEDS_PER_BUG).find_map(|seed| simulate(seed, Some(bug)).err().map(|what| (seed, what)));
    let (seed, what) = found.unwrap_or_else(|| panic!("{bug:?} is not found within {SEEDS_PER_BUG} seeds"));
    println!("{bug:?} is found by seed {seed}: {what}");
}

macro_rules! each_planted_bug_is_found {
    ($($name:ident: $bug:ident,)*) => {
        $(
            #[test]
            fn $name() {
                alone(module_path!(), stringify!($name), || find(Bug::$bug));
            }
        )*

        #[test]
        fn every_planted_bug_has_its_test() {
            assert_eq!([$(Bug::$bug),*], COUNTING_BUGS);
        }
    };
}

each_planted_bug_is_found! {
    finds_an_acknowledgement_before_the_sync: AckBeforeSync,
    finds_an_acknowledgement_of_what_found_no_room: FullAcknowledged,
    finds_an_acknowledgement_after_a_failed_sync: FailedSyncAcknowledged,
    finds_dedupe_outside_the_transaction: DedupeApart,
    finds_a_position_saved_apart: PositionApart,
    finds_memory_that_outlives_a_rollback: MemoryOutlivesRollback,
    finds_a_window_that_is_fixed_twice: WindowFixedTwice,
    finds_a_late_event_folded_into_a_closed_window: LateEventFoldedIn,
    finds_ids_forgotten_by_the_clock_alone: ForgottenByTheClock,
    finds_a_conflict_that_counts: ConflictCounts,
    finds_a_quarantine_that_loses: QuarantineLost,
    finds_held_events_that_are_lost: EarlyLost,
    finds_pruning_of_what_is_not_counted: PrunedUncounted,
    finds_pruning_of_what_is_not_settled: PrunedUnsettled,
    finds_ranges_merged_over_a_gap: RangesMerged,
}
