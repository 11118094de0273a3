//! How much a fleet without failures admits, and the table of it in the documentation.
use std::fmt::Write;

use weir_seeded::SplitMix64;

use super::plan::{Demand, Plan};
use super::world::{Outcome, World};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");
const BEGIN: &str = "<!-- table of the simulator: begin -->\n";
const END: &str = "<!-- table of the simulator: end -->";

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

#[test]
fn a_fleet_admits_nearly_what_one_bucket_does_and_the_documentation_says_how_much() {
    let document = std::fs::read_to_string(DOCUMENT).expect("docs/limits.md");
    let (before, rest) = document.split_once(BEGIN).expect("the mark before the table");
    let (written, after) = rest.split_once(END).expect("the mark behind the table");
    let table = table();
    if std::env::var_os("WEIR_WRITE_TABLE").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).expect("written");
        return;
    }
    assert_eq!(written, table, "run `make leases-table`");
}
