//! What the fuzz targets of prices, reports and price plans assert of any text. `aggregator/money/tests/any_text.rs` runs the same
//! functions on mutated seeds.
#![allow(dead_code, reason = "each fuzz target is a program that uses one of these")]
use std::path::Path;

use weir_contract::Timestamp;
use weir_ledger::cost::{Kind, Pricing, Quantities, Tariff};
use weir_ledger::periods::Anchor;
use weir_money::amount::Pico;
use weir_money::plans::file::PricePlanFile;
use weir_money::plans::{PricePlan, PricePlans};
use weir_money::prices::{Book, Layer, file, import};
use weir_money::revenue::{Used, bill, total, whole};
use weir_money::{charged, revenue};

/// Each target with what it is seeded with.
pub(crate) const SEEDS: [(&str, &str); 13] = [
    (
        "prices_file",
        "entries:\n- {model: m*, per_million: {input: 1}, batch: 0.5, above: [{input_tokens_over: 1, per_million: {output: 2}}]}\n",
    ),
    (
        "prices_file",
        "source: https://example.com\ndate: 2026-11-28\nentries:\n- provider: openai\n  model: gpt-4o\n  currency: EUR\n  effective_from: 2026-12-01T00:00:00Z\n  per_million: {input: 2.3, output: 9.2, cache_read: 0.3, cache_write_1h: 6}\n  per_request: 0.01\n  per_image: 0.04\n  per_search: 0.01\n  service_tier: {flex: 0.5, priority: {per_million: {input: 4}}}\n  batch: {per_million: {input: 1}}\n",
    ),
    (
        "prices_import",
        r#"{"gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token_above_200k_tokens_flex": 1e-05, "search_context_cost_per_query": {"search_context_size_medium": 0.01}, "output_cost_per_image": 0.04}}"#,
    ),
    (
        "prices_import",
        r#"{"google": {"id": "google", "models": {"gemini": {"cost": {"input": 1.25, "output": 10, "context_over_200k": {"input": 2.5}}}}}}"#,
    ),
    (
        "prices_import",
        r#"{"data": [{"id": "a/b", "pricing": {"prompt": "0.0000025", "completion": "0.00001", "web_search": "0.01", "image": "0.0025"}}]}"#,
    ),
    (
        "cost_report",
        r#"{"data": [{"start_time": 1795219200, "results": [{"amount": {"value": 0.057, "currency": "usd"}, "line_item": "gpt-4o, input"}]}]}"#,
    ),
    (
        "cost_report",
        r#"{"data": [{"starting_at": "2026-11-21T00:00:00Z", "results": [{"currency": "USD", "amount": "123.45", "model": "m"}]}]}"#,
    ),
    ("cost_report", "date,model,cost,currency\n2026-11-21,\"m, x\",\"1.5\",USD\n2026-11-22,m,-1e2,eur\n"),
    ("cost_report", "usage_date_utc,model,cost_usd\n1795219200,claude-sonnet-4-5,\"$1.2345\"\n"),
    (
        "price_plans",
        "- {name: growth, currency: EUR, base_fee: 99, minimum: 150, per_request: 0.001, plans: [pro-*], charges: [{meter: tokens, included: 10, per_unit: 0.000002}]}\n- {name: growth, currency: EUR, effective_from: 2027-01-01T00:00:00Z, base_fee: 119}\n",
    ),
    (
        "price_plans",
        "- name: tiers\n  currency: USD\n  charges:\n  - {meter: tokens, graduated: [{up_to: 10, per_unit: 0.1}, {per_unit: 0.08, flat: 10}]}\n  - {meter: requests, volume: [{up_to: 5, per_unit: 1}, {per_unit: 0.5}]}\n",
    ),
    (
        "price_plans",
        "- {name: credits, currency: USD, tenants: [acme], credits: {grant: 1000, expires_after: 2, burn: {tokens: 0.001}, per_credit: 0.02}, prorate: none}\n",
    ),
    (
        "price_plans",
        "- {name: passed-on, currency: JPY, cost_plus: 3.5, charges: [{meter: tokens, per_unit: 999999999999999}]}\n",
    ),
];

/// Runs the target of a name.
pub(crate) fn run(target: &str, text: &str) {
    match target {
        "prices_file" => prices_file(text),
        "prices_import" => prices_import(text),
        "cost_report" => cost_report(text),
        "price_plans" => price_plans(text),
        other => panic!("there is no target {other}"),
    }
}

/// A file of entries is refused with its place in the file, or makes a book that is read back as it was kept and prices any usage.
pub(crate) fn prices_file(text: &str) {
    let read = match file::parse(Path::new("prices.yaml"), text) {
        Ok(read) => read,
        Err(error) => return assert!(error.to_string().starts_with("prices.yaml"), "{error}"),
    };
    let book = match Book::new(vec![Layer { name: "prices.yaml".to_owned(), entries: read.entries }]) {
        Ok(book) => book,
        Err(error) => return assert!(error.field.starts_with("entries") && !error.problem.is_empty(), "{error}"),
    };
    assert_eq!(Book::read(book.text()).expect("a book that was kept").text(), book.text());
    prices_any_usage(&book);
}

fn prices_any_usage(book: &Book) {
    let mut quantities = Quantities::default();
    Kind::ALL.into_iter().for_each(|kind| quantities.set(kind, 1_000_000));
    let tariffs = ["", "batch", "flex"].map(|tier| Tariff { tier: tier.into(), over: 200_000 });
    for entry in book.layers().iter().flat_map(|layer| &layer.entries) {
        let provider = entry.provider.as_deref().unwrap_or("openai");
        for tariff in &tariffs {
            let cost = book.cost_of(Timestamp::default(), provider, &entry.model, tariff, &quantities);
            assert!(cost.cost >= Pico::ZERO, "{entry:?}");
        }
    }
}

/// A list of prices is refused with a reason, or makes a good book.
pub(crate) fn prices_import(text: &str) {
    match import::read(text) {
        Ok(imported) => {
            let book = Book::new(vec![Layer { name: "list".to_owned(), entries: imported.entries }]);
            prices_any_usage(&book.expect("what an import yields is a good book"));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// A provider's report is refused with a reason, or is compared to the last amount.
pub(crate) fn cost_report(text: &str) {
    match charged::read(text) {
        Ok(report) => {
            let compared = charged::compare(&report, &[], None);
            let theirs: Pico = report.charges.iter().map(|charge| charge.amount).sum();
            assert_eq!(compared.iter().map(|row| row.theirs).sum::<Pico>(), theirs);
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Price plans are refused with the field that is wrong, or bill any usage, and never less for more of a period.
pub(crate) fn price_plans(text: &str) {
    let Ok(files) = weir_settings::yaml::parse::<Vec<PricePlanFile>>(Path::new("weir.yaml"), text) else { return };
    let plans = match PricePlans::new(files, &["tokens".to_owned(), "requests".to_owned()]) {
        Ok(plans) => plans,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    plans.versions().iter().for_each(bills_any_usage);
}

fn bills_any_usage(plan: &PricePlan) {
    let period = Anchor::default().period(Timestamp::parse("2028-02-15T00:00:00Z").expect("a time"));
    for units in [0, 1, 5, 6, 10, 11, 1_000_000, u64::MAX] {
        let of = [("tokens".to_owned(), units), ("requests".to_owned(), units)];
        let used = Used { units: of.into_iter().collect(), cost: Pico(i128::from(units)) };
        let parts = [(whole(plan, period), used)];
        let early = Timestamp::from_millis(period.start.as_millis() + 1);
        let (begun, full) = (revenue::total(&parts, &[], early), total(&parts, &[], period.end));
        assert!(Pico::ZERO <= begun && begun <= full, "{plan:?}: {units} units: {begun} then {full}");
        assert_eq!(bill(&parts, &[], period.end).total, full);
    }
}
