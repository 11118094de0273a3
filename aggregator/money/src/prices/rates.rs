//! Prices of an entry, computed once for each tariff: what one unit of each kind costs.
use std::collections::BTreeMap;

use weir_ledger::amount::{Currency, PICO, Pico};
use weir_ledger::cost::{BATCH, Kind, USUAL_TIERS};

use super::decimal::{Factor, PerMillion};
use super::entry::{Entry, Prices, TierPrices, TokenKind};

/// Tokens that a price of [`PerMillion`] is for.
const MILLION: i128 = 1_000_000;
/// The most tiers of one entry, and the most context tiers of one of them.
const TIERS_MAX: usize = 32;

/// What one unit of each kind costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates([Option<Pico>; Kind::COUNT]);

impl Rates {
    /// The price of one unit; None if it has none.
    pub fn of(&self, kind: Kind) -> Option<Pico> {
        self.0[kind as usize]
    }
}

/// An entry that answers for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The number of its layer.
    pub layer: usize,
    /// Its number there.
    pub entry: usize,
}

/// The rates of an entry, by tier and context.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) currency: Currency,
    /// By tier; the usual one is the first.
    tiers: Vec<(Box<str>, Contexts)>,
}

/// Rates by the number of input tokens above which they apply, rising from 0.
type Contexts = Vec<(u64, Rates)>;

/// The field of an entry that cannot be used, and the problem.
pub(super) type FieldError = (String, String);

impl Compiled {
    pub(super) fn new(entry: &Entry) -> Result<Self, FieldError> {
        let base = entry.prices();
        check(&base, "")?;
        let mut tiers: Vec<(Box<str>, Contexts)> = vec![("".into(), contexts(&base, None, "")?)];
        let named =
            entry.service_tier.iter().map(|(name, prices)| (name.to_ascii_lowercase(), "service_tier.", prices));
        let batch = entry.batch.iter().map(|prices| (BATCH.to_owned(), "", prices));
        for (name, parent, prices) in named.chain(batch) {
            let field = format!("{parent}{name}");
            if USUAL_TIERS.contains(&name.as_str()) {
                return Err((field, "this is the usual tier: its prices stand in the entry itself".to_owned()));
            }
            if tiers.iter().any(|(known, _)| **known == *name) {
                return Err((field, "this tier is there twice; leave one of them out".to_owned()));
            }
            tiers.push((name.into(), tier_contexts(&base, prices, &field)?));
        }
        if tiers.len() > TIERS_MAX {
            return Err(("service_tier".to_owned(), format!("more than {TIERS_MAX} tiers")));
        }
        Ok(Compiled { currency: entry.currency(), tiers })
    }

    /// The rates under a tier and for an input of so many tokens, with the number above which they begin. None if the tier
    /// has no price.
    pub(super) fn rates(&self, tier: &str, input_tokens: u64) -> Option<(u64, &Rates)> {
        let (_, contexts) = self.tiers.iter().find(|(name, _)| **name == *tier)?;
        let found = contexts.iter().rev().find(|(over, _)| *over == 0 || input_tokens > *over)?;
        Some((found.0, &found.1))
    }
}

fn check(prices: &Prices, parent: &str) -> Result<(), FieldError> {
    if prices.above.len() > TIERS_MAX {
        return Err((format!("{parent}above"), format!("more than {TIERS_MAX} context tiers")));
    }
    let mut before = 0;
    for (number, above) in prices.above.iter().enumerate() {
        let field = format!("{parent}above[{number}].input_tokens_over");
        if above.input_tokens_over == 0 {
            return Err((field, "0 is where the entry's own prices begin; write them there".to_owned()));
        }
        if above.input_tokens_over <= before {
            let problem =
                format!("{} does not follow {before}: list the tiers by rising numbers", above.input_tokens_over);
            return Err((field, problem));
        }
        before = above.input_tokens_over;
    }
    Ok(())
}

fn tier_contexts(base: &Prices, tier: &TierPrices, field: &str) -> Result<Contexts, FieldError> {
    match tier {
        TierPrices::Factor(factor) => contexts(base, Some(*factor), field),
        TierPrices::Prices(own) => {
            if own.is_empty() {
                return Err((field.to_owned(), "no prices; give a factor such as 0.5, or per_million".to_owned()));
            }
            check(own, &format!("{field}."))?;
            contexts_of(&[own, base], None, field)
        }
    }
}

fn contexts(base: &Prices, factor: Option<Factor>, field: &str) -> Result<Contexts, FieldError> {
    contexts_of(&[base], factor, field)
}

/// Rates at every number of input tokens where they change. The first of `stack` goes first.
fn contexts_of(stack: &[&Prices], factor: Option<Factor>, field: &str) -> Result<Contexts, FieldError> {
    let mut starts: Vec<u64> =
        stack.iter().flat_map(|prices| &prices.above).map(|above| above.input_tokens_over).collect();
    starts.push(0);
    starts.sort_unstable();
    starts.dedup();
    starts.into_iter().map(|over| Ok((over, rates_at(stack, over, factor, field)?))).collect()
}

fn rates_at(stack: &[&Prices], over: u64, factor: Option<Factor>, field: &str) -> Result<Rates, FieldError> {
    // A price of its own, the nearest first; then the parent's.
    let mut own: BTreeMap<Kind, PerMillion> = BTreeMap::new();
    for prices in stack {
        let reached = prices.above.iter().rev().filter(|above| above.input_tokens_over <= over);
        for given in reached.map(|above| &above.per_million).chain([&prices.per_million]) {
            given.iter().for_each(|(TokenKind(kind), price)| _ = own.entry(*kind).or_insert(*price));
        }
    }
    let mut rates = [None; Kind::COUNT];
    for kind in Kind::ALL {
        let priced = std::iter::successors(Some(kind), |kind| kind.parent()).find_map(|kind| own.get(&kind));
        let unit = || stack.iter().find_map(|prices| prices.unit(kind));
        rates[kind as usize] = match (priced, kind.is_token()) {
            (Some(price), true) => Some(times(Pico(price.value().0 / MILLION), price.value(), factor, field)?),
            (None, true) => None,
            (_, false) => match unit() {
                Some(price) if kind == Kind::Search => Some(price.value()),
                Some(price) => Some(times(price.value(), price.value(), factor, field)?),
                None => None,
            },
        };
    }
    Ok(Rates(rates))
}

/// The price of one unit times the factor, if that is exact.
fn times(unit: Pico, shown: Pico, factor: Option<Factor>, field: &str) -> Result<Pico, FieldError> {
    let Some(factor) = factor else { return Ok(unit) };
    let product = unit.0.checked_mul(factor.value().0).filter(|product| product % PICO == 0);
    product.map(|product| Pico(product / PICO)).ok_or_else(|| {
        let problem = format!(
            "{shown} times {factor} has more digits than can be kept exactly; give the tier prices of its own \
             (per_million) instead of a factor"
        );
        (field.to_owned(), problem)
    })
}
