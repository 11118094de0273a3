//! Several nodes over one event log and one ledger, on a network that fails.
//!
//! One seed is one world: three nodes, a log in a Redis or in a Kafka, a ledger in a PostgreSQL, gateways, a billing provider. Nodes are
//! killed within any exchange, paused for longer than their rights last, cut off from the log, from the ledger and from each other, told to
//! stop, and come back. Requests and answers are lost, late and doubled; servers restart; a commit takes effect and nobody hears of it; a
//! log loses its end. Then nothing fails any more, everything must be acknowledged, counted and reported, and one node must own.
//!
//! # Real and modelled
//!
//! Real: intake, writer, both kinds of the log with their readers, ledger, outbox (`crate::machine`). Modelled, each with what it is held
//! against: the Redis (`redis`, compared call by call with a real one in `model`), the topic (`topic`), sessions and lock of PostgreSQL
//! (`postgres`; its tables and the row that says who may write are SQLite's, by the same statements), the rules of who owns (`node`), and
//! HTTP (`clients`).
//!
//! # Judges
//!
//! `crate::oracle` compares acknowledged and sent items with the tables. `peace` compares the log with what was sent, the ledger's repeats
//! with the log's, and what the provider took with the sums. `postgres` and `world` note who commits or appends after another has taken over.
//! None of them shares code with what it judges, but that the log is read by its reader.
//!
//! # Time
//!
//! All runs on one thread. Where a node's code waits, time passes and the others act (`World::wait`). A seed leaves the same bytes each time.
mod model;
mod redis;
mod summary;
mod topic;
mod world;

use std::rc::Rc;
use std::sync::OnceLock;

use weir_disk::{Copies, Disk};
use weir_ledger::SqliteLedger;

use super::alone::alone;
use super::machine::{self, LEDGER};
use super::planted::{Bug, NODES_BUGS};
use super::seeds;
use summary::Summary;
use world::{NAME, World, leave};

/// The default number of seeds.
const SEEDS: u64 = 40;

fn simulate(seed: u64, bug: Option<Bug>, trace: bool) -> Result<Summary, String> {
    seeds::on_own_thread(bug, || live(seed, trace).map(|(summary, _)| summary))
}

/// Lives a world; returns also the bytes that it leaves.
fn live(seed: u64, trace: bool) -> Result<(Summary, Vec<u8>), String> {
    let template = TEMPLATE.get_or_init(template);
    weir_disk::seed_sqlite(seed);
    weir_disk::install(Disk::new(seed));
    weir_disk::with(|disk| disk.replace_all(template.clone()));
    let world = Alive(World::new(seed, trace));
    world.0.live()?;
    let summary = world.0.summary.borrow().clone();
    world.0.end();
    Ok((summary, world.0.bytes()))
}

/// A new ledger, made once: its many tables take longer to make than most worlds live.
static TEMPLATE: OnceLock<Copies> = OnceLock::new();

fn template() -> Copies {
    weir_disk::seed_sqlite(0);
    weir_disk::install(Disk::new(0));
    let name: String = NAME.iter().map(|byte| format!("{byte:02x}")).collect();
    drop(SqliteLedger::open(LEDGER, &name, machine::meters()).expect("a ledger"));
    weir_disk::with(|disk| disk.copy("ledger.sqlite")).expect("a disk")
}

/// Ends the processes of a world before the disk ends with the thread, also after a panic.
struct Alive(Rc<World>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.end();
        leave();
    }
}

#[test]
fn whatever_nodes_and_network_do_acknowledged_events_are_counted_once() {
    const TEST: &str = "whatever_nodes_and_network_do_acknowledged_events_are_counted_once";
    alone(module_path!(), TEST, || {
        let total = seeds::run(module_path!(), TEST, SEEDS, |seed, trace| simulate(seed, None, trace));
        if let Some(total) = total {
            assert_eq!(total.missing(), Vec::<&str>::new(), "never came up: {total}");
        }
    });
}

#[test]
fn a_seed_leaves_the_same_bytes_twice() {
    alone(module_path!(), "a_seed_leaves_the_same_bytes_twice", || {
        for seed in 0..4 {
            let once = || seeds::on_own_thread(None, || live(seed, false)).expect("a good world");
            assert!(once() == once(), "seed {seed}");
        }
    });
}

seeds::each_planted_bug_is_found! {
    simulate; every_planted_bug_of_nodes_has_its_test: NODES_BUGS;
    finds_two_owners: TwoOwners,
    finds_a_ledger_that_does_not_check_its_epoch: EpochUnchecked,
    finds_a_log_that_does_not_check_who_writes: LogFenceUnchecked,
    finds_an_entry_that_counts_out_of_its_place: StaleEntryCounts,
    finds_an_acknowledgement_before_the_append: AckBeforeAppend,
    finds_an_acknowledgement_of_what_found_no_room: FullAcknowledged,
    finds_an_acknowledgement_of_a_writer_that_was_taken_over: FailedSyncAcknowledged,
    finds_a_lost_answer_taken_for_success: AmbiguousIsDone,
    finds_a_lost_answer_taken_for_failure: AmbiguousIsAnew,
    finds_an_offset_that_is_reset: OffsetReset,
    finds_a_lost_commit_taken_for_success: CommitLostIsDone,
    finds_a_lost_commit_taken_for_failure: CommitLostIsUndone,
    finds_ids_lost_at_a_take_over: IdsLostAtTakeOver,
    finds_a_follower_that_acknowledges: FollowerAcknowledges,
    finds_a_position_saved_apart: PositionApart,
    finds_ids_saved_apart: DedupeApart,
    finds_a_trim_past_the_position_of_the_ledger: PrunedUncounted,
}
