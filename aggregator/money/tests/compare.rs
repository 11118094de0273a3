//! The same usage under several plans.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_ledger::periods::Anchor;
use weir_money::amount::{Currency, Pico};
use weir_money::compare::{Usage, UsedPeriod, compare};
use weir_money::plans::PricePlans;
use weir_money::ratio::Percent;

const PLANS: &str = "
- {name: per-token, currency: USD, charges: [{meter: tokens, per_unit: 0.01}]}
- {name: per-request, currency: USD, per_request: 1}
- {name: credits, currency: USD, base_fee: 50, credits: {grant: 1000, expires_after: 2, burn: {tokens: 1}, per_credit: 0.02}}
- {name: tiered, currency: USD, base_fee: 60, charges: [{meter: tokens, included: 5000, per_unit: 0.02}]}
- {name: cost-plus, currency: USD, cost_plus: 4}
- {name: euro, currency: EUR, base_fee: 70}
";

fn pico(text: &str) -> Pico {
    Pico::parse(text).expect("an amount")
}

fn month(number: u64, tokens: u64, requests: u64, cost: &str) -> UsedPeriod {
    let at = Timestamp::parse(&format!("2026-{number:02}-10T00:00:00Z")).expect("a time");
    UsedPeriod {
        period: Anchor::default().period(at),
        units: [("tokens".to_owned(), tokens), ("requests".to_owned(), requests)].into_iter().collect(),
        costs: BTreeMap::from([(Currency::USD, pico(cost))]),
        other_costs: BTreeMap::new(),
    }
}

#[test]
fn five_ways_to_price_the_same_two_months() {
    let meters = ["tokens".to_owned(), "requests".to_owned()];
    let plans = PricePlans::new(serde_saphyr::from_str(PLANS).expect("YAML"), &meters).expect("good plans");
    let usage = Usage {
        tenant: "acme".to_owned(),
        plan: Some("tiered".to_owned()),
        periods: vec![month(9, 4_000, 40, "10"), month(10, 8_000, 100, "30")],
    };
    let all: Vec<_> = plans.versions().iter().collect();
    let view = compare(&usage, &all);
    let row = |name: &str| view.plans.iter().find(|row| row.plan == name).expect("the plan");
    let revenue = |name: &str| row(name).revenue;
    assert_eq!(revenue("per-token"), pico("120"));
    assert_eq!(revenue("per-request"), pico("140"));
    // 3,000 beyond the first grant; 7,000 beyond the second, since nothing is left of the first.
    assert_eq!(revenue("credits"), pico("100") + pico("60") + pico("140"));
    assert_eq!(revenue("tiered"), pico("180"));
    assert_eq!(revenue("cost-plus"), pico("160"));
    assert_eq!(row("tiered").margin, pico("140"));
    assert_eq!(row("per-token").more_than_current, Some(pico("-60")));
    assert_eq!(row("tiered").spread_percent, Percent::of(60, 90));
    assert!(row("euro").other_currencies && row("euro").more_than_current.is_none());
    assert!(row("tiered").current && !row("euro").current);
}
