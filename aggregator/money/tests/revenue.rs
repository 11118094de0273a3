//! Revenue against a reference that counts naively: unit by unit, in fractions of whole numbers.
use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_contract::Timestamp;
use weir_ledger::periods::{Anchor, Interval, Period};
use weir_money::amount::{Currency, Pico};
use weir_money::exact::Exact;
use weir_money::plans::PricePlans;
use weir_money::plans::file::{ChargeFile, CreditsFile, PricePlanFile, TierFile};
use weir_money::revenue::{self, Part, Used};

const DAY_MS: u64 = 24 * 3_600_000;

fn pico(text: &str) -> Pico {
    Pico::parse(text).expect("an amount")
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

fn file(name: &str) -> PricePlanFile {
    PricePlanFile {
        name: name.to_owned(),
        currency: Currency::USD,
        effective_from: None,
        plans: vec!["*".to_owned()],
        tenants: Vec::new(),
        base_fee: None,
        minimum: None,
        per_request: None,
        charges: Vec::new(),
        credits: None,
        cost_plus: None,
        prorate: None,
    }
}

fn plans(files: Vec<PricePlanFile>) -> PricePlans {
    PricePlans::new(files, &["tokens".to_owned(), "requests".to_owned()]).expect("good plans")
}

fn used(units: u64, cost: i128) -> Used {
    Used { units: [("tokens".to_owned(), units)].into_iter().collect(), cost: Pico(cost) }
}

/// The period that holds a day, of calendar months or of the anchor.
fn november() -> Period {
    Anchor::default().period(time("2026-11-15T00:00:00Z"))
}

/// A whole period's bill.
fn bill(plans: &PricePlans, period: Period, used: Used) -> revenue::Bill {
    let parts = revenue::parts(plans, "t", Some("p"), period);
    assert_eq!(parts.len(), 1);
    revenue::bill(&[(parts[0], used)], &[], period.end)
}

/// Prices unit by unit: the tier of a unit is the first whose end is not before it.
fn naive_graduated(tiers: &[TierFile], units: u64) -> i128 {
    let mut sum = tiers[0].flat.unwrap_or_default().0;
    let tier_of =
        |unit: u64| tiers.iter().position(|tier| tier.up_to.is_none_or(|end| unit <= end)).expect("a last tier");
    let mut highest = 0;
    for unit in 1..=units {
        let tier = tier_of(unit);
        let reached = tiers.iter().take(tier + 1).skip(highest + 1);
        sum += reached.map(|tier| tier.flat.unwrap_or_default().0).sum::<i128>();
        highest = highest.max(tier);
        sum += tiers[tier].per_unit.unwrap_or_default().0;
    }
    sum
}

fn naive_volume(tiers: &[TierFile], units: u64) -> i128 {
    let tier = tiers.iter().find(|tier| tier.up_to.is_none_or(|end| units <= end)).expect("a last tier");
    let mut sum = tier.flat.unwrap_or_default().0;
    for _ in 0..units {
        sum += tier.per_unit.unwrap_or_default().0;
    }
    sum
}

fn any_tiers() -> impl Strategy<Value = Vec<TierFile>> {
    let tier = (1u64..60, 0i128..2_000_000_000_000, prop_oneof![Just(0), 0i128..9_000_000_000_000]);
    prop::collection::vec(tier, 1..6).prop_map(|widths| {
        let last = widths.len() - 1;
        let mut end = 0;
        let tier = |(number, (width, price, flat)): (usize, (u64, i128, i128))| {
            end += width;
            let up_to = (number < last).then_some(end);
            TierFile { up_to, per_unit: Some(Pico(price)), flat: Some(Pico(flat)) }
        };
        widths.into_iter().enumerate().map(tier).collect()
    })
}

fn charge(meter: &str) -> ChargeFile {
    ChargeFile {
        meter: meter.to_owned(),
        included: None,
        per_unit: None,
        graduated: None,
        volume: None,
        currency: None,
    }
}

fn any_anchor() -> impl Strategy<Value = Anchor> {
    let interval = prop_oneof![Just(Interval::Day), Just(Interval::Week), Just(Interval::Month), Just(Interval::Year)];
    (0u64..4_000_000_000, interval).prop_map(|(at, interval)| Anchor { at: Timestamp::from_secs(at), interval })
}

proptest! {
    #[test]
    fn tiers_cost_what_counting_unit_by_unit_says(tiers in any_tiers(), units in 0u64..300) {
        // Edges are where tiers go wrong, so each is tried with the drawn number of units.
        let edges = tiers.iter().filter_map(|tier| tier.up_to).flat_map(|end| [end - 1, end, end + 1]);
        for units in edges.chain([0, units]) {
            let graduated = ChargeFile { graduated: Some(tiers.clone()), ..charge("tokens") };
            let volume = ChargeFile { volume: Some(tiers.clone()), ..charge("tokens") };
            let of = |charge| plans(vec![PricePlanFile { charges: vec![charge], ..file("p") }]);
            prop_assert_eq!(bill(&of(graduated), november(), used(units, 0)).total.0, naive_graduated(&tiers, units));
            prop_assert_eq!(bill(&of(volume), november(), used(units, 0)).total.0, naive_volume(&tiers, units));
        }
    }

    #[test]
    fn a_whole_period_costs_fee_usage_and_markup_or_the_minimum(
        (fee, minimum, price, cost) in (0i128..1_000_000_000_000_000, 0i128..2_000_000_000_000_000, 0i128..1_000_000_000_000, 0i128..1_000_000_000_000_000),
        (included, units, factor) in (0u64..500, 0u64..1_000, 0i128..5_000_000),
        anchor in any_anchor(), at in 1_000_000_000u64..4_000_000_000,
    ) {
        let factor = factor * 1_000_000;
        let plans = plans(vec![PricePlanFile {
            base_fee: Some(Pico(fee)),
            minimum: Some(Pico(minimum)),
            charges: vec![ChargeFile { included: Some(included), per_unit: Some(Pico(price)), ..charge("tokens") }],
            cost_plus: Some(Pico(factor)),
            ..file("p")
        }]);
        let markup = (cost * factor + 500_000_000_000) / 1_000_000_000_000;
        let due = fee + i128::from(units.saturating_sub(included)) * price + markup;
        let period = anchor.period(Timestamp::from_secs(at));
        prop_assert_eq!(bill(&plans, period, used(units, cost)).total.0, due.max(minimum), "whatever the length of the period");
    }

    #[test]
    fn spans_that_follow_each_other_add_up_to_the_period(
        fee in 0i128..1_000_000_000_000_000, minimum in 0i128..1_000_000_000_000_000, price in 0i128..1_000_000_000,
        hours in prop::collection::vec(0u64..1_000, 24), anchor in any_anchor(), at in 1_000_000_000u64..4_000_000_000,
    ) {
        let plans = plans(vec![PricePlanFile {
            base_fee: Some(Pico(fee)),
            minimum: Some(Pico(minimum)),
            charges: vec![ChargeFile { included: Some(300), per_unit: Some(Pico(price)), ..charge("tokens") }],
            ..file("p")
        }]);
        let period = anchor.period(Timestamp::from_secs(at));
        let part = revenue::parts(&plans, "t", Some("p"), period)[0];
        let (mut sum, mut before, mut units) = (0, 0, 0);
        for (step, more) in hours.iter().enumerate() {
            units += more;
            let share = period.end.millis_since(period.start) / 24 * (step as u64 + 1);
            let until = if step == 23 { period.end } else { period.start.plus_millis(share) };
            let so_far = revenue::bill(&[(part, used(units, 0))], &[], until).total.0;
            prop_assert!(so_far >= before, "a bill never shrinks");
            sum += so_far - before;
            before = so_far;
        }
        prop_assert_eq!(sum, bill(&plans, period, used(units, 0)).total.0);
    }

    #[test]
    fn two_versions_share_the_days_of_a_period(
        old in 0i128..1_000_000_000_000, new in 0i128..1_000_000_000_000, day in 1u64..28, month in 0usize..4,
    ) {
        // A leap February, a plain one, a month of 30 and one of 31 days.
        let (start, days) = [("2028-02-01", 29), ("2026-02-01", 28), ("2026-11-01", 30), ("2026-12-01", 31)][month];
        let start = time(&format!("{start}T00:00:00Z"));
        let from = start.plus_millis(day * DAY_MS);
        let plans = plans(vec![
            PricePlanFile { base_fee: Some(Pico(old * 2 * days)), ..file("p") },
            PricePlanFile { base_fee: Some(Pico(new * 2 * days)), effective_from: Some(from), ..file("p") },
        ]);
        let period = Anchor::default().period(start);
        prop_assert_eq!(period.end.millis_since(start) / DAY_MS, days as u64);
        let parts: Vec<(Part<'_>, Used)> =
            revenue::parts(&plans, "t", Some("p"), period).into_iter().map(|part| (part, Used::default())).collect();
        prop_assert_eq!(parts.len(), 2);
        let due = 2 * old * i128::from(day) + 2 * new * (days - i128::from(day));
        prop_assert_eq!(revenue::bill(&parts, &[], period.end).total.0, due);
    }

    #[test]
    fn credits_are_bought_for_what_no_live_grant_covers(
        grant in 0u64..100, burns in prop::collection::vec(0u64..250, 1..8), expires_after in 1u32..5,
    ) {
        let credits = CreditsFile {
            grant: Pico(i128::from(grant) * 1_000_000_000_000),
            expires_after: Some(expires_after),
            burn: BTreeMap::from([("tokens".to_owned(), pico("1"))]),
            per_credit: Some(pico("0.5")),
        };
        let plans = plans(vec![PricePlanFile { credits: Some(credits), ..file("p") }]);
        // Credit by credit: each burns the oldest one that is alive, or is bought.
        let (mut alive, mut bought) = (Vec::<usize>::new(), 0);
        for (now, burnt) in burns.iter().enumerate() {
            alive.retain(|born| now - born < expires_after as usize);
            alive.extend(std::iter::repeat_n(now, grant as usize));
            bought = 0;
            for _ in 0..*burnt {
                if alive.is_empty() { bought += 1 } else { alive.remove(0); }
            }
        }
        let mut period = november();
        let mut priced: Vec<(Part<'_>, Used)> = Vec::new();
        for burnt in &burns {
            priced.push((revenue::parts(&plans, "t", Some("p"), period)[0], used(*burnt, 0)));
            period = Anchor::default().period(period.end);
        }
        let (last, before) = priced.split_last().expect("one at least");
        let total = revenue::bill(std::slice::from_ref(last), before, last.0.period.end).total;
        prop_assert_eq!(total, pico("0.5").of_units(bought));
    }
}

#[test]
fn a_minimum_pays_the_difference_only() {
    let plans = plans(vec![PricePlanFile { base_fee: Some(pico("20")), minimum: Some(pico("50")), ..file("p") }]);
    let bill = bill(&plans, november(), Used::default());
    let lines: Vec<_> = bill.lines.iter().map(|line| (line.kind.as_str(), line.amount.to_string())).collect();
    assert_eq!(lines, [("base_fee", "20".to_owned()), ("minimum", "30".to_owned())]);
}

#[test]
fn each_line_is_rounded_by_itself_as_on_an_invoice() {
    let tiers = vec![
        TierFile { up_to: Some(1), per_unit: Some(pico("0.005")), flat: None },
        TierFile { up_to: None, per_unit: Some(pico("0.005")), flat: None },
    ];
    let plans = plans(vec![PricePlanFile {
        charges: vec![ChargeFile { graduated: Some(tiers), ..charge("tokens") }],
        ..file("p")
    }]);
    let bill = bill(&plans, november(), used(2, 0));
    assert_eq!((bill.total, bill.minor_units(Currency::USD)), (pico("0.01"), 2));
}

#[test]
fn each_version_has_its_included_units_whole_and_a_part_of_its_fee() {
    let day = |number: u64| Some(november().start.plus_millis(number * DAY_MS));
    let of = |included, from| PricePlanFile {
        base_fee: Some(pico("30")),
        charges: vec![ChargeFile { included: Some(included), per_unit: Some(pico("1")), ..charge("tokens") }],
        effective_from: from,
        ..file("p")
    };
    let plans = plans(vec![of(300, None), of(600, day(10))]);
    let parts = revenue::parts(&plans, "t", None, november());
    assert!(parts.is_empty(), "the plan of a tenant that the tenants file lacks is not known");
    let parts = revenue::parts(&plans, "t", Some("p"), november());
    let priced: Vec<_> = parts.into_iter().zip([used(350, 0), used(650, 0)]).collect();
    assert_eq!(revenue::bill(&priced[..1], &[], november().end).total, pico("60"), "10 of 30 days, and 50 units");
    assert_eq!(revenue::bill(&priced, &[], november().end).total, pico("130"));
}

fn credits(grant: &str) -> Option<CreditsFile> {
    Some(CreditsFile {
        grant: pico(grant),
        expires_after: Some(2),
        burn: BTreeMap::from([("tokens".to_owned(), pico("1"))]),
        per_credit: Some(pico("1")),
    })
}

fn october() -> Period {
    Anchor::default().period(time("2026-10-15T00:00:00Z"))
}

/// The bills of October and November.
fn two_months(plans: &PricePlans, began: &str, october_used: &[u64], november_used: u64) -> [String; 2] {
    let parts = |period| revenue::parts(plans, "t", Some("p"), period).into_iter().map(|part| part.since(time(began)));
    let before: Vec<_> = parts(october()).zip(october_used.iter().map(|units| used(*units, 0))).collect();
    let now: Vec<_> = parts(november()).zip([used(november_used, 0)]).collect();
    let total = |now: &[(Part<'_>, Used)], before: &[(Part<'_>, Used)], period: Period| {
        revenue::bill(now, before, period.end).total.to_string()
    };
    [total(&before, &[], october()), total(&now, &before, november())]
}

#[test]
fn a_grant_of_a_part_period_is_carried_as_the_part_that_was_granted() {
    let plans = plans(vec![PricePlanFile { credits: credits("100"), ..file("p") }]);
    // 7 of 31 days: 22.58 credits.
    let began = "2026-10-25T05:00:00Z";
    assert_eq!(two_months(&plans, began, &[60], 120), ["37.41935483871", "20"], "nothing is left of October");
    assert_eq!(two_months(&plans, began, &[10], 120), ["0", "7.41935483871"], "12.58 are left");
}

#[test]
fn a_line_of_credits_shows_the_quantity_that_its_price_is_multiplied_by() {
    let plans = plans(vec![PricePlanFile { credits: credits("100"), ..file("p") }]);
    let part = revenue::parts(&plans, "t", Some("p"), october())[0].since(time("2026-10-25T05:00:00Z"));
    let bill = revenue::bill(&[(part, used(60, 0))], &[], october().end);
    let [line] = bill.lines.as_slice() else { panic!("one line: {bill:?}") };
    assert_eq!((line.quantity, line.exact_quantity().as_str()), (37, "37.41935483871"));
    assert_eq!(line.price.scaled(line.credits.expect("exact").0, 1_000_000_000_000), line.amount);
}

#[test]
fn credits_of_two_versions_in_a_period_are_carried_as_each_granted_them() {
    let later = Some(time("2026-10-26T00:00:00Z"));
    let plans = plans(vec![
        PricePlanFile { credits: credits("100"), ..file("p") },
        PricePlanFile { credits: credits("200"), effective_from: later, ..file("p") },
    ]);
    let began = "2026-10-01T00:00:00Z";
    assert_eq!(two_months(&plans, began, &[100, 10], 240), ["19.354838709677", "11.290322580645"]);
    // 80.65 of the first version, 38.71 of the second: what the first part leaves is burnt in the second, once.
    assert_eq!(two_months(&plans, began, &[0, 150], 240), ["30.645161290322", "40"]);
}

#[test]
fn credits_lapse_with_the_plan() {
    let plans = plans(vec![
        PricePlanFile { credits: credits("100"), ..file("p") },
        PricePlanFile { credits: credits("100"), plans: vec!["q".to_owned()], ..file("other") },
    ]);
    let month = |plan: &str, period, units| vec![(revenue::parts(&plans, "t", Some(plan), period)[0], used(units, 0))];
    let total = |before: &str| {
        revenue::bill(&month("p", november(), 150), &month(before, october(), 0), november().end).total.to_string()
    };
    assert_eq!((total("p"), total("q")), ("0".to_owned(), "50".to_owned()));
    let september = Anchor::default().period(time("2026-09-15T00:00:00Z"));
    let bill = revenue::bill(&month("p", november(), 150), &month("p", september, 0), november().end);
    assert_eq!(bill.total.to_string(), "50", "a period without the plan lies between");
}

#[test]
fn usage_before_a_tenant_pays_fees_is_charged_and_no_fee_is() {
    let tiers = vec![TierFile { up_to: None, per_unit: Some(pico("2")), flat: Some(pico("7")) }];
    let plans = plans(vec![PricePlanFile {
        base_fee: Some(pico("30")),
        minimum: Some(pico("60")),
        charges: vec![ChargeFile { graduated: Some(tiers), ..charge("tokens") }],
        cost_plus: Some(pico("2")),
        ..file("p")
    }]);
    let total = |began: &str, units, cost| {
        let part = revenue::parts(&plans, "t", Some("p"), november())[0].since(time(began));
        revenue::bill(&[(part, used(units, cost))], &[], november().end).total.to_string()
    };
    assert_eq!(total("2026-11-12T09:00:00Z", 100, 0), "226", "19 of 30 days, all units, and the tier's fee");
    assert_eq!(total("2027-01-01T00:00:00Z", 1, 0), "9", "usage and the tier that it reaches");
    assert_eq!(total("2027-01-01T00:00:00Z", 0, 0), "0", "not there yet: no tier, no minimum");
    assert_eq!(total("2026-10-01T00:00:00Z", 0, 0), "60");
}
