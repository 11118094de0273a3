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
//! Several nodes over one shared log and ledger have a simulation of their own, on a network that fails: `nodes`.
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
mod nodes;
mod oracle;
mod planted;
mod run;
mod seeds;
mod steering;

use alone::alone;
use planted::{Bug, COUNTING_BUGS};

/// The default number of seeds.
const SEEDS: u64 = 300;

fn simulate(seed: u64, bug: Option<Bug>, trace: bool) -> Result<run::Summary, String> {
    seeds::on_own_thread(bug, || run::run(seed, trace))
}

#[test]
fn whatever_fails_acknowledged_events_are_counted_once() {
    const TEST: &str = "whatever_fails_acknowledged_events_are_counted_once";
    alone(module_path!(), TEST, || {
        let total = seeds::run(module_path!(), TEST, SEEDS, |seed, trace| simulate(seed, None, trace));
        if let Some(total) = total {
            assert!(total.reached_everything(), "some kind of trouble never came up: {total}");
        }
    });
}

#[test]
fn a_seed_runs_the_same_twice() {
    alone(module_path!(), "a_seed_runs_the_same_twice", || {
        for seed in 0..5 {
            assert_eq!(simulate(seed, None, false), simulate(seed, None, false), "seed {seed}");
        }
    });
}

seeds::each_planted_bug_is_found! {
    simulate; every_planted_bug_has_its_test: COUNTING_BUGS;
    finds_an_acknowledgement_before_the_sync: AckBeforeSync,
    finds_an_acknowledgement_of_what_found_no_room: FullAcknowledged,
    finds_an_acknowledgement_after_a_failed_sync: FailedSyncAcknowledged,
    finds_dedupe_outside_the_transaction: DedupeApart,
    finds_a_position_saved_apart: PositionApart,
    finds_costs_in_a_transaction_of_their_own: CostApart,
    finds_costs_that_pricing_again_counts_twice: RepricedTwice,
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
