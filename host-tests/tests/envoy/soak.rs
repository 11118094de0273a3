//! Short versions of `make soak`, `make routing-soak`, `make hostile` and `make spool`, and that the docs show what `make estimate` prints.
use std::time::Duration;

use weir_rig::workspace;
use weir_soak::spool::Drill;
use weir_soak::{estimate, hostile, routing, soak, spool};

#[tokio::test(flavor = "multi_thread")]
async fn under_faults_every_number_and_every_token_is_accounted_for() {
    let figures = soak::run(2_000, 7).await.expect("a run");
    assert!(figures.print(), "{:?}", figures.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_providers_fail_clients_get_answers_or_errors_and_all_books_agree() {
    let figures = routing::run(600, 7).await.expect("a run");
    assert!(figures.print(), "{:?}", figures.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_and_answers_neither_stop_the_gateway_nor_lose_a_number() {
    let figures = hostile::run(2_000, 7).await.expect("a run");
    assert!(figures.print(), "{:?}", figures.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_envoy_had_flushed_before_a_kill_is_in_the_ledger_once() {
    for aggregator_away in [false, true] {
        let drill = Drill { flush_ms: 100, load: Duration::from_secs(4), aggregator_away };
        let figures = spool::run(drill).await.expect("a run");
        assert!(figures.print(), "{:?}", figures.problems);
    }
}

#[test]
fn the_docs_show_how_far_estimates_are_off() {
    let table = estimate::table(&estimate::measure().expect("texts and counts"));
    let docs = std::fs::read_to_string(workspace::root().join("docs/usage.md")).expect("docs/usage.md");
    assert!(docs.contains(&table), "`make estimate` prints another table than docs/usage.md shows:\n{table}");
}
