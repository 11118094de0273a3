//! Why a cost changed: an exact split of the difference between two spans.
//!
//! The cost of the earlier span is moved to that of the later one in six steps; what a step adds is that driver's share, so the
//! shares add up to the whole difference, to the last digit. Each step keeps what the steps after it have not changed yet:
//!
//! | step | cost after it |
//! |---|---|
//! | volume | earlier cost, times the ratio of first attempts |
//! | retries | earlier cost, times the ratio of all requests |
//! | model mix | each model's earlier cost per request, times its later requests |
//! | tokens per request | each model's earlier cost of input and of output, times the ratio of those tokens |
//! | cache share | the same, with input from a cache and other input apart |
//! | price | later cost |
//!
//! A model that the earlier span lacks enters with its later cost under model mix. Cost without tokens, such as that of images,
//! moves with requests.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amount::Pico;
use crate::exact::Exact;
use crate::ratio::Percent;

/// What one model did in a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// Requests.
    pub requests: u64,
    /// Those that repeat another.
    pub retried_requests: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Input tokens from a cache.
    pub cache_read_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Cost of input that no cache had.
    pub input_cost: Pico,
    /// Cost of input from a cache.
    pub cache_read_cost: Pico,
    /// Cost of output.
    pub output_cost: Pico,
    /// Cost of everything else.
    pub rest_cost: Pico,
}

impl ModelUse {
    /// Cost of everything.
    pub fn cost(&self) -> Pico {
        self.input_cost + self.cache_read_cost + self.output_cost + self.rest_cost
    }

    /// Input tokens that no cache had.
    pub(crate) fn fresh_tokens(&self) -> u64 {
        self.input_tokens.saturating_sub(self.cache_read_tokens)
    }

    /// Adds another use of the same model.
    pub fn add(&mut self, other: &ModelUse) {
        self.requests += other.requests;
        self.retried_requests += other.retried_requests;
        self.input_tokens += other.input_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.output_tokens += other.output_tokens;
        self.input_cost += other.input_cost;
        self.cache_read_cost += other.cache_read_cost;
        self.output_cost += other.output_cost;
        self.rest_cost += other.rest_cost;
    }
}

/// Models by name.
pub type Models = BTreeMap<String, ModelUse>;

/// A reason for a change of cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// More or fewer requests.
    Volume,
    /// More or fewer of them repeated.
    Retries,
    /// Other models.
    ModelMix,
    /// Longer or shorter requests and answers.
    TokensPerRequest,
    /// More or less input from a cache.
    CacheShare,
    /// Another price.
    Price,
}

impl Driver {
    /// The driver in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Driver::Volume => "volume",
            Driver::Retries => "retries",
            Driver::ModelMix => "model mix",
            Driver::TokensPerRequest => "tokens per request",
            Driver::CacheShare => "cache share",
            Driver::Price => "price",
        }
    }
}

/// The shares of every driver in a change; they add up to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares(pub BTreeMap<Driver, Pico>);

impl Shares {
    /// The whole change.
    pub fn change(&self) -> Pico {
        self.0.values().copied().sum()
    }

    /// The driver that moved the cost most in the direction in which it changed.
    pub fn main(&self) -> Option<(Driver, Pico)> {
        let rises = self.change() >= Pico::ZERO;
        let along = self.0.iter().filter(|(_, share)| if rises { **share > Pico::ZERO } else { share.is_negative() });
        along.max_by_key(|(_, share)| share.0.unsigned_abs()).map(|(driver, share)| (*driver, *share))
    }

    /// The main driver as a sentence with the numbers behind it; empty if nothing changed.
    pub fn words(&self, before: &Models, after: &Models) -> String {
        let Some((driver, share)) = self.main() else { return String::new() };
        let (old, new) = (total(before), total(after));
        let numbers = match driver {
            Driver::Volume => format!("requests {} → {}", old.requests, new.requests),
            Driver::Retries => format!("repeated requests {} → {}", old.retried_requests, new.retried_requests),
            Driver::ModelMix => mix_words(before, after),
            Driver::TokensPerRequest => {
                format!("{} → {} tokens per request", per_request(&old), per_request(&new))
            }
            Driver::CacheShare => format!("input from a cache {} → {}", cached(&old), cached(&new)),
            Driver::Price => "the same tokens of the same models cost another amount".to_owned(),
        };
        let of_change = Percent::of(share.0.abs(), self.change().0.abs());
        let share = of_change.map(|share| format!(", {share} % of the change")).unwrap_or_default();
        format!("{}: {numbers}{share}", driver.as_str())
    }
}

/// Splits the change of cost between two spans.
pub fn decompose(before: &Models, after: &Models) -> Shares {
    let (old, new) = (total(before), total(after));
    let mut shares = Shares::default();
    let mut cost = old.cost();
    let mut step = |driver, next: Pico| {
        shares.0.insert(driver, next - cost);
        cost = next;
    };
    if old.requests == 0 || new.requests == 0 {
        step(Driver::Volume, new.cost());
        return shares;
    }
    let first = |models: &ModelUse| models.requests.saturating_sub(models.retried_requests).max(1);
    step(Driver::Volume, ratio(old.cost(), first(&new), first(&old)));
    step(Driver::Retries, ratio(old.cost(), new.requests, old.requests));
    let by_model = |of: fn(&ModelUse, &ModelUse) -> Pico| -> Pico {
        let cost = |(name, new): (&String, &ModelUse)| match before.get(name).filter(|old| old.requests > 0) {
            Some(old) => of(old, new),
            None => new.cost(),
        };
        after.iter().map(cost).sum()
    };
    step(Driver::ModelMix, by_model(|old, new| ratio(old.cost(), new.requests, old.requests)));
    step(Driver::TokensPerRequest, by_model(with_tokens));
    step(Driver::CacheShare, by_model(with_cache));
    step(Driver::Price, new.cost());
    shares
}

/// A model's cost at its earlier prices, with the later number of input and output tokens.
fn with_tokens(old: &ModelUse, new: &ModelUse) -> Pico {
    let input = of_tokens(old.input_cost + old.cache_read_cost, old.input_tokens, new.input_tokens, || {
        new.input_cost + new.cache_read_cost
    });
    input + output_and_rest(old, new)
}

/// The same, with the later share of input from a cache.
fn with_cache(old: &ModelUse, new: &ModelUse) -> Pico {
    let fresh = of_tokens(old.input_cost, old.fresh_tokens(), new.fresh_tokens(), || new.input_cost);
    let cached = of_tokens(old.cache_read_cost, old.cache_read_tokens, new.cache_read_tokens, || new.cache_read_cost);
    fresh + cached + output_and_rest(old, new)
}

fn output_and_rest(old: &ModelUse, new: &ModelUse) -> Pico {
    let output = of_tokens(old.output_cost, old.output_tokens, new.output_tokens, || new.output_cost);
    output + ratio(old.rest_cost, new.requests, old.requests)
}

/// Cost of `new` tokens at the earlier price; at the later one if there was none.
fn of_tokens(cost: Pico, old: u64, new: u64, later: impl Fn() -> Pico) -> Pico {
    if old == 0 { later() } else { ratio(cost, new, old) }
}

fn ratio(cost: Pico, new: u64, old: u64) -> Pico {
    cost.scaled(i128::from(new), i128::from(old.max(1)))
}

/// The sum over all models.
pub fn total(models: &Models) -> ModelUse {
    let mut sum = ModelUse::default();
    models.values().for_each(|model| sum.add(model));
    sum
}

fn per_request(model: &ModelUse) -> u64 {
    (model.input_tokens + model.output_tokens) / model.requests.max(1)
}

fn cached(model: &ModelUse) -> String {
    let share = Percent::of(model.cache_read_tokens.into(), model.input_tokens.into()).unwrap_or_default();
    format!("{share} %")
}

/// The model whose share of requests changed most.
fn mix_words(before: &Models, after: &Models) -> String {
    let (old, new) = (total(before).requests, total(after).requests);
    let share = |models: &Models, name: &str, all: u64| {
        let requests = models.get(name).map_or(0, |model| model.requests);
        Percent::of(requests.into(), all.into()).unwrap_or_default()
    };
    let names: Vec<&String> = before.keys().chain(after.keys()).collect();
    let moved = |name: &str| (share(after, name, new).0 - share(before, name, old).0).unsigned_abs();
    let Some(name) = names.into_iter().max_by_key(|name| moved(name)) else { return String::new() };
    format!("{name} {} % → {} % of requests", share(before, name, old), share(after, name, new))
}
