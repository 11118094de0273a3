//! `weir crossover`.
use weir_contract::{Timestamp, glob};
use weir_money::amount::Currency;
use weir_money::crossover::{self, CrossoverView, Hosting, MONTH_HOURS, REPLICAS_MAX, Traffic};
use weir_money::drivers::total;
use weir_money::exact::Exact;
use weir_money::ratio::Percent;

use super::query::CrossoverQuery;
use super::whatif::{amount, percent};
use super::{Finance, FinanceError};

/// The days that are measured where the question does not say.
const DAYS: u64 = 30;
const HOUR_MS: u64 = 3_600_000;
const TOKENS_PER_REQUEST: u64 = 1_000;
/// The most requests per month.
const REQUESTS_MAX: u64 = 1_000_000_000_000;
/// The most tokens of a request, and per second of a replica.
const TOKENS_MAX: u64 = 1_000_000;

impl Finance {
    /// Own GPUs against the API, on one's own traffic or on given numbers.
    pub fn crossover(&mut self, query: &CrossoverQuery) -> Result<CrossoverView, FinanceError> {
        let to = query.to.unwrap_or(self.now);
        let month_ago = Timestamp::from_millis(to.as_millis().saturating_sub(DAYS * 24 * HOUR_MS));
        let (from, to) = self.span(Some(query.from.unwrap_or(month_ago)), Some(to))?;
        let (traffic, currency) = match query.requests {
            Some(requests) => given(query, requests)?,
            None => self.measured(query, from, to)?,
        };
        let hosting = hosting(query, &traffic)?;
        let mut view = crossover::compare(&traffic, &hosting, currency)?;
        if query.requests.is_none() {
            view.unpriced = self.unpriced_usage(None, from, to)?;
        }
        Ok(view)
    }

    /// The traffic of a span, as that of a month.
    fn measured(
        &mut self,
        query: &CrossoverQuery,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<(Traffic, Currency), FinanceError> {
        let currency = self.currency(query.currency.as_deref(), None, from, to)?;
        let patterns: Vec<&str> =
            query.models.as_deref().map_or(Vec::new(), |models| models.split(',').map(str::trim).collect());
        let keep = |model: &str| patterns.is_empty() || patterns.iter().any(|pattern| glob::matches(pattern, model));
        let all = total(&self.models(None, currency, (from, to), keep)?);
        let hours = to.millis_since(from).div_ceil(HOUR_MS).max(1);
        let monthly = |count: u64| {
            let count = u128::from(count) * u128::from(MONTH_HOURS) / u128::from(hours);
            u64::try_from(count).unwrap_or(u64::MAX)
        };
        let traffic = Traffic {
            requests: monthly(all.requests),
            tokens: monthly(all.input_tokens + all.output_tokens),
            api_cost: all.cost().scaled(i128::from(MONTH_HOURS), i128::from(hours)),
        };
        Ok((traffic, currency))
    }
}

/// A number from 1 to a bound.
fn bounded(field: &str, number: u64, most: u64) -> Result<u64, FinanceError> {
    if (1..=most).contains(&number) {
        return Ok(number);
    }
    Err(FinanceError::Question(format!("{field}: {number} is not from 1 to {most}")))
}

fn given(query: &CrossoverQuery, requests: u64) -> Result<(Traffic, Currency), FinanceError> {
    let cost = query.api_cost.as_deref().ok_or_else(|| {
        FinanceError::Conflict("give `api_cost` with `requests`: what an API charges for them".to_owned())
    })?;
    let requests = bounded("requests", requests, REQUESTS_MAX)?;
    let tokens = bounded("tokens_per_request", query.tokens_per_request.unwrap_or(TOKENS_PER_REQUEST), TOKENS_MAX)?;
    let currency = query.currency.as_deref().map_or(Some(Currency::USD), Currency::parse);
    let currency =
        currency.ok_or_else(|| FinanceError::Question("`currency` is three letters, such as EUR".to_owned()))?;
    let traffic = Traffic { requests, tokens: requests.saturating_mul(tokens), api_cost: amount("api_cost", cost)? };
    Ok((traffic, currency))
}

fn hosting(query: &CrossoverQuery, traffic: &Traffic) -> Result<Hosting, FinanceError> {
    let conflict = |words: &str| FinanceError::Conflict(words.to_owned());
    let replicas = bounded("replicas", query.replicas.unwrap_or(1), REPLICAS_MAX)?;
    let utilisation = query.utilisation.as_deref().map_or(Ok(Percent::ALL), |text| percent("utilisation", text))?;
    if utilisation > Percent::ALL {
        return Err(FinanceError::Question(format!(
            "utilisation: {utilisation} % is more than full use; write at most 100"
        )));
    }
    let cost = match (&query.hour, &query.month) {
        (Some(hour), None) => amount("hour", hour)?.of_units(MONTH_HOURS).of_units(replicas),
        (None, Some(month)) => amount("month", month)?,
        _ => return Err(conflict("give the price of a replica per `hour`, or of all replicas per `month`")),
    };
    match (query.tokens_per_second, query.capacity) {
        (Some(tokens), None) => {
            let tokens = bounded("tokens_per_second", tokens, TOKENS_MAX)?;
            let carried = Hosting::hourly(traffic, replicas, weir_money::amount::Pico::ZERO, tokens, utilisation)?;
            Ok(Hosting { cost, ..carried })
        }
        (None, Some(capacity)) => {
            let capacity = bounded("capacity", capacity, REQUESTS_MAX)?;
            Ok(Hosting { replicas, cost, capacity })
        }
        _ => Err(conflict("give `tokens_per_second` of a replica, or the `capacity` of all in requests per month")),
    }
}
