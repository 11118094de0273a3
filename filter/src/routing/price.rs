//! What requests cost at the catalogue's prices: for hard budgets of cost, which gateways keep. What is billed is the ledger's matter.
use weir_contract::Usage;

use super::{Catalogue, Price};

/// Prices are those of so many tokens.
const TOKENS: u128 = 1_000_000;

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) input: u64,
    pub(crate) output: u64,
    /// Of the input.
    pub(crate) cache_read: u64,
    /// Of the input.
    pub(crate) cache_write: u64,
}

impl From<&Usage> for Spent {
    fn from(usage: &Usage) -> Self {
        let known = |tokens: Option<u64>| tokens.unwrap_or(0);
        Spent {
            input: known(usage.input_tokens),
            output: known(usage.output_tokens),
            cache_read: known(usage.cache_read_tokens),
            cache_write: known(usage.cache_write_tokens),
        }
    }
}

impl Catalogue {
    /// Whether its prices are in that currency.
    pub(crate) fn is_in(&self, currency: &str) -> bool {
        *self.currency == *currency
    }

    /// The most that a request costs at one of these models, in millionths of the currency.
    pub(crate) fn cost_max<'a>(&self, models: impl Iterator<Item = &'a str>, input: u64, output: u64) -> u64 {
        let price = |name| self.price_of(name).map(|price| price.most(input, output));
        models.filter_map(price).max().unwrap_or(0)
    }

    /// What a request has cost at a model; None for one that the catalogue does not have.
    pub(crate) fn cost_of(&self, model: &str, spent: Spent) -> Option<u64> {
        self.price_of(model).map(|price| price.of(spent))
    }

    fn price_of(&self, model: &str) -> Option<Price> {
        self.model_named(model).map(|model| model.price)
    }
}

impl Price {
    fn most(self, input: u64, output: u64) -> u64 {
        let dearest = self.input.max(self.cache_read).max(self.cache_write);
        rounded_up([(input, dearest), (output, self.output)])
    }

    fn of(self, spent: Spent) -> u64 {
        let cache_read = spent.cache_read.min(spent.input);
        let cache_write = spent.cache_write.min(spent.input.saturating_sub(cache_read));
        let plain = spent.input.saturating_sub(cache_read).saturating_sub(cache_write);
        rounded_up([
            (plain, self.input),
            (cache_read, self.cache_read),
            (cache_write, self.cache_write),
            (spent.output, self.output),
        ])
    }
}

/// Sums tokens at their prices, in millionths of the currency. Part of one counts whole: a budget is never exceeded by roundings.
fn rounded_up<const N: usize>(parts: [(u64, u64); N]) -> u64 {
    let total = parts.iter().fold(0_u128, |sum, (tokens, price)| {
        sum.saturating_add(u128::from(*tokens).saturating_mul(u128::from(*price)))
    });
    u64::try_from(total.div_ceil(TOKENS)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// 3 of the currency for a million tokens of input, 15 of output, 0.30 read from the cache, 3.75 written to it.
    const PRICE: Price = Price { input: 3_000_000, output: 15_000_000, cache_read: 300_000, cache_write: 3_750_000 };

    #[test]
    fn each_kind_of_token_has_its_price_and_a_part_counts_whole() {
        let spent = Spent { input: 1_000, output: 10, cache_read: 600, cache_write: 100 };
        // 300 x 3 + 600 x 0.3 + 100 x 3.75 + 10 x 15 = 900 + 180 + 375 + 150
        assert_eq!(PRICE.of(spent), 1_605);
        assert_eq!(PRICE.of(Spent { input: 1, cache_read: 1, ..Spent::default() }), 1, "0.3 of a millionth");
        assert_eq!(PRICE.most(1_000, 10), 3_900, "all of it may be written to the cache");
    }

    #[test]
    fn counts_that_contradict_each_other_never_cost_less_than_nothing() {
        let spent = Spent { input: 10, output: 0, cache_read: 1_000, cache_write: 1_000 };
        assert_eq!(PRICE.of(spent), 3);
        assert_eq!(PRICE.of(Spent { input: u64::MAX, output: u64::MAX, ..spent }), u64::MAX);
    }
}
