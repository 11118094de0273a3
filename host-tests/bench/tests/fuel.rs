//! The repository keeps what a request costs, so that each change of the cost is visible in its commit.

use weir_bench::fuel::{self, TOLERANCE, TOLERANCE_PERCENT};

#[test]
fn the_standard_requests_cost_what_the_table_says() {
    let now = fuel::standard().expect("`make wasm` builds the modules");
    let kept = fuel::kept().expect("docs/performance/fuel.tsv is a table");
    let changes = now.changes(&kept.only_rows_of(&now), TOLERANCE_PERCENT, TOLERANCE);
    let told: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert!(
        told.is_empty(),
        "instructions differ by more than {TOLERANCE_PERCENT} % from docs/performance/fuel.tsv:\n{}\n\
         If that is meant, `make fuel` keeps the new figures: commit them, and say in the message why.",
        told.join("\n")
    );
}

#[test]
fn a_request_costs_the_same_whenever_it_is_counted() {
    assert_eq!(fuel::hostcalls_by_name("get"), fuel::hostcalls_by_name("get"));
}
