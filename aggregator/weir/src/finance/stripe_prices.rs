//! `weir stripe prices`: do Stripe's prices say what the price plans say?
//!
//! A charge corresponds to a price with the meter's events, the plan's currency, and the same tiers; included units are a first tier
//! that costs nothing. Where no price agrees, the one that carries the plan's name (`lookup_key` or `nickname`) is compared, or the
//! only one with that meter and currency.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_money::amount::{Currency, PICO, Pico};
use weir_money::exact::minor_digits;
use weir_money::plans::{Charge, PricePlan, PricePlans, Pricing, Tier};
use weir_stripe::prices::{StripePrice, StripeScheme, StripeTier};

/// Answer to `POST /v1/stripe/prices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripePricesView {
    /// A row for each thing that a plan charges for.
    pub rows: Vec<PriceRow>,
}

impl StripePricesView {
    /// Whether something differs or is missing.
    pub fn needs_work(&self) -> bool {
        self.rows.iter().any(|row| matches!(row.state, PriceState::Differs | PriceState::Missing))
    }
}

/// One thing that a plan charges for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceRow {
    /// The price plan.
    pub plan: String,
    /// The meter, `base_fee`, `minimum`, `credits` or `cost_plus`.
    pub of: String,
    /// The outcome.
    pub state: PriceState,
    /// Stripe's price that was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// What differs, or what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The outcome of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceState {
    /// Stripe charges the same.
    Same,
    /// Stripe charges something else.
    Differs,
    /// Stripe has no such price.
    Missing,
    /// Stripe cannot charge for it by a price, or its meter is not reported.
    NotReported,
}

impl PriceState {
    /// The outcome as words.
    pub fn as_str(self) -> &'static str {
        match self {
            PriceState::Same => "same",
            PriceState::Differs => "differs",
            PriceState::Missing => "missing",
            PriceState::NotReported => "not at Stripe",
        }
    }
}

/// Compares the plans in force with Stripe's prices. `event_names` are Stripe's names of the meters that are reported.
pub fn compare(
    plans: &PricePlans,
    event_names: &BTreeMap<String, String>,
    prices: &[StripePrice],
    now: Timestamp,
) -> StripePricesView {
    let mut rows = Vec::new();
    for plan in plans.names().into_iter().filter_map(|name| plans.named(name, now)) {
        if plan.base_fee != Pico::ZERO {
            rows.push(base_fee(plan, prices));
        }
        rows.extend(plan.charges.iter().map(|charge| of_charge(plan, charge, event_names, prices)));
        rows.extend(unreported(plan));
    }
    StripePricesView { rows }
}

fn row(plan: &PricePlan, of: &str, state: PriceState, price: Option<&StripePrice>, detail: String) -> PriceRow {
    let price = price.map(|price| price.id.clone());
    PriceRow { plan: plan.name.clone(), of: of.to_owned(), state, price, detail }
}

fn base_fee(plan: &PricePlan, prices: &[StripePrice]) -> PriceRow {
    let fees: Vec<&StripePrice> =
        prices.iter().filter(|price| price.event_name.is_none() && is_currency(price, plan.currency)).collect();
    let tiers = [Tier { up_to: None, per_unit: plan.base_fee, flat: Pico::ZERO }];
    judge(plan, "base_fee", &tiers, false, &fees)
}

fn of_charge(plan: &PricePlan, charge: &Charge, names: &BTreeMap<String, String>, prices: &[StripePrice]) -> PriceRow {
    let Some(name) = names.get(&charge.meter) else {
        let detail = "the meter is not in `stripe.meters`, so its units are not reported".to_owned();
        return row(plan, &charge.meter, PriceState::NotReported, None, detail);
    };
    let candidates: Vec<&StripePrice> = prices
        .iter()
        .filter(|price| price.event_name.as_ref() == Some(name) && is_currency(price, plan.currency))
        .collect();
    judge(plan, &charge.meter, &charge.pricing.as_tiers(), matches!(charge.pricing, Pricing::Volume(_)), &candidates)
}

fn judge(plan: &PricePlan, of: &str, tiers: &[Tier], volume: bool, candidates: &[&StripePrice]) -> PriceRow {
    let differences = |price: &StripePrice| difference(plan.currency, tiers, volume, price);
    if let Some(same) = candidates.iter().find(|price| differences(price).is_none()) {
        return row(plan, of, PriceState::Same, Some(same), String::new());
    }
    let named = candidates.iter().find(|price| price.names.iter().any(|name| name.contains(&plan.name)));
    let only = || candidates.first().filter(|_| candidates.len() == 1 && of != "base_fee");
    match named.or_else(only) {
        Some(price) => row(plan, of, PriceState::Differs, Some(price), differences(price).unwrap_or_default()),
        None => {
            let detail =
                format!("no price in {} agrees; make one, and put the plan's name into its lookup_key", plan.currency);
            row(plan, of, PriceState::Missing, None, detail)
        }
    }
}

/// What Stripe does not bill by a price.
fn unreported(plan: &PricePlan) -> Vec<PriceRow> {
    let parts = [
        ("minimum", plan.minimum != Pico::ZERO),
        ("credits", plan.credits.is_some()),
        ("cost_plus", plan.cost_plus.is_some()),
    ];
    let there = parts.into_iter().filter(|(_, is_there)| *is_there);
    let detail = || "no price of Stripe's says this: bill it as an invoice item".to_owned();
    there.map(|(of, _)| row(plan, of, PriceState::NotReported, None, detail())).collect()
}

fn is_currency(price: &StripePrice, currency: Currency) -> bool {
    Currency::parse(&price.currency) == Some(currency)
}

/// The first difference, in words; None if the price charges the same.
fn difference(currency: Currency, tiers: &[Tier], volume: bool, price: &StripePrice) -> Option<String> {
    let theirs = match &price.scheme {
        StripeScheme::Other(why) => return Some(why.clone()),
        StripeScheme::PerUnit(unit) => {
            vec![StripeTier { up_to: None, unit: unit.clone(), flat: "0".to_owned() }]
        }
        StripeScheme::Graduated(theirs) if !volume || theirs.len() == 1 => theirs.clone(),
        StripeScheme::Volume(theirs) if volume || theirs.len() == 1 => theirs.clone(),
        StripeScheme::Graduated(_) => return Some("Stripe's tiers are graduated, the plan's are by volume".to_owned()),
        StripeScheme::Volume(_) => return Some("Stripe's tiers are by volume, the plan's are not".to_owned()),
    };
    if theirs.len() != tiers.len() {
        return Some(format!("Stripe has {} tiers, the plan has {}", theirs.len(), tiers.len()));
    }
    tiers.iter().zip(&theirs).enumerate().find_map(|(number, (ours, theirs))| {
        let place = if tiers.len() > 1 { format!("tier {}: ", number + 1) } else { String::new() };
        tier_difference(currency, ours, theirs).map(|difference| format!("{place}{difference}"))
    })
}

fn tier_difference(currency: Currency, ours: &Tier, theirs: &StripeTier) -> Option<String> {
    let end = |up_to: Option<u64>| up_to.map_or("the end".to_owned(), |up_to| up_to.to_string());
    if ours.up_to != theirs.up_to {
        return Some(format!("up to {} at Stripe, {} in the plan", end(theirs.up_to), end(ours.up_to)));
    }
    for (what, ours, theirs) in [("a unit", ours.per_unit, &theirs.unit), ("flat", ours.flat, &theirs.flat)] {
        let amount = of_minor(theirs, currency);
        if amount != Some(ours) {
            let shown = amount.map_or_else(|| theirs.clone(), |amount| amount.to_string());
            return Some(format!("{what} costs {shown} {currency} at Stripe, {ours} in the plan"));
        }
    }
    None
}

/// A decimal of the currency's smallest unit as an amount; None if it has more decimals than an amount.
fn of_minor(text: &str, currency: Currency) -> Option<Pico> {
    let (minor, per_unit) = (Pico::parse(text)?, 10_i128.pow(minor_digits(currency)));
    (minor.0 % per_unit == 0).then(|| Pico(minor.0 / per_unit)).filter(|amount| amount.0 <= PICO * PICO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euro() -> Currency {
        Currency::parse("EUR").expect("a currency")
    }

    #[test]
    fn cents_become_amounts_exactly() {
        assert_eq!(of_minor("0.0002", euro()), Pico::parse("0.000002"));
        assert_eq!(of_minor("1250", euro()), Pico::parse("12.5"));
        assert_eq!(of_minor("0.000000000001", euro()), None);
        assert_eq!(of_minor("7", Currency::parse("JPY").expect("a currency")), Pico::parse("7"));
    }
}
