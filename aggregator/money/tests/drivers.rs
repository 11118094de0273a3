//! Drivers of a change: they add up exactly, and each alone is found.
use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_money::amount::Pico;
use weir_money::drivers::{Driver, ModelUse, Models, decompose, total};
use weir_money::exact::Exact;

const INPUT: Pico = Pico(3_000_000);
const CACHED: Pico = Pico(300_000);
const OUTPUT: Pico = Pico(15_000_000);

/// Requests of one shape at fixed prices.
fn requests(count: u64, fresh: u64, cached: u64, output: u64) -> ModelUse {
    ModelUse {
        requests: count,
        retried_requests: 0,
        input_tokens: count * (fresh + cached),
        cache_read_tokens: count * cached,
        output_tokens: count * output,
        input_cost: INPUT.of_units(count * fresh),
        cache_read_cost: CACHED.of_units(count * cached),
        output_cost: OUTPUT.of_units(count * output),
        rest_cost: Pico::ZERO,
    }
}

fn only(model: ModelUse) -> Models {
    BTreeMap::from([("m".to_owned(), model)])
}

/// The one driver of a change, which has all of it.
fn sole(before: &Models, after: &Models) -> Driver {
    let shares = decompose(before, after);
    let (driver, share) = shares.main().expect("a driver");
    assert_eq!(share, shares.change(), "{shares:?}");
    driver
}

#[test]
fn each_driver_is_found_where_it_alone_moved() {
    let before = only(requests(1_000, 900, 100, 200));
    assert_eq!(sole(&before, &only(requests(1_500, 900, 100, 200))), Driver::Volume);
    let retried = ModelUse { retried_requests: 500, ..requests(1_500, 900, 100, 200) };
    assert_eq!(sole(&before, &only(retried)), Driver::Retries);
    assert_eq!(sole(&before, &only(requests(1_000, 1_800, 200, 400))), Driver::TokensPerRequest);
    assert_eq!(sole(&before, &only(requests(1_000, 100, 900, 200))), Driver::CacheShare);
    let dearer = ModelUse { output_cost: OUTPUT.of_units(400_000), ..requests(1_000, 900, 100, 200) };
    assert_eq!(sole(&before, &only(dearer)), Driver::Price);
    let other = BTreeMap::from([("new".to_owned(), requests(1_000, 900, 100, 2_000))]);
    assert_eq!(sole(&before, &other), Driver::ModelMix);
}

#[test]
fn the_words_have_the_numbers() {
    let before = only(requests(1_000, 900, 100, 200));
    let after = only(requests(1_500, 900, 100, 200));
    let words = decompose(&before, &after).words(&before, &after);
    assert_eq!(words, "volume: requests 1000 → 1500, 100.00 % of the change");
}

fn any_use() -> impl Strategy<Value = ModelUse> {
    let tokens = (0u64..2_000_000, 0u64..1_000_000, 0u64..1_000_000);
    let costs = (0i128..1 << 60, 0i128..1 << 60, 0i128..1 << 60, 0i128..1 << 50);
    (0u64..10_000, 0u64..10_000, tokens, costs).prop_map(|(requests, retried, (fresh, cached, output), costs)| {
        ModelUse {
            requests,
            retried_requests: retried.min(requests),
            input_tokens: fresh + cached,
            cache_read_tokens: cached,
            output_tokens: output,
            input_cost: Pico(costs.0),
            cache_read_cost: Pico(costs.1),
            output_cost: Pico(costs.2),
            rest_cost: Pico(costs.3),
        }
    })
}

fn any_models() -> impl Strategy<Value = Models> {
    prop::collection::btree_map("[a-d]", any_use(), 0..4)
}

proptest! {
    #[test]
    fn the_shares_add_up_to_the_change(before in any_models(), after in any_models()) {
        let change = total(&after).cost() - total(&before).cost();
        prop_assert_eq!(decompose(&before, &after).change(), change);
    }
}
