//! Finds out when no further candidate can be among those that are tried.
//!
//! A rule keeps its candidates in the order of their prices of input, each with the least price of output among it and those
//! behind it. Once the cheapest of as many providers as are tried cost less than that allows, the others are not looked at: with
//! many candidates most of them. `tests.rs` compares what is chosen so with what is chosen among all.
use super::{Model, PROVIDERS_MAX};

/// A candidate, in the order of prices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) model: usize,
    /// The least price of output of it and all behind it.
    pub(super) output_price_least: u64,
    /// The shortest of their longest answers.
    pub(super) output_max_least: u64,
}

/// A candidate that fits, and what it would cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub(super) cost: u64,
    pub(super) model: usize,
    pub(super) provider: usize,
}

/// Candidates in the order of their prices.
pub(super) fn by_price(candidates: &[usize], models: &[Model]) -> Vec<Candidate> {
    let mut known: Vec<(usize, &Model)> = candidates.iter().filter_map(|at| Some((*at, models.get(*at)?))).collect();
    known.sort_by_key(|(at, model)| (model.price.input, model.price.output, *at));
    let (mut output_price_least, mut output_max_least) = (u64::MAX, u64::MAX);
    let mut ordered: Vec<Candidate> = known
        .into_iter()
        .rev()
        .map(|(model, of)| {
            output_price_least = output_price_least.min(of.price.output);
            output_max_least = output_max_least.min(of.output_max_tokens);
            Candidate { model, output_price_least, output_max_least }
        })
        .collect();
    ordered.reverse();
    ordered
}

/// The cheapest candidates so far, one for each provider.
pub(super) struct Cheapest {
    costs: [u64; PROVIDERS_MAX],
    covered: u32,
    /// As many providers are tried; None where every candidate is looked at.
    tried: Option<u32>,
    /// The dearest of them; None before there are as many.
    dearest: Option<u64>,
}

impl Cheapest {
    pub(super) fn of(tried: Option<u32>) -> Self {
        Cheapest { costs: [u64::MAX; PROVIDERS_MAX], covered: 0, tried, dearest: None }
    }

    pub(super) fn add(&mut self, fit: Fit) {
        let Some(tried) = self.tried else { return };
        let bit = u32::try_from(fit.provider).ok().and_then(|at| 1_u32.checked_shl(at)).unwrap_or(0);
        self.covered |= bit;
        if let Some(cost) = self.costs.get_mut(fit.provider) {
            *cost = (*cost).min(fit.cost);
        }
        if self.covered.count_ones() >= tried {
            let (mut left, mut dearest) = (self.covered, 0);
            while left != 0 {
                dearest = dearest.max(self.costs.get(left.trailing_zeros() as usize).copied().unwrap_or(u64::MAX));
                left &= left.wrapping_sub(1);
            }
            self.dearest = Some(dearest);
        }
    }

    /// Whether candidates that cost at least so much come too late.
    pub(super) fn beats(&self, least: impl FnOnce() -> u64) -> bool {
        self.dearest.is_some_and(|dearest| dearest < least())
    }
}
