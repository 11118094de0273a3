//! The simulator of steering: the real ledger with budgets on a failing disk, gateways that learn of stages, and people who are told.
//!
//! One seed is some weeks of three tenants. Usage comes late, people raise and pause budgets, and the clock is ahead or behind for a
//! while. The process dies between and within any two steps: counting, putting stages in force, making messages, sending them. The
//! receiver refuses, or takes a message whose answer is lost. Again and again, and at the end, the [`oracle`] compares the stages
//! that gateways would be told with a naive count of all events, follows every stage from change to change, and compares the
//! receiver's messages with the changes: none lost, none told twice, and none of a budget told before an earlier one.
#[path = "../../steer/tests/follow/event.rs"]
mod event;
mod oracle;
mod world;

use std::collections::BTreeMap;

use crate::alone::{alone, number};
use crate::planted::{Bug, STEERING_BUGS};
use crate::seeds;
use weir_disk::Copies;
use world::{Judge, Summary, World};

/// The default number of seeds.
const SEEDS: u64 = 30;
/// The number of seeds that are run twice.
const REPEATED: u64 = 8;

const JUDGE: Judge = Judge { stages: oracle::check, messages: oracle::check_messages };

fn simulate(seed: u64, bug: Option<Bug>, trace: bool) -> Result<Summary, String> {
    seeds::on_own_thread(bug, || World::new(seed, JUDGE, trace).live())
}

/// What a seed leaves behind.
struct Left {
    summary: Summary,
    /// What the receiver took, by id.
    inbox: BTreeMap<String, String>,
    /// Every file of the disk.
    files: Copies,
    /// The last operations of the disk.
    operations: Vec<String>,
}

fn leave(seed: u64) -> Left {
    let live = || {
        let mut world = World::new(seed, JUDGE, false);
        let summary = world.live()?;
        let left = weir_disk::with(|disk| (disk.copy(""), disk.trace().to_vec()));
        let (files, operations) = left.ok_or("it has no disk")?;
        Ok(Left { summary, inbox: world.inbox, files, operations })
    };
    seeds::on_own_thread(None, live).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
}

#[test]
fn a_seed_goes_the_same_way_each_time_to_the_last_byte() {
    alone(module_path!(), "a_seed_goes_the_same_way_each_time_to_the_last_byte", || {
        let (first, seeds) = (number("WEIR_SIM_FIRST").unwrap_or(0), number("WEIR_SIM_SEEDS").unwrap_or(REPEATED));
        for seed in first..first + seeds {
            let (once, again) = (leave(seed), leave(seed));
            for (one, other) in once.operations.iter().zip(&again.operations) {
                assert_eq!(one, other, "seed {seed}");
            }
            assert_eq!((once.summary, &once.inbox), (again.summary, &again.inbox), "seed {seed}");
            let differs = |name: &&String| again.files.get(*name) != once.files.get(*name);
            let differing: Vec<&String> = once.files.keys().chain(again.files.keys()).filter(differs).collect();
            assert!(differing.is_empty(), "seed {seed}: {differing:?}");
        }
    });
}

#[test]
fn whatever_fails_stages_follow_usage_and_every_change_is_told_once() {
    const TEST: &str = "whatever_fails_stages_follow_usage_and_every_change_is_told_once";
    alone(module_path!(), TEST, || {
        let total = seeds::run(module_path!(), TEST, SEEDS, |seed, trace| simulate(seed, None, trace));
        if let Some(total) = total {
            assert!(total.reached_everything(), "some kind of trouble never came up: {total}");
        }
    });
}

seeds::each_planted_bug_is_found! {
    simulate; every_planted_bug_has_its_test: STEERING_BUGS;
    finds_counters_that_outlive_a_rollback: CountersOutliveRollback,
    finds_a_stage_that_sticks_after_its_period: StageSticks,
    finds_a_stage_that_a_clock_takes_away: StageLostToTheClock,
    finds_a_raise_that_outlives_its_date: RaiseOutlivesItsDate,
    finds_changes_that_are_told_before_their_messages_are_kept: ToldApart,
    finds_a_message_that_is_made_again_under_another_id: NoticeUnderNewId,
    finds_a_message_that_overtakes_an_earlier_one: NoticeOvertakes,
}
