//! A provider's report beside our sums: each difference has its likely reason.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_ledger::view::cost::PricedRow;
use weir_money::amount::{Currency, Pico};
use weir_money::charged::{Charge, Compared, Reason, Report, compare};

fn day(number: u64) -> Timestamp {
    Timestamp::from_secs(1_795_219_200 + number * 86_400)
}

fn pico(text: &str) -> Pico {
    Pico::parse(text).expect("an amount")
}

fn charge(number: u64, model: &str, amount: &str) -> Charge {
    Charge { day: day(number), model: model.to_owned(), currency: Currency::USD, amount: pico(amount) }
}

fn row(number: u64, model: &str, amount: &str) -> PricedRow {
    PricedRow {
        start: Some(day(number)),
        provider: "openai".to_owned(),
        model: model.to_owned(),
        currency: Some(Currency::USD),
        cost: pico(amount),
        ..PricedRow::default()
    }
}

fn compared(charges: &[Charge], rows: &[PricedRow]) -> Vec<Compared> {
    compare(&Report { source: "a test", charges: charges.to_vec(), is_partial: false }, rows, None)
}

fn reasons(charges: &[Charge], rows: &[PricedRow]) -> Vec<Reason> {
    compared(charges, rows).iter().map(|row| row.reason).collect()
}

#[test]
fn rounding_is_no_difference() {
    assert_eq!(reasons(&[charge(0, "m", "100.05")], &[row(0, "m", "100")]), [Reason::Equal]);
    assert_eq!(reasons(&[charge(0, "m", "0.01")], &[row(0, "m", "0.006")]), [Reason::Equal]);
}

#[test]
fn a_model_that_only_one_side_knows_is_named() {
    let both = reasons(&[charge(0, "a", "5"), charge(0, "b", "5")], &[row(0, "a", "5"), row(0, "c", "5")]);
    assert_eq!(both, [Reason::Equal, Reason::NotThroughGateway, Reason::NotCharged]);
}

#[test]
fn units_without_a_price_explain_what_is_missing() {
    let unpriced = PricedRow { unpriced: BTreeMap::from([("search".to_owned(), 7)]), ..row(0, "m", "1") };
    let rows = compared(&[charge(0, "m", "2")], &[unpriced]);
    assert_eq!((rows[0].reason, rows[0].unpriced, rows[0].difference.to_string().as_str()), (Reason::Unpriced, 7, "1"));
}

#[test]
fn the_same_factor_on_every_day_is_a_price() {
    let charges = [charge(0, "m", "8"), charge(1, "m", "16")];
    assert_eq!(reasons(&charges, &[row(0, "m", "10"), row(1, "m", "20")]), [Reason::Price, Reason::Price]);
}

#[test]
fn what_the_next_day_makes_up_for_is_a_day_that_begins_elsewhere() {
    let charges = [charge(0, "m", "8"), charge(1, "m", "12")];
    assert_eq!(reasons(&charges, &[row(0, "m", "10"), row(1, "m", "10")]), [Reason::DayBoundary, Reason::DayBoundary]);
}

#[test]
fn what_nothing_else_explains_says_who_counts_more() {
    let charges = [charge(0, "m", "10"), charge(1, "m", "15"), charge(3, "m", "2")];
    let rows = [row(0, "m", "10"), row(1, "m", "10"), row(3, "m", "9")];
    assert_eq!(reasons(&charges, &rows), [Reason::Equal, Reason::TheyCountMore, Reason::WeCountMore]);
}

#[test]
fn a_name_without_its_date_is_that_of_the_one_dated_model() {
    assert_eq!(reasons(&[charge(0, "m", "5")], &[row(0, "m-2026-11-01", "5")]), [Reason::Equal]);
    let two = reasons(&[charge(0, "m", "5")], &[row(0, "m-2026-11-01", "2"), row(0, "m-2026-12-01", "3")]);
    assert_eq!(two, [Reason::NotThroughGateway, Reason::NotCharged, Reason::NotCharged]);
}

#[test]
fn days_that_the_report_does_not_have_are_left_out() {
    let rows = compared(&[charge(1, "m", "5")], &[row(0, "m", "9"), row(1, "m", "5"), row(2, "m", "9")]);
    assert_eq!(rows.len(), 1);
}
