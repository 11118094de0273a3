//! Runs simulations in processes of their own.
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Tells a process that it was started for a single test.
const ALONE: &str = "WEIR_SIM_ALONE";

/// A number from the environment.
pub(super) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs the body of a test in a process of its own: SQLite's random numbers belong to the process, and other threads
/// that draw from them would change the simulated disk. `module` is the test's `module_path!()`.
pub(super) fn alone(module: &str, test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    assert!(passes(&name(module, test), &[]), "{test}: what failed is printed above");
}

/// Runs `test` with `seeds` seeds from `first` on, spread over one process per core.
pub(super) fn share(module: &str, test: &str, first: u64, seeds: u64) {
    let name = &name(module, test);
    let parts = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64).min(seeds);
    let failed = std::thread::scope(|scope| {
        let part = |part: u64| {
            let (from, to) = (seeds * part / parts, seeds * (part + 1) / parts);
            let range = [("WEIR_SIM_PART", part), ("WEIR_SIM_FIRST", first + from), ("WEIR_SIM_SEEDS", to - from)];
            scope.spawn(move || passes(name, &range))
        };
        let started: Vec<_> = (0..parts).map(part).collect();
        // Waits for every part, even after one has failed.
        started.into_iter().map(|part| part.join().expect("waited")).filter(|passed| !passed).count()
    });
    assert_eq!(failed, 0, "a seed failed: its number is printed above");
}

/// Returns true if this process runs a part of seeds spread by another.
pub(super) fn has_part() -> bool {
    number("WEIR_SIM_PART").is_some()
}

/// The test's name on this binary's command line: without the crate.
fn name(module: &str, test: &str) -> String {
    match module.split_once("::") {
        Some((_, inner)) => format!("{inner}::{test}"),
        None => test.to_owned(),
    }
}

/// Returns true if the test ran in a process of its own and passed. An unknown name fails.
fn passes(test: &str, variables: &[(&str, u64)]) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", test, "--nocapture"]).env(ALONE, "1").stdout(Stdio::piped());
    command.envs(variables.iter().map(|(variable, value)| (variable, value.to_string())));
    let mut child = command.spawn().expect("started");
    let mut passed = false;
    for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
        let line = line.expect("text");
        passed |= line.starts_with("test result: ok. 1 passed");
        println!("{line}");
    }
    child.wait().expect("ended").success() && passed
}

#[test]
fn a_name_that_is_no_test_passes_nothing() {
    assert!(passes(&name(module_path!(), "is_one"), &[]));
    assert!(!passes(&name(module_path!(), "is_none"), &[]));
    assert!(!passes(&name(module_path!(), "fails_alone"), &[]));
}

#[test]
fn is_one() {}

#[test]
fn fails_alone() {
    assert!(std::env::var_os(ALONE).is_none(), "it was asked to fail");
}
