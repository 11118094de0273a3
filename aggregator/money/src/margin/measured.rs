//! What the ledger measured, and what of it has no price.
use std::iter::Sum;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::UNPRICED;
use crate::amount::Pico;
use crate::ratio::Percent;

/// What the ledger measured for one key and currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Requests of any outcome.
    pub requests: u64,
    /// Requests that failed.
    pub failed_requests: u64,
    /// Requests that repeat another.
    pub retried_requests: u64,
    /// Requests that used something without a price.
    pub unpriced_requests: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Input tokens from a cache.
    pub cache_read_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Tokens without a price.
    pub unpriced_tokens: u64,
    /// Cost of all requests.
    pub cost: Pico,
    /// Cost of those that failed or repeat another; part of `cost`.
    pub wasted_cost: Pico,
    /// Cost of requests whose usage was estimated; part of `cost`.
    pub estimated_cost: Pico,
}

impl Measured {
    /// All tokens.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Returns true if the cost of most of it is missing: nothing that was used has a price, or half of the tokens have none.
    pub(super) fn is_unpriced(&self) -> bool {
        let share = Percent::of(self.unpriced_tokens.into(), self.tokens().into());
        self.unpriced_requests > 0 && (self.cost == Pico::ZERO || share.is_some_and(|share| share >= UNPRICED))
    }
}

/// Usage without a price. Images, pages, seconds and so on are no tokens: its requests count them, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpriced {
    /// Requests that used something without a price.
    pub requests: u64,
    /// Tokens without a price.
    pub tokens: u64,
}

impl Unpriced {
    /// Returns true if everything has a price.
    pub fn is_none(&self) -> bool {
        *self == Unpriced::default()
    }

    /// What sums lack, as a sentence without its point. None if they lack nothing.
    pub fn words(&self) -> Option<String> {
        let Unpriced { requests, tokens } = self;
        (!self.is_none())
            .then(|| format!("{requests} requests used what has no price ({tokens} tokens); its cost is missing"))
    }
}

impl Sum for Unpriced {
    fn sum<I: Iterator<Item = Unpriced>>(all: I) -> Self {
        all.fold(Unpriced::default(), |sum, one| Unpriced {
            requests: sum.requests + one.requests,
            tokens: sum.tokens + one.tokens,
        })
    }
}

impl AddAssign for Measured {
    fn add_assign(&mut self, other: Measured) {
        self.requests += other.requests;
        self.failed_requests += other.failed_requests;
        self.retried_requests += other.retried_requests;
        self.unpriced_requests += other.unpriced_requests;
        self.input_tokens += other.input_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.output_tokens += other.output_tokens;
        self.unpriced_tokens += other.unpriced_tokens;
        self.cost += other.cost;
        self.wasted_cost += other.wasted_cost;
        self.estimated_cost += other.estimated_cost;
    }
}
