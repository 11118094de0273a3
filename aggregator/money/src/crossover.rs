//! When own GPUs cost less than an API: the month's figures, the break-even, and the curve.
//!
//! The API costs the same for each request. GPUs cost the same whatever they do; where the traffic is more than they carry, more
//! replicas are needed. A month has 730 hours.
mod svg;

use serde::{Deserialize, Serialize};

pub use svg::draw;

use crate::amount::{Currency, PICO, Pico};
use crate::exact::{Exact, divide};
use crate::margin::Unpriced;
use crate::ratio::Percent;

/// The hours of a month.
pub const MONTH_HOURS: u64 = 730;
/// The most replicas that are considered.
pub const REPLICAS_MAX: u64 = 1_000_000;
/// The points of a curve.
pub(crate) const CURVE_POINTS: u64 = 64;

/// One's own traffic, and what it costs at an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Requests of a month.
    pub requests: u64,
    /// Tokens of a month, in and out.
    pub tokens: u64,
    /// What the API charges for them.
    pub api_cost: Pico,
}

/// Own GPUs. Cost and capacity are those of all replicas together, so that neither is rounded for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosting {
    /// Replicas that run at least.
    pub replicas: u64,
    /// What they cost per month.
    pub cost: Pico,
    /// Requests of a month that they carry.
    pub capacity: u64,
}

/// Why a comparison cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrossoverError {
    /// There is nothing to compare with.
    #[error("no request with a cost is known in this time; choose another, or give --requests and --api-cost")]
    NoTraffic,
    /// The replicas carry nothing.
    #[error("a replica carries no request: look at tokens per second and utilisation")]
    NoCapacity,
    /// The number of replicas is out of range.
    #[error("{0} replicas are not from 1 to {REPLICAS_MAX}")]
    Replicas(u64),
}

impl Hosting {
    /// GPUs by the hour, that make `tokens_per_second` each at full use, and are used to `utilisation`.
    pub fn hourly(
        traffic: &Traffic,
        replicas: u64,
        hour: Pico,
        tokens_per_second: u64,
        utilisation: Percent,
    ) -> Result<Self, CrossoverError> {
        if traffic.requests == 0 || traffic.tokens == 0 {
            return Err(CrossoverError::NoTraffic);
        }
        let seconds = u128::from(MONTH_HOURS * 3_600);
        let at_full_use = seconds * u128::from(tokens_per_second);
        let used = u128::from(utilisation.0.clamp(0, Percent::ALL.0).unsigned_abs());
        let tokens = at_full_use * used / u128::from(Percent::ALL.0.unsigned_abs());
        let all = tokens.saturating_mul(u128::from(replicas));
        let requests = all.saturating_mul(u128::from(traffic.requests)) / u128::from(traffic.tokens);
        let capacity = u64::try_from(requests).unwrap_or(u64::MAX);
        Ok(Hosting { replicas, cost: hour.of_units(MONTH_HOURS).of_units(replicas), capacity })
    }

    /// The replicas that `requests` need.
    fn needed(&self, requests: u64) -> u64 {
        let needed = (u128::from(requests) * u128::from(self.replicas)).div_ceil(u128::from(self.capacity.max(1)));
        u64::try_from(needed).unwrap_or(u64::MAX).max(self.replicas)
    }

    /// What they cost.
    pub fn cost(&self, requests: u64) -> Pico {
        self.cost.scaled(i128::from(self.needed(requests)), i128::from(self.replicas))
    }

    /// The requests that so many replicas carry.
    fn carried(&self, replicas: u64) -> u64 {
        let carried = u128::from(self.capacity) * u128::from(replicas) / u128::from(self.replicas.max(1));
        u64::try_from(carried).unwrap_or(u64::MAX)
    }
}

/// Answer to `weir crossover`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossoverView {
    /// The currency.
    pub currency: Currency,
    /// Tokens of an average request.
    pub tokens_per_request: u64,
    /// The month's figures, at the measured traffic first, then at the traffic that the replicas carry when full.
    pub months: Vec<Month>,
    /// The smallest number of requests per month from which own GPUs cost no more; absent if they never do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_even_requests: Option<u64>,
    /// The same in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_even_tokens: Option<u128>,
    /// Measured usage without a price: the API's cost lacks its cost.
    #[serde(default, skip_serializing_if = "Unpriced::is_none")]
    pub unpriced: Unpriced,
    /// Points of both curves: requests, API, own.
    pub curve: Vec<(u64, Pico, Pico)>,
}

/// The figures of a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    /// Requests.
    pub requests: u64,
    /// What the API charges.
    pub api_cost: Pico,
    /// What own GPUs cost.
    pub own_cost: Pico,
    /// Replicas that run.
    pub replicas: u64,
    /// Requests that they carry.
    pub capacity: u64,
    /// What own GPUs save; negative if they cost more.
    pub saved: Pico,
    /// The same as a share of what the API charges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_percent: Option<Percent>,
}

/// Compares the API with own GPUs.
pub fn compare(traffic: &Traffic, hosting: &Hosting, currency: Currency) -> Result<CrossoverView, CrossoverError> {
    if traffic.requests == 0 || traffic.api_cost <= Pico::ZERO {
        return Err(CrossoverError::NoTraffic);
    }
    if !(1..=REPLICAS_MAX).contains(&hosting.replicas) {
        return Err(CrossoverError::Replicas(hosting.replicas));
    }
    if hosting.capacity == 0 {
        return Err(CrossoverError::NoCapacity);
    }
    let full = hosting.carried(hosting.needed(traffic.requests));
    let mut months = vec![month(traffic, hosting, traffic.requests)];
    if full > traffic.requests {
        months.push(month(traffic, hosting, full));
    }
    let break_even_requests = break_even(traffic, hosting);
    let tokens_per_request = traffic.tokens / traffic.requests;
    let tokens = |requests| u128::from(requests) * u128::from(traffic.tokens) / u128::from(traffic.requests);
    let end = full.max(break_even_requests.unwrap_or(0)).saturating_add(full / 4);
    let point = |number: u64| {
        let requests = u64::try_from(u128::from(end) * u128::from(number) / u128::from(CURVE_POINTS)).unwrap_or(end);
        (requests, api_cost(traffic, requests), hosting.cost(requests))
    };
    Ok(CrossoverView {
        currency,
        tokens_per_request,
        months,
        break_even_requests,
        break_even_tokens: break_even_requests.map(tokens),
        unpriced: Unpriced::default(),
        curve: (0..=CURVE_POINTS).map(point).collect(),
    })
}

fn api_cost(traffic: &Traffic, requests: u64) -> Pico {
    traffic.api_cost.scaled(i128::from(requests), i128::from(traffic.requests))
}

fn month(traffic: &Traffic, hosting: &Hosting, requests: u64) -> Month {
    let (api_cost, own_cost) = (api_cost(traffic, requests), hosting.cost(requests));
    let replicas = hosting.needed(requests);
    Month {
        requests,
        api_cost,
        own_cost,
        replicas,
        capacity: hosting.carried(replicas),
        saved: api_cost - own_cost,
        saved_percent: Percent::of((api_cost - own_cost).0, api_cost.0),
    }
}

/// The smallest number of requests at which own GPUs cost no more. A replica that is full pays or does not, whatever their number:
/// so the break-even lies within what the first ones carry, or there is none.
fn break_even(traffic: &Traffic, hosting: &Hosting) -> Option<u64> {
    let cost = hosting.cost;
    // Requests at which the API charges as much, rounded up.
    let requests = ceil_ratio(cost.0, i128::from(traffic.requests), traffic.api_cost.0)?;
    (requests <= hosting.capacity).then_some(requests)
}

/// `value * numerator / denominator`, rounded up; None beyond 64 bits.
fn ceil_ratio(value: i128, numerator: i128, denominator: i128) -> Option<u64> {
    let product = match value.checked_mul(numerator) {
        Some(product) => product,
        // So large an amount needs no more than whole units.
        None => divide(value, PICO).checked_mul(numerator)?.checked_mul(PICO)?,
    };
    u64::try_from(product.checked_add(denominator - 1)?.div_euclid(denominator)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pico(text: &str) -> Pico {
        Pico::parse(text).expect("an amount")
    }

    /// 10 million requests of 750 tokens for 7,500 by API; three GPUs for 5,800 with room for 20 million.
    fn published() -> (Traffic, Hosting) {
        let traffic = Traffic { requests: 10_000_000, tokens: 7_500_000_000, api_cost: pico("7500") };
        let hosting = Hosting { replicas: 3, cost: pico("5800"), capacity: 20_000_000 };
        (traffic, hosting)
    }

    #[test]
    fn three_gpus_save_23_percent_of_ten_million_requests_and_61_of_twenty() {
        let (traffic, hosting) = published();
        let view = compare(&traffic, &hosting, Currency::USD).expect("a comparison");
        let whole = |month: &Month| month.saved_percent.map(|percent| (percent.0 + 50) / 100);
        assert_eq!(whole(&view.months[0]), Some(23));
        assert_eq!(whole(&view.months[1]), Some(61));
        assert_eq!((view.months[1].requests, view.months[1].replicas), (20_000_000, 3));
        assert_eq!((view.months[0].own_cost, view.months[0].saved), (pico("5800"), pico("1700")), "to the last digit");
        let twice = Traffic { requests: 20_000_000, tokens: 15_000_000_000, api_cost: pico("15000") };
        let view = compare(&twice, &hosting, Currency::USD).expect("a comparison");
        assert_eq!(
            (view.months[0].replicas, view.months[0].own_cost),
            (3, pico("5800")),
            "they carry exactly that many"
        );
        assert_eq!(view.break_even_requests, Some(7_733_334));
        assert_eq!(view.break_even_tokens, Some(5_800_000_500));
    }

    #[test]
    fn the_break_even_is_the_first_request_at_which_own_gpus_cost_no_more() {
        let (traffic, hosting) = published();
        let at = break_even(&traffic, &hosting).expect("a break-even");
        assert!(api_cost(&traffic, at) >= hosting.cost(at));
        assert!(api_cost(&traffic, at - 1) < hosting.cost(at - 1));
    }

    #[test]
    fn gpus_that_are_dearer_than_the_api_even_when_full_never_pay() {
        let (traffic, _) = published();
        let hosting = Hosting { replicas: 1, cost: pico("2000"), capacity: 1_000_000 };
        let view = compare(&traffic, &hosting, Currency::USD).expect("a comparison");
        assert_eq!(view.break_even_requests, None);
        assert_eq!(view.months[0].replicas, 10);
        assert!(view.months[0].saved < Pico::ZERO);
    }

    #[test]
    fn a_replica_by_the_hour_carries_what_its_tokens_per_second_allow() {
        let (traffic, _) = published();
        let hosting = Hosting::hourly(&traffic, 1, pico("2.5"), 1_000, Percent::whole(50)).expect("a replica");
        // 730 h × 3600 s × 1000 tokens/s × 50 % / 750 tokens.
        assert_eq!(hosting.capacity, 1_752_000);
        assert_eq!(hosting.cost, pico("1825"));
    }
}
