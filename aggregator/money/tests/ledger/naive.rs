//! A reckoning that knows nothing of the ledger: one event at a time, in whole trillionths.
use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_contract::{Outcome, Timestamp, UsageStatus};
use weir_ledger::view::cost::CostRow;

use crate::world::{HOUR, Used};

/// Prices by book and model, in millionths for a million tokens: that many trillionths for a token. Input, cached input,
/// output, and the same above 200,000 tokens of input.
const BOOKS: [[Option<[i128; 6]>; 3]; 3] = [
    [Some([2_500_000, 1_250_000, 10_000_000, 2_500_000, 1_250_000, 10_000_000]), None, Some([1, 1, 3, 7, 1, 11])],
    [Some([3_000_000, 300_000, 15_000_000, 6_000_000, 600_000, 22_500_000]), Some([0, 0, 0, 0, 0, 0]), None],
    [None, Some([150_000, 75_000, 600_000, 150_000, 75_000, 600_001]), Some([999_999, 1, 1, 999_999, 1, 1])],
];
const MODELS: [&str; 3] = ["m1", "m2", "m3"];
const TENANTS: [&str; 2] = ["acme", "globex"];

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Take(Vec<Used>),
    Set(Option<usize>),
    Reprice(u64),
}

/// An event, and the book that prices it.
pub(crate) struct Priced {
    pub(crate) event: Used,
    pub(crate) book: Option<usize>,
}

/// A book as a file of entries.
pub(crate) fn yaml(number: usize) -> String {
    let micro = |price: i128| format!("{}.{:06}", price / 1_000_000, price % 1_000_000);
    let entry = |(model, prices): (&str, &Option<[i128; 6]>)| {
        let [input, cached, output, long_input, long_cached, long_output] = prices.as_ref()?.map(micro);
        Some(format!(
            "{{provider: openai, model: {model}, per_million: {{input: {input}, cache_read: {cached}, output: {output}}}, \
             above: [{{input_tokens_over: 200000, per_million: \
             {{input: {long_input}, cache_read: {long_cached}, output: {long_output}}}}}]}}"
        ))
    };
    let entries: Vec<String> = MODELS.into_iter().zip(&BOOKS[number]).filter_map(entry).collect();
    format!("entries: [{}]", entries.join(", "))
}

fn event() -> impl Strategy<Value = Used> {
    let input = prop_oneof![0..300_u64, Just(200_000), Just(200_001), 0..400_000_u64];
    let status = prop_oneof![Just(UsageStatus::Complete), Just(UsageStatus::Estimated)];
    let outcome = prop_oneof![Just(Outcome::Ok), Just(Outcome::ClientClosed), Just(Outcome::UpstreamReset)];
    (0..2_usize, 0..3_usize, 0..6_u64, input, 0..100_u64, 0..5_000_u64, status, outcome).prop_map(
        |(tenant, model, hour, input, share, output, status, outcome)| Used {
            tenant: TENANTS[tenant],
            model: MODELS[model],
            hour,
            input,
            cached: input * share / 100,
            output,
            status,
            outcome,
            ..Used::default()
        },
    )
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(event(), 0..8).prop_map(Step::Take),
        2 => prop::option::weighted(0.9, 0..3_usize).prop_map(Step::Set),
        1 => (0..6_u64).prop_map(Step::Reprice),
    ];
    prop::collection::vec(step, 1..16)
}

/// Hour, tenant, and whether there is a price.
type Key = (u64, String, bool);
/// Requests, cost, failed cost, and tokens without a price.
type Sum = (u64, i128, i128, u64);

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums(BTreeMap<Key, Sum>);

impl Sums {
    pub(crate) fn reckoned(events: &[Priced]) -> Self {
        let mut sums = Sums::default();
        for Priced { event, book } in events {
            let Some(book) = book else { continue };
            let model = MODELS.iter().position(|model| *model == event.model).expect("a known model");
            let prices = BOOKS[*book][model];
            let sum = sums.0.entry((event.hour, event.tenant.to_owned(), prices.is_some())).or_default();
            sum.0 += 1;
            match prices {
                None => sum.3 += event.input + event.output,
                Some(prices) => {
                    let from = if event.input > 200_000 { 3 } else { 0 };
                    let (text, cached) = (i128::from(event.input - event.cached), i128::from(event.cached));
                    let cost =
                        text * prices[from] + cached * prices[from + 1] + i128::from(event.output) * prices[from + 2];
                    sum.1 += cost;
                    sum.2 += if event.outcome == Outcome::UpstreamReset { cost } else { 0 };
                }
            }
        }
        sums
    }

    pub(crate) fn of_rows(rows: &[CostRow]) -> Self {
        let mut sums = Sums::default();
        let first = rows.iter().filter_map(|row| row.start).min().map_or(0, Timestamp::as_millis);
        let base = 1_795_262_400_000;
        assert!(first == 0 || first >= base, "no event is earlier");
        for row in rows {
            let hour = row.start.map_or(0, |start| (start.as_millis() - base) / HOUR);
            let of = (row.sums.requests, row.sums.cost.0, row.sums.failed_cost.0, row.sums.unpriced_tokens);
            sums.0.insert((hour, row.tenant.clone(), row.currency.is_some()), of);
        }
        sums
    }
}
