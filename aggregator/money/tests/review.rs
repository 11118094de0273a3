//! The weekly review: order, thresholds, and the report.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_money::amount::{Currency, Pico};
use weir_money::document::Form;
use weir_money::drivers::ModelUse;
use weir_money::ratio::Percent;
use weir_money::review::{self, Input, Pair, PlannedRow, Side, Version};

fn pico(text: &str) -> Pico {
    Pico::parse(text).expect("an amount")
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

fn side(revenue: &str, requests: u64, cost: &str) -> Side {
    let model = ModelUse { requests, output_tokens: requests * 100, output_cost: pico(cost), ..ModelUse::default() };
    Side { revenue: pico(revenue), other_cost: Pico::ZERO, models: BTreeMap::from([("m".to_owned(), model)]) }
}

fn input() -> Input {
    let pair = |before, after| Pair { before, after };
    let tenants = BTreeMap::from([
        ("steady".to_owned(), pair(side("100", 100, "10"), side("100", 100, "10"))),
        ("grows".to_owned(), pair(side("100", 100, "10"), side("100", 900, "90"))),
        ("leaves".to_owned(), pair(side("50", 100, "40"), side("50", 10, "4"))),
    ]);
    let version = |version: &str, day: &str, cost: &str| Version {
        version: version.to_owned(),
        first_seen: time(&format!("2026-11-{day}T00:00:00Z")),
        requests: 100,
        cost: pico(cost),
    };
    let versions = vec![version("v2", "20", "12"), version("v1", "10", "10"), version("v3", "22", "12.5")];
    let weeks = |margins: &[&str]| margins.iter().map(|margin| pico(margin)).collect();
    Input {
        tenants,
        versions: BTreeMap::from([("chat".to_owned(), versions)]),
        weeks: BTreeMap::from([
            ("always".to_owned(), weeks(&["5", "-1", "-2", "-3"])),
            ("once".to_owned(), weeks(&["-1", "-2", "0"])),
            ("young".to_owned(), weeks(&["-1", "-1"])),
        ]),
        planned: vec![
            PlannedRow::new("grows".to_owned(), "cost", pico("100"), pico("90"), Percent::whole(70)),
            PlannedRow::new("grows".to_owned(), "revenue", pico("100"), pico("65"), Percent::whole(70)),
        ],
        days: ("2026-11-16".to_owned(), "2026-11-22".to_owned()),
        ..Input::default()
    }
}

#[test]
fn the_largest_spender_and_the_greatest_loss_stand_first() {
    let view = review::review(&input(), Currency::USD, time("2026-11-16T00:00:00Z"), time("2026-11-23T00:00:00Z"));
    let keys = |changes: &[review::Change]| changes.iter().map(|change| change.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&view.by_spend), ["grows", "steady", "leaves"]);
    assert_eq!(keys(&view.by_change), ["grows", "leaves"], "losses first, then gains; steady did not change");
    assert_eq!(view.by_change[0].likely, "volume: requests 100 → 900, 100.00 % of the change");
    assert_eq!(view.concentration.0, Percent::of(90, 104));
    assert_eq!(view.sustained_negative, ["always"]);
}

#[test]
fn versions_are_compared_in_the_order_in_which_they_were_deployed() {
    let view = review::review(&input(), Currency::USD, time("2026-11-16T00:00:00Z"), time("2026-11-23T00:00:00Z"));
    let drift: Vec<_> =
        view.drift.iter().map(|drift| (drift.before.as_str(), drift.after.as_str(), drift.marked)).collect();
    assert_eq!(drift, [("v1", "v2", true), ("v2", "v3", false)]);
}

#[test]
fn cost_ahead_of_the_month_is_off_plan_and_revenue_a_little_behind_is_not() {
    let planned = input().planned;
    assert!(planned[0].off);
    assert!(!planned[1].off);
}

#[test]
fn the_report_reads_the_same_in_all_forms() {
    let view = review::review(&input(), Currency::USD, time("2026-11-16T00:00:00Z"), time("2026-11-23T00:00:00Z"));
    let document = review::document(&view);
    for form in [Form::Text, Form::Markdown, Form::Html] {
        let page = document.render(form);
        for words in
            ["Margin review, 2026-11-16 to 2026-11-22", "Tenants by spend", "requests 100 → 900", "86.54", "always"]
        {
            assert!(page.contains(words), "{form:?} lacks {words}: {page}");
        }
    }
}
