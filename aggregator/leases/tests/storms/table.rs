//! How much a fleet without failures admits, and the table of it in the documentation.
use std::fmt::Write;

use weir_seeded::SplitMix64;

use super::plan::{Demand, Plan};
use super::world::{Outcome, World};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");

/// Costs in percent of the capacity (0 is one unit), the least share that must be admitted, and sizes of fleets.
const CASES: [(u64, u64, &[usize]); 2] = [(0, 95, &[1, 2, 4, 8, 16, 32]), (4, 85, &[1, 2, 4, 8])];

fn calm(gateways: usize, cost_percent: u64, demand: Demand) -> Outcome {
    let plan = Plan::calm(gateways, cost_percent, demand);
    World::new(plan, SplitMix64::new(1), None, false).run().unwrap_or_else(|error| panic!("{error}"))
}

fn table() -> String {
    let mut table =
        "| gateways | a request costs | demand alike | most at one gateway | wandering bursts |\n".to_owned();
    table += "|---|---|---|---|---|\n";
    for (cost_percent, share, fleets) in CASES {
        for gateways in fleets {
            let cost =
                if cost_percent == 0 { "1 unit".to_owned() } else { format!("{cost_percent} % of the capacity") };
            write!(table, "| {gateways} | {cost} |").expect("a string");
            for demand in [Demand::Even, Demand::Skewed, Demand::Bursts] {
                let Outcome { admitted, ideal, .. } = calm(*gateways, cost_percent, demand);
                assert!(admitted * 100 >= ideal * share, "{gateways} gateways admit {admitted} of {ideal}");
                let tenths = admitted * 1_000 / ideal;
                write!(table, " {}.{} % |", tenths / 10, tenths % 10).expect("a string");
            }
            table.push('\n');
        }
    }
    table
}

/// How far replicas lag, in milliseconds, and sizes of fleets.
const LAGS_MS: [u64; 3] = [100, 1_000, 5_000];
const FAILING_FLEETS: [usize; 4] = [2, 8, 32, 64];
const FAIL_OVERS: u64 = 20;

/// What the worst of some fail-overs cost: units admitted beyond the bucket, of those that were granted in the lost interval.
fn worst_fail_over(gateways: usize, lag_ms: u64) -> (u64, u64) {
    let run = |seed| {
        let plan = Plan { lag_ms: Some(lag_ms), ..Plan::calm(gateways, 0, Demand::Even) };
        let Outcome { over, lost, .. } =
            World::new(plan, SplitMix64::new(seed), None, false).run().unwrap_or_else(|error| panic!("{error}"));
        assert!(over <= lost, "{over} of {lost}");
        (over, lost)
    };
    (0..FAIL_OVERS).map(run).max().expect("a run")
}

fn fail_overs() -> String {
    let mut table = "| gateways | lag 100 ms | lag 1 s | lag 5 s |\n|---|---|---|---|\n".to_owned();
    for gateways in FAILING_FLEETS {
        write!(table, "| {gateways} |").expect("a string");
        for lag_ms in LAGS_MS {
            let (over, lost) = worst_fail_over(gateways, lag_ms);
            write!(table, " {over} of {lost} units |").expect("a string");
        }
        table.push('\n');
    }
    table
}

/// Compares a table of the documentation with the simulator's, or writes it.
fn compare(name: &str, table: &str) {
    // Both tables stand in one document.
    static DOCUMENT_LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = DOCUMENT_LOCK.lock().expect("the document");
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let document = std::fs::read_to_string(DOCUMENT).expect("docs/limits.md");
    let (before, rest) = document.split_once(&begin).expect("the mark before the table");
    let (written, after) = rest.split_once(&end).expect("the mark behind the table");
    if std::env::var_os("WEIR_WRITE_TABLE").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{begin}{table}{end}{after}")).expect("written");
        return;
    }
    assert_eq!(written, table, "run `make leases-table`");
}

#[test]
fn a_fleet_admits_nearly_what_one_bucket_does_and_the_documentation_says_how_much() {
    compare("table of the simulator", &table());
}

#[test]
fn a_fleet_admits_after_a_fail_over_at_most_what_was_granted_in_the_lost_interval() {
    compare("table of fail-overs", &fail_overs());
}
