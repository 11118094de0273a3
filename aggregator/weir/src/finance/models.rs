//! What models did, with their cost split among input, cached input and output.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_contract::Timestamp;
use weir_ledger::cost::{Kind, Pricing, Quantities, Tariff};
use weir_ledger::values::ValueQuery;
use weir_ledger::view::cost::CostSums;
use weir_money::amount::{Currency, Pico};
use weir_money::drivers::{ModelUse, Models};
use weir_money::margin::spread;
use weir_money::whatif::MillionRates;

use super::{Finance, FinanceError};

const MILLION: u64 = 1_000_000;

/// The listed price of a million tokens of a model, by model and currency.
#[derive(Debug, Default)]
pub(super) struct RateBook(HashMap<(String, Currency), MillionRates>);

impl RateBook {
    /// Splits the cost of a model's requests in proportion to its tokens at listed prices; without those, to its tokens.
    pub(super) fn split(&self, model: &str, currency: Currency, sums: &CostSums) -> ModelUse {
        let fresh = sums.input_tokens.saturating_sub(sums.cache_read_tokens);
        let tokens = [fresh, sums.cache_read_tokens, sums.output_tokens];
        let rates = self.0.get(&(model.to_owned(), currency));
        let rates = rates
            .map_or([1; 3], |rates| [rates.input, rates.cache_read, rates.output].map(|rate| rate.0.unsigned_abs()));
        let weights: Vec<u128> = tokens.iter().zip(rates).map(|(tokens, rate)| u128::from(*tokens) * rate).collect();
        let parts = spread(sums.cost, &weights);
        let part = |number: usize| parts.get(number).copied().unwrap_or_default();
        let given: Pico = parts.iter().copied().sum();
        ModelUse {
            requests: sums.requests,
            retried_requests: sums.retried_requests,
            input_tokens: sums.input_tokens,
            cache_read_tokens: sums.cache_read_tokens,
            output_tokens: sums.output_tokens,
            input_cost: part(0),
            cache_read_cost: part(1),
            output_cost: part(2),
            rest_cost: sums.cost - given,
        }
    }
}

impl Finance {
    /// The listed prices of models, at the end of the last span; spans say who answered for them. A model that nobody used of late has
    /// the price that its name alone finds.
    pub(super) fn rate_book(
        &mut self,
        models: &BTreeSet<String>,
        spans: &[(Timestamp, Timestamp)],
    ) -> Result<RateBook, FinanceError> {
        let mut book = RateBook::default();
        let Some((_, at)) = spans.last().copied() else { return Ok(book) };
        for (from, to) in spans.iter().rev() {
            for (model, providers) in self.reader.providers_of(models, *from, *to)? {
                for (currency, rates) in providers.iter().filter_map(|provider| self.listed(provider, &model, at)) {
                    book.0.entry((model.clone(), currency)).or_insert(rates);
                }
            }
        }
        for model in models {
            if let Some((currency, rates)) = self.listed("", model, at) {
                book.0.entry((model.clone(), currency)).or_insert(rates);
            }
        }
        Ok(book)
    }

    /// The price of a million tokens of each kind by the price book.
    pub(super) fn listed(&self, provider: &str, model: &str, at: Timestamp) -> Option<(Currency, MillionRates)> {
        let prices = self.prices.as_ref()?;
        let of = |kind: Kind| {
            let mut quantities = Quantities::default();
            quantities.set(kind, MILLION);
            let cost = prices.cost_of(at, provider, model, &Tariff::default(), &quantities);
            Some((cost.currency?, cost.cost))
        };
        let (currency, input) = of(Kind::Input)?;
        let (_, cache_read) = of(Kind::CacheRead)?;
        let (_, output) = of(Kind::Output)?;
        Some((currency, MillionRates { input, cache_read, output }))
    }

    /// Models in one currency over a span, of all tenants or of one; `keep` chooses them by name.
    pub(super) fn models(
        &mut self,
        tenant: Option<&str>,
        currency: Currency,
        (from, to): (Timestamp, Timestamp),
        keep: impl Fn(&str) -> bool,
    ) -> Result<Models, FinanceError> {
        let mut used: BTreeMap<String, CostSums> = BTreeMap::new();
        let query = ValueQuery { tenant, by: &["model"], from, to, by_tenant: true };
        self.reader.value_costs(&query, &mut |_, costs| {
            for cost in costs.into_iter().filter(|cost| cost.currency == Some(currency) && keep(&cost.value)) {
                used.entry(cost.value).or_default().add(&cost.sums);
            }
        })?;
        let book = self.rate_book(&used.keys().cloned().collect(), &[(from, to)])?;
        Ok(used.into_iter().map(|(model, sums)| (model.clone(), book.split(&model, currency, &sums))).collect())
    }

    /// The currency that a question names, or the one with the greatest cost in the span.
    pub(super) fn currency(
        &mut self,
        named: Option<&str>,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Currency, FinanceError> {
        if let Some(named) = named {
            let wrong =
                || FinanceError::Question(format!("{named:?} is no currency; write its three letters, such as EUR"));
            return Currency::parse(named).ok_or_else(wrong);
        }
        let mut costs: BTreeMap<Currency, Pico> = BTreeMap::new();
        for row in self.reader.tenant_costs(tenant, from, to)? {
            if let Some(currency) = row.currency {
                *costs.entry(currency).or_default() += row.sums.cost;
            }
        }
        let greatest = costs.into_iter().max_by_key(|(_, cost)| *cost).map(|(currency, _)| currency);
        let planned = || self.finances.plans.versions().first().map(|plan| plan.currency);
        Ok(greatest.or_else(planned).unwrap_or(Currency::USD))
    }
}
