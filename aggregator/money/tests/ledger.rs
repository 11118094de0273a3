//! Costs in the ledger: counted with the events, kept when prices change, computed again on request, and the same when the
//! log is counted again.
#[path = "ledger/naive.rs"]
mod naive;
#[path = "ledger/world.rs"]
mod world;

use naive::{Priced, Sums};
use proptest::prelude::*;
use weir_contract::{Outcome, UsageStatus};
use weir_ledger::analysis::COMBINATIONS_MAX;
use weir_ledger::reprice::RepriceError;
use weir_ledger::view::cost::{CostQuery, PricedQuery, Step};
use world::{HOUR, Used, World, book};

const CHEAP: &str = "entries: [{provider: openai, model: m1, per_million: {input: 1, output: 4, cache_read: 0.25}}]";
const DEAR: &str = "entries: [{provider: openai, model: m1, per_million: {input: 2, output: 8, cache_read: 0.5}}]";

fn used(tenant: &'static str, model: &'static str, hour: u64) -> Used {
    Used { tenant, model, hour, input: 1_000, output: 100, ..Used::default() }
}

#[test]
fn an_event_is_priced_with_the_transaction_that_counts_it() {
    let mut world = World::new(Some(book(CHEAP)));
    let failed = Used { outcome: Outcome::UpstreamReset, status: UsageStatus::Estimated, ..used("acme", "m1", 0) };
    world.take(&[used("acme", "m1", 0), failed, used("acme", "m1", 1), used("globex", "m1", 0)]);
    let rows = world.cost(&CostQuery { step: Step::Hour, ..CostQuery::default() });
    let shown: Vec<_> =
        rows.iter().map(|row| (row.tenant.as_str(), row.sums.requests, row.sums.cost.to_string())).collect();
    assert_eq!(
        shown,
        [("acme", 2, "0.0028".to_owned()), ("globex", 1, "0.0014".to_owned()), ("acme", 1, "0.0014".to_owned())]
    );
    let sums = rows[0].sums;
    assert_eq!((sums.failed_requests, sums.estimated_requests), (1, 1));
    assert_eq!(
        (sums.failed_cost.to_string(), sums.estimated_cost.to_string()),
        ("0.0014".to_owned(), "0.0014".to_owned())
    );
}

#[test]
fn who_answered_for_a_model_is_read_from_the_latest_day_of_a_span() {
    let mut world = World::new(None);
    world.take(&(0..30).map(|hour| used("acme", if hour == 0 { "m1" } else { "m2" }, hour)).collect::<Vec<_>>());
    let found = |hours| world.providers_of(&["m1", "m2", "m9"], hours).into_keys().collect::<Vec<_>>();
    assert_eq!(found(0..2), ["m1", "m2"]);
    assert_eq!(found(1..30), ["m2"], "m1 was used before the span");
    assert_eq!(found(0..30), ["m2"], "not in the last 24 hours that anything was used in");
    assert_eq!(world.providers_of(&["m2"], 0..30)["m2"].iter().collect::<Vec<_>>(), ["openai"]);
}

#[test]
fn a_repeated_idempotency_key_marks_a_retry() {
    let mut world = World::new(Some(book(CHEAP)));
    let keyed = |hour| Used { key: Some("a".repeat(64)), ..used("acme", "m1", hour) };
    world.take(&[keyed(0), used("acme", "m1", 0)]);
    world.take(&[keyed(0), Used { tenant: "globex", ..keyed(0) }]);
    let rows = world.cost(&CostQuery::default());
    let retried: Vec<_> =
        rows.iter().map(|row| (row.sums.retried_requests, row.sums.retried_cost.to_string())).collect();
    assert_eq!(retried, [(1, "0.0014".to_owned()), (0, "0".to_owned())]);
    world.check_rebuilt();
}

#[test]
fn what_has_no_price_is_named_by_model_and_kind_beside_the_sums() {
    let mut world = World::new(Some(book(CHEAP)));
    world.take(&[used("acme", "m1", 0), used("acme", "m9", 0)]);
    let rows = world.cost(&CostQuery::default());
    let priced: Vec<_> = rows.iter().map(|row| (row.currency.is_some(), row.sums.unpriced_tokens)).collect();
    assert_eq!(priced, [(false, 1_100), (true, 0)]);
    let models = world.priced(&PricedQuery::default());
    let lacking = models.iter().find(|row| row.model == "m9").expect("listed");
    assert_eq!(
        (lacking.unpriced["input"], lacking.unpriced["output"], lacking.cost.to_string()),
        (1_000, 100, "0".to_owned())
    );
    assert_eq!(world.unpriced(), [("input".to_owned(), 1_000), ("output".to_owned(), 100)]);
}

#[test]
fn a_new_price_leaves_history_alone_until_it_is_asked_to() {
    let mut world = World::new(Some(book(CHEAP)));
    world.take(&[used("acme", "m1", 0), used("acme", "m1", 5)]);
    world.set(Some(book(DEAR)));
    world.take(&[used("acme", "m1", 5)]);
    assert_eq!(world.total("acme"), "0.0056", "two at the old price, one at the new");
    world.check_rebuilt();
    let dry = world.reprice(5, true).expect("a view");
    assert_eq!((dry.requests, world.total("acme")), (2, "0.0056".to_owned()), "a dry run changes nothing");
    let done = world.reprice(5, false).expect("a view");
    assert_eq!(
        (done.rows[0].old.to_string(), done.rows[0].new.to_string()),
        ("0.0042".to_owned(), "0.0056".to_owned())
    );
    assert_eq!(world.total("acme"), "0.007", "the hour before stays");
    world.check_rebuilt();
    let past = world.repricings();
    assert_eq!(
        (past.len(), past[0].who.as_str(), &past[0].rows),
        (1, "a test", &done.rows),
        "old and new stay visible"
    );
    world.set(Some(book(CHEAP)));
    world.take(&[used("acme", "m1", 5)]);
    assert_eq!(world.total("acme"), "0.0084", "what follows is priced by the book in use");
    world.check_rebuilt();
}

#[test]
fn events_of_before_there_were_prices_can_be_priced_later() {
    let mut world = World::new(None);
    world.take(&[used("acme", "m1", 0)]);
    assert!(world.cost(&CostQuery::default()).is_empty());
    assert_eq!(world.reprice(0, false), Err(RepriceError::NoPrices));
    world.set(Some(book(CHEAP)));
    world.take(&[used("acme", "m1", 0)]);
    assert_eq!(world.total("acme"), "0.0014");
    world.check_rebuilt();
    world.reprice(0, false).expect("a view");
    assert_eq!(world.total("acme"), "0.0028");
    world.check_rebuilt();
}

#[test]
fn an_early_event_is_priced_by_the_book_of_its_arrival() {
    let mut world = World::new(Some(book(CHEAP)));
    world.take(&[Used { ahead_ms: 2 * HOUR, ..used("acme", "m1", 0) }]);
    world.set(Some(book(DEAR)));
    world.take(&[]);
    world.release(3 * HOUR);
    assert_eq!(world.total("acme"), "0.0014");
    world.check_rebuilt();
}

#[test]
fn books_are_kept_for_as_long_as_the_log_has_records_of_theirs() {
    let mut world = World::new(Some(book(CHEAP)));
    world.take(&[used("acme", "m1", 0)]);
    world.set(Some(book(DEAR)));
    world.take(&[used("acme", "m1", 0)]);
    assert_eq!(world.drop_books(0), 0, "the first book prices a record that the log has");
    world.check_rebuilt();
    assert_eq!(world.drop_books(1), 1, "the log has no record of before the second");
    world.take(&[used("acme", "m1", 0)]);
    assert_eq!(world.total("acme"), "0.007");
}

#[test]
fn a_window_with_too_many_models_keeps_its_cost_when_it_is_priced_again() {
    let mut world = World::new(Some(book(CHEAP)));
    let name = |n: usize| -> &'static str { Box::leak(format!("m{n}").into_boxed_str()) };
    let many: Vec<_> = (1..=2 * COMBINATIONS_MAX as usize + 50).map(|n| used("acme", name(n), 0)).collect();
    many.chunks(500).for_each(|some| world.take(some));
    world.take(&[used("globex", "m1", 0), used("acme", "m1", 1)]);
    world.set(Some(book(DEAR)));
    let done = world.reprice(0, false).expect("a view");
    assert_eq!((done.left_requests, done.requests), (many.len() as u64, 2));
    assert_eq!((world.total("acme"), world.total("globex")), ("0.0042".to_owned(), "0.0028".to_owned()));
    world.check_rebuilt();
}

#[test]
fn sums_by_dimensions_and_by_tenant_are_the_same() {
    let mut world = World::new(Some(book(CHEAP)));
    world.take(&[used("acme", "m1", 0), used("acme", "m9", 1), Used { plan: "pro", ..used("acme", "m1", 2) }]);
    let by = world.cost(&CostQuery { by: Some("plan,model".to_owned()), ..CostQuery::default() });
    let values: Vec<_> = by.iter().map(|row| row.values.join(" ")).collect();
    assert_eq!(values, ["starter m9", "pro m1", "starter m1"]);
    let whole = world.cost(&CostQuery::default());
    for of in &whole {
        let mut sums = weir_ledger::view::cost::CostSums::default();
        by.iter().filter(|row| row.currency == of.currency).for_each(|row| sums.add(&row.sums));
        assert_eq!(sums, of.sums);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_sum_is_what_a_naive_reckoning_says(steps in naive::steps()) {
        let mut world = World::new(None);
        let mut reckoned: Vec<Priced> = Vec::new();
        let mut in_use = None;
        for step in &steps {
            match step {
                naive::Step::Take(events) => {
                    world.take(events);
                    reckoned.extend(events.iter().map(|event| Priced { event: event.clone(), book: in_use }));
                }
                naive::Step::Set(number) => {
                    world.set(number.map(|number| book(&naive::yaml(number))));
                    in_use = *number;
                }
                naive::Step::Reprice(hour) => {
                    let done = world.reprice(*hour, false);
                    prop_assert_eq!(done.is_ok(), in_use.is_some());
                    let concerned = reckoned.iter_mut().filter(|priced| priced.event.hour >= *hour);
                    concerned.for_each(|priced| priced.book = in_use.or(priced.book));
                }
            }
        }
        let rows = world.cost(&CostQuery { step: Step::Hour, ..CostQuery::default() });
        prop_assert_eq!(Sums::of_rows(&rows), Sums::reckoned(&reckoned));
        world.check_rebuilt();
    }
}
