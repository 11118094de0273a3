//! Runs seeds, for all simulators: one, a range, or as many as it takes to find a planted bug.
use std::fmt::Display;

use super::alone::{has_part, number, share};
use super::planted::{self, Bug};

/// From this many seeds on they are spread over one process per core.
const SEEDS_SHARED: u64 = 600;
/// The most seeds until a planted bug must be found.
const SEEDS_PER_BUG: u64 = 500;

/// What happened in one seed or in many.
pub(super) trait Outcome: Default + Display {
    fn add(&mut self, other: &Self);
}

/// Runs one seed on a thread of its own, because the disk belongs to the thread. A panic becomes an error.
pub(super) fn on_own_thread<S: Send>(
    bug: Option<Bug>,
    live: impl FnOnce() -> Result<S, String> + Send,
) -> Result<S, String> {
    let run = move || {
        planted::plant(bug);
        live()
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}

/// Runs the seeds that the environment asks for, or else `count` of them, and returns their sum. `simulate`
/// receives the seed, and whether to print each step.
///
/// Returns nothing where there is no sum to judge: after a single seed, and where other processes run the seeds.
pub(super) fn run<S: Outcome>(
    module: &str,
    test: &str,
    count: u64,
    simulate: impl Fn(u64, bool) -> Result<S, String>,
) -> Option<S> {
    if let Some(seed) = number("WEIR_SIM_SEED") {
        let summary = simulate(seed, true).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        println!("seed {seed}: {summary}");
        return None;
    }
    let (first, seeds) = (number("WEIR_SIM_FIRST").unwrap_or(0), number("WEIR_SIM_SEEDS").unwrap_or(count));
    if seeds >= SEEDS_SHARED && !has_part() {
        share(module, test, first, seeds);
        return None;
    }
    let mut total = S::default();
    for seed in first..first + seeds {
        let summary = simulate(seed, false).unwrap_or_else(|failure| {
            panic!("seed {seed}: {failure}\nsee it again with: make {} SEED={seed}", command(module))
        });
        println!("seed {seed}: {summary}");
        total.add(&summary);
    }
    println!("{seeds} seeds: {total}");
    Some(total)
}

/// What runs one seed of a simulator.
fn command(module: &str) -> &'static str {
    if module.ends_with("::nodes") { "nodes-sim" } else { "sim" }
}

/// Searches for a planted bug; fails if no seed finds it.
pub(super) fn find<S>(bug: Bug, simulate: fn(u64, Option<Bug>, bool) -> Result<S, String>) {
    let found = (0..SEEDS_PER_BUG).find_map(|seed| simulate(seed, Some(bug), false).err().map(|what| (seed, what)));
    let (seed, what) = found.unwrap_or_else(|| panic!("{bug:?} is not found within {SEEDS_PER_BUG} seeds"));
    println!("{bug:?} is found by seed {seed}: {what}");
}

/// A test for each planted bug, and one that no bug of a list is left out.
macro_rules! each_planted_bug_is_found {
    ($simulate:ident; $complete:ident: $bugs:ident; $($name:ident: $bug:ident,)*) => {
        $(
            #[test]
            fn $name() {
                $crate::alone::alone(module_path!(), stringify!($name), || $crate::seeds::find(Bug::$bug, $simulate));
            }
        )*

        #[test]
        fn $complete() {
            assert_eq!([$(Bug::$bug),*], $bugs);
        }
    };
}
pub(super) use each_planted_bug_is_found;
