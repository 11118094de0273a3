//! Processes of their own for simulations.
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::number;

/// Says to a process that it was started for the one test that it runs.
const ALONE: &str = "WEIR_SIM_ALONE";

/// Runs the body of a test in a process of its own: SQLite's random numbers belong to the process, and what any other thread
/// takes of them changes what the simulated disk sees. `module` is the test's `module_path!()`.
pub(super) fn alone(module: &str, test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    assert!(passes(&name(module, test), &[]), "{test}: what failed is printed above");
}

/// Runs `test` with `seeds` seeds from `first` on in as many processes as there are cores.
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
        // Each is waited for, whatever became of the others.
        started.into_iter().map(|part| part.join().expect("waited")).filter(|passed| !passed).count()
    });
    assert_eq!(failed, 0, "a seed failed: its number is printed above");
}

/// Whether this process has a part of the seeds that another shares out.
pub(super) fn has_part() -> bool {
    number("WEIR_SIM_PART").is_some()
}

/// A test as the command line of this binary names it: without the crate.
fn name(module: &str, test: &str) -> String {
    match module.split_once("::") {
        Some((_, inner)) => format!("{inner}::{test}"),
        None => test.to_owned(),
    }
}

/// Whether the test ran in a process of its own, and passed. A name that is no test's passes nothing.
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
