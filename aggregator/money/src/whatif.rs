//! The measured traffic under other conditions: another model mix, other prices, a cache hit rate, a cap.
mod mix;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::glob;

use crate::amount::{Currency, Pico};
use crate::drivers::{ModelUse, Models, total};
use crate::exact::Exact;
use crate::margin::{Level, Unpriced};
use crate::ratio::Percent;

/// The most models that a refusal names.
const MODELS_NAMED: usize = 12;

/// The other conditions. What is absent stays as it was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenario {
    /// The share of requests of each model; together 100 %.
    pub mix: BTreeMap<String, Percent>,
    /// The price of models, by pattern, as a share of today's.
    pub prices: BTreeMap<String, Percent>,
    /// The share of input that comes from a cache.
    pub cache: Option<Percent>,
    /// The most that a tenant costs per month; what is beyond is refused, with the revenue that it would bring.
    pub cap: Option<Pico>,
    /// Revenue as a share of today's.
    pub revenue: Option<Percent>,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct MeasuredTime<'m> {
    /// By model.
    pub models: &'m Models,
    /// By tenant and month.
    pub months: &'m [TenantMonth],
    /// The currency of every amount.
    pub currency: Currency,
    /// Costs that no request causes.
    pub other_cost: Pico,
}

/// What a tenant cost and brought in within a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantMonth {
    /// Cost.
    pub cost: Pico,
    /// Revenue.
    pub revenue: Pico,
}

/// The price of a million tokens of each kind, as the price book has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MillionRates {
    /// Input.
    pub input: Pico,
    /// Input from a cache.
    pub cache_read: Pico,
    /// Output.
    pub output: Pico,
}

/// Why a scenario cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhatIfError {
    /// There is nothing to change.
    #[error("no request with a cost is known in this time")]
    NoTraffic,
    /// The shares of the mix are not 100 %.
    #[error("the shares of the models add up to {0} %, not to 100 %")]
    Mix(Percent),
    /// A model has neither a measured nor a listed price.
    #[error("{0:?} was not used in this time, and the price book has no price for it: add one to `prices`")]
    Unpriced(String),
    /// A pattern of `price` fits no model.
    #[error("price: {0:?} fits no model of this time; there are {1}")]
    NoModel(String, String),
    /// A share is above one hundred percent.
    #[error("a cache cannot serve {0} % of the input")]
    Cache(Percent),
}

/// Sums before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What tenants pay.
    pub revenue: Pico,
    /// What providers charge.
    pub cost: Pico,
    /// Costs that no request causes; a scenario leaves them as they are.
    #[serde(default)]
    pub other_cost: Pico,
    /// Revenue less both costs.
    pub margin: Pico,
    /// The same as a share of revenue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin_percent: Option<Percent>,
    /// How good the margin is.
    pub level: Level,
}

impl Outcome {
    fn new(revenue: Pico, cost: Pico, other_cost: Pico) -> Self {
        let margin = revenue - cost - other_cost;
        let margin_percent = Percent::of(margin.0, revenue.0);
        Outcome { revenue, cost, other_cost, margin, margin_percent, level: Level::of(revenue, margin) }
    }
}

/// A model before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRow {
    /// The model.
    pub model: String,
    /// Its requests, as measured.
    pub requests_before: u64,
    /// Its requests in the scenario.
    pub requests_after: u64,
    /// Its cost, as measured.
    pub cost_before: Pico,
    /// Its cost in the scenario, before a cap.
    pub cost_after: Pico,
}

/// Answer to `weir whatif`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIfView {
    /// The currency.
    pub currency: Currency,
    /// As measured.
    pub before: Outcome,
    /// In the scenario.
    pub after: Outcome,
    /// By model.
    pub models: Vec<ModelRow>,
    /// Months of tenants that the cap cuts.
    pub capped: u64,
    /// Usage without a price, in any currency: no sum includes its cost.
    #[serde(default, skip_serializing_if = "Unpriced::is_none")]
    pub unpriced: Unpriced,
    /// What the numbers rest on.
    pub assumptions: Vec<String>,
}

/// Computes a scenario over measured traffic. `listed` gives the price book's rates of a model.
pub fn compute(
    scenario: &Scenario,
    time: &MeasuredTime<'_>,
    listed: &dyn Fn(&str) -> Option<MillionRates>,
) -> Result<WhatIfView, WhatIfError> {
    let MeasuredTime { models, months, currency, other_cost } = *time;
    let measured = total(models);
    if measured.requests == 0 {
        return Err(WhatIfError::NoTraffic);
    }
    check(scenario)?;
    check_prices(scenario, models)?;
    let planned =
        if scenario.mix.is_empty() { models.clone() } else { mix::mixed(&scenario.mix, models, measured.requests) };
    let mut rows = Vec::new();
    for name in models.keys().chain(planned.keys().filter(|name| !models.contains_key(*name))) {
        let (before, after) = (models.get(name).copied().unwrap_or_default(), planned.get(name));
        let cost_after =
            after.map(|after| cost(scenario, name, &before, after, listed)).transpose()?.unwrap_or_default();
        rows.push(ModelRow {
            model: name.clone(),
            requests_before: before.requests,
            requests_after: after.map_or(0, |after| after.requests),
            cost_before: before.cost(),
            cost_after,
        });
    }
    let cost_after = rows.iter().map(|row| row.cost_after).sum();
    let capped = cap(scenario, months, measured.cost(), cost_after);
    let revenue_before = months.iter().map(|month| month.revenue).sum();
    Ok(WhatIfView {
        currency,
        before: Outcome::new(revenue_before, measured.cost(), other_cost),
        after: Outcome::new(capped.revenue, capped.cost, other_cost),
        models: rows,
        capped: capped.months,
        unpriced: Unpriced::default(),
        assumptions: assumptions(scenario),
    })
}

fn check(scenario: &Scenario) -> Result<(), WhatIfError> {
    let shares: i64 = scenario.mix.values().map(|share| share.0).sum();
    if !scenario.mix.is_empty() && shares != Percent::ALL.0 {
        return Err(WhatIfError::Mix(Percent(shares)));
    }
    match scenario.cache {
        Some(share) if share > Percent::ALL => Err(WhatIfError::Cache(share)),
        _ => Ok(()),
    }
}

/// Refuses a price that would change nothing: a slip of the pen.
fn check_prices(scenario: &Scenario, models: &Models) -> Result<(), WhatIfError> {
    let names = || models.keys().chain(scenario.mix.keys());
    match scenario.prices.keys().find(|pattern| !names().any(|name| glob::matches(pattern, name))) {
        Some(pattern) => {
            let known: Vec<&str> = names().map(String::as_str).take(MODELS_NAMED).collect();
            Err(WhatIfError::NoModel(pattern.clone(), known.join(", ")))
        }
        None => Ok(()),
    }
}

fn part(units: u64, share: Percent) -> u64 {
    let part = u128::from(units) * u128::from(share.0.unsigned_abs()) / u128::from(Percent::ALL.0.unsigned_abs());
    u64::try_from(part).unwrap_or(units)
}

/// What a model costs in the scenario: its measured price of each kind of token, or that of the price book.
fn cost(
    scenario: &Scenario,
    name: &str,
    before: &ModelUse,
    after: &ModelUse,
    listed: &dyn Fn(&str) -> Option<MillionRates>,
) -> Result<Pico, WhatIfError> {
    let book = listed(name);
    let cached = scenario.cache.map_or(after.cache_read_tokens, |share| part(after.input_tokens, share));
    let fresh = after.input_tokens.saturating_sub(cached);
    let of = |tokens: u64, measured: (Pico, u64), listed: fn(&MillionRates) -> Pico| {
        let by_book = || book.as_ref().map(|rates| listed(rates).scaled(i128::from(tokens), 1_000_000));
        match measured {
            _ if tokens == 0 => Ok(Pico::ZERO),
            (cost, used) if used > 0 => Ok(cost.scaled(i128::from(tokens), i128::from(used))),
            _ => by_book().ok_or_else(|| WhatIfError::Unpriced(name.to_owned())),
        }
    };
    let sum = of(fresh, (before.input_cost, before.fresh_tokens()), |rates| rates.input)?
        + of(cached, (before.cache_read_cost, before.cache_read_tokens), |rates| rates.cache_read)?
        + of(after.output_tokens, (before.output_cost, before.output_tokens), |rates| rates.output)?
        + before.rest_cost.scaled(i128::from(after.requests), i128::from(before.requests.max(1)));
    let fits = scenario.prices.iter().filter(|(pattern, _)| glob::matches(pattern, name));
    let factor = fits.max_by_key(|(pattern, _)| pattern.len()).map_or(Percent::ALL, |(_, factor)| *factor);
    Ok(sum.scaled(i128::from(factor.0), i128::from(Percent::ALL.0)))
}

struct Capped {
    cost: Pico,
    revenue: Pico,
    months: u64,
}

/// Cuts each tenant's month to the cap, and its revenue in the same proportion.
fn cap(scenario: &Scenario, months: &[TenantMonth], before: Pico, after: Pico) -> Capped {
    let factor = scenario.revenue.unwrap_or(Percent::ALL);
    let revenue = |month: &TenantMonth| month.revenue.scaled(i128::from(factor.0), i128::from(Percent::ALL.0));
    let Some(cap) = scenario.cap else {
        return Capped { cost: after, revenue: months.iter().map(revenue).sum(), months: 0 };
    };
    let mut capped = Capped { cost: Pico::ZERO, revenue: Pico::ZERO, months: 0 };
    for month in months {
        let cost = month.cost.scaled(after.0, before.0.max(1));
        let kept = cost.min(cap);
        capped.months += u64::from(cost > cap);
        capped.cost += kept;
        capped.revenue += if cost > cap { revenue(month).scaled(kept.0, cost.0) } else { revenue(month) };
    }
    capped
}

fn assumptions(scenario: &Scenario) -> Vec<String> {
    let mut said = Vec::new();
    if !scenario.mix.is_empty() {
        said.push(
            "requests that move to another model have as many tokens as all that move have on average".to_owned(),
        );
    }
    if scenario.cache.is_some() {
        said.push("every model can read its input from a cache at its cached price".to_owned());
    }
    if scenario.cap.is_some() {
        said.push("what a cap refuses brings no revenue, in proportion to its cost".to_owned());
    }
    said.push("tenants send the same requests as in the measured time".to_owned());
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pico(text: &str) -> Pico {
        Pico::parse(text).expect("an amount")
    }

    fn measured() -> Models {
        let large = ModelUse {
            requests: 100,
            input_tokens: 100_000,
            output_tokens: 10_000,
            input_cost: pico("10"),
            output_cost: pico("5"),
            ..ModelUse::default()
        };
        Models::from([("large".to_owned(), large)])
    }

    fn listed(model: &str) -> Option<MillionRates> {
        (model != "unknown").then(|| MillionRates { input: pico("10"), cache_read: pico("1"), output: pico("50") })
    }

    fn run(scenario: &Scenario) -> Result<WhatIfView, WhatIfError> {
        let months = [
            TenantMonth { cost: pico("12"), revenue: pico("60") },
            TenantMonth { cost: pico("3"), revenue: pico("40") },
        ];
        let (models, months) = (&measured(), &months);
        let time = MeasuredTime { models, months, currency: Currency::USD, other_cost: Pico::ZERO };
        compute(scenario, &time, &listed)
    }

    #[test]
    fn half_the_requests_on_a_cheaper_model_cost_its_listed_price() {
        let half = Percent::whole(50);
        let mix = BTreeMap::from([("large".to_owned(), half), ("small".to_owned(), half)]);
        let view = run(&Scenario { mix, ..Scenario::default() }).expect("a scenario");
        // Large: half of 15. Small: 50,000 × 10 + 5,000 × 50 per million.
        assert_eq!(view.after.cost, pico("7.5") + pico("0.75"));
        assert_eq!(view.before.margin, pico("85"));
    }

    #[test]
    fn the_measured_mix_changes_nothing_and_no_request_is_lost() {
        let use_of = |requests, tokens, cost: &str| ModelUse {
            requests,
            input_tokens: tokens,
            input_cost: pico(cost),
            ..ModelUse::default()
        };
        let models =
            Models::from([("a".to_owned(), use_of(2_500, 777, "9")), ("b".to_owned(), use_of(7_500, 31, "1"))]);
        let run = |a: i64, b: i64| {
            let mix = BTreeMap::from([("a".to_owned(), Percent(a)), ("b".to_owned(), Percent(b))]);
            let time = MeasuredTime { models: &models, months: &[], currency: Currency::USD, other_cost: pico("5") };
            compute(&Scenario { mix, ..Scenario::default() }, &time, &listed).expect("a scenario")
        };
        let same = run(2_500, 7_500);
        assert_eq!((same.after.cost, same.before.cost), (pico("10"), pico("10")));
        assert_eq!(same.after.margin, pico("-15"), "other costs stay");
        let moved = run(3_333, 6_667);
        assert_eq!(moved.models.iter().map(|row| row.requests_after).sum::<u64>(), 10_000);
        let refused =
            Scenario { prices: BTreeMap::from([("zzz*".to_owned(), Percent::whole(80))]), ..Scenario::default() };
        let time = MeasuredTime { models: &models, months: &[], currency: Currency::USD, other_cost: Pico::ZERO };
        let error = compute(&refused, &time, &listed).expect_err("no model").to_string();
        assert_eq!(error, "price: \"zzz*\" fits no model of this time; there are a, b");
    }

    #[test]
    fn a_cache_replaces_input_at_its_price() {
        let view = run(&Scenario { cache: Some(Percent::whole(60)), ..Scenario::default() }).expect("a scenario");
        assert_eq!(view.after.cost, pico("4") + pico("0.06") + pico("5"));
    }

    #[test]
    fn a_cap_cuts_cost_and_the_revenue_that_goes_with_it() {
        let view = run(&Scenario { cap: Some(pico("6")), ..Scenario::default() }).expect("a scenario");
        assert_eq!((view.after.cost, view.after.revenue, view.capped), (pico("9"), pico("70"), 1));
    }

    #[test]
    fn prices_and_revenue_change_by_their_factors() {
        let prices = BTreeMap::from([("*".to_owned(), Percent::whole(200)), ("lar*".to_owned(), Percent::whole(80))]);
        let view =
            run(&Scenario { prices, revenue: Some(Percent::whole(110)), ..Scenario::default() }).expect("a scenario");
        assert_eq!((view.after.cost, view.after.revenue), (pico("12"), pico("110")));
    }

    #[test]
    fn a_mix_must_be_whole_and_priced() {
        let mix =
            |name: &str, share| Scenario { mix: BTreeMap::from([(name.to_owned(), share)]), ..Scenario::default() };
        assert_eq!(run(&mix("small", Percent::whole(90))), Err(WhatIfError::Mix(Percent::whole(90))));
        assert_eq!(run(&mix("unknown", Percent::ALL)), Err(WhatIfError::Unpriced("unknown".to_owned())));
        let cache = Scenario { cache: Some(Percent::whole(101)), ..Scenario::default() };
        assert_eq!(run(&cache), Err(WhatIfError::Cache(Percent::whole(101))));
    }
}
