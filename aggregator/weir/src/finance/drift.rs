//! Whether requests of a model, a feature or a prompt version cost more of late than in the weeks before, from sums by day.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_ledger::analysis::OTHER;
use weir_ledger::values::ValueQuery;
use weir_ledger::view::cost::CostSums;
use weir_money::amount::{Currency, Pico};
use weir_money::margin::average;
use weir_money::ratio::Percent;
use weir_steer::alert::deploy::{self, Deploy};

use super::{Finance, FinanceError};

const DAY_MS: u64 = 24 * HOUR_MS;
/// The days of late, today among them, and those before that they are compared with.
const LATELY_DAYS: u64 = 7;
const BEFORE_DAYS: u64 = 28;
/// The most values that are told apart; further ones are summed as [`OTHER`]. Clients choose some.
const VALUES_MAX: usize = 10_000;
const MILLION: i128 = 1_000_000;

/// What requests cost of late and before.
#[derive(Clone, Debug, Default)]
pub(crate) struct DriftView {
    /// The first moment before.
    pub(crate) from: Timestamp,
    /// The first moment of late.
    pub(crate) since: Timestamp,
    /// The values that cost something of late, the greatest cost first.
    pub(crate) rows: Vec<DriftRow>,
    /// The deploys since the first moment, the latest first.
    pub(crate) deploys: Vec<Deploy>,
}

/// One value in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DriftRow {
    pub(crate) value: String,
    pub(crate) currency: Currency,
    pub(crate) before: Use,
    pub(crate) lately: Use,
}

/// Requests and what they cost, in a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) requests: u64,
    tokens: u64,
    pub(crate) cost: Pico,
}

impl Use {
    fn add(&mut self, sums: &CostSums) {
        self.requests += sums.requests;
        self.tokens += sums.input_tokens + sums.output_tokens;
        self.cost += sums.cost;
    }

    /// The cost of a request; None without any.
    pub(crate) fn per_request(&self) -> Option<Pico> {
        average(self.cost, self.requests)
    }

    /// The cost of a million tokens; None without any.
    pub(crate) fn per_million_tokens(&self) -> Option<Pico> {
        average(Pico(self.cost.0.saturating_mul(MILLION)), self.tokens)
    }
}

impl DriftRow {
    /// How much more a request costs than before; None where there was none, or it cost nothing.
    pub(crate) fn of_request(&self) -> Option<Percent> {
        moved(self.before.per_request()?, self.lately.per_request()?)
    }

    /// The same of a token.
    pub(crate) fn of_token(&self) -> Option<Percent> {
        moved(self.before.per_million_tokens()?, self.lately.per_million_tokens()?)
    }
}

fn moved(before: Pico, lately: Pico) -> Option<Percent> {
    Percent::of((lately - before).0, before.0)
}

impl DriftView {
    /// The latest deploy that may have changed a value of a dimension.
    pub(crate) fn deploy(&self, by: &str, value: &str) -> Option<&Deploy> {
        self.deploys.iter().find(|deploy| deploy.concerns(by, value))
    }
}

impl Finance {
    /// Compares what requests cost in the last seven days, up to now, with the four weeks before, by a dimension. Where sums are not
    /// kept as long, the weeks before begin later.
    pub(crate) fn drift(&mut self, by: &str) -> Result<DriftView, FinanceError> {
        let today = self.now.as_millis() / DAY_MS * DAY_MS;
        let day = |ago: u64| Timestamp::from_millis(today.saturating_sub(ago * DAY_MS));
        let since = day(LATELY_DAYS - 1);
        let from = day(LATELY_DAYS - 1 + BEFORE_DAYS).max(self.kept_since(by, self.now)?).min(since);
        let mut used = BTreeMap::new();
        self.add_uses(by, (from, since), &mut used, |(before, _)| before)?;
        self.add_uses(by, (since, self.now), &mut used, |(_, lately)| lately)?;
        let row = |((value, currency), (before, lately))| DriftRow { value, currency, before, lately };
        let mut rows: Vec<DriftRow> = used.into_iter().map(row).filter(|row| row.lately.requests > 0).collect();
        rows.sort_by_key(|row| (row.currency, std::cmp::Reverse(row.lately.cost)));
        let mut deploys = deploy::list(self.reader.db(), deploy::SHOWN_MAX)?;
        deploys.retain(|deploy| deploy.at >= from);
        Ok(DriftView { from, since, rows, deploys })
    }

    fn add_uses(
        &mut self,
        by: &str,
        (from, to): (Timestamp, Timestamp),
        used: &mut BTreeMap<(String, Currency), (Use, Use)>,
        side: impl Fn(&mut (Use, Use)) -> &mut Use,
    ) -> Result<(), FinanceError> {
        let query = ValueQuery { tenant: None, by: &[by], from, to, by_tenant: true };
        self.reader.value_costs(&query, &mut |_, costs| {
            for cost in costs {
                // Of what has no price nothing is known.
                let Some(currency) = cost.currency else { continue };
                let key = (cost.value, currency);
                let has_room = used.len() < VALUES_MAX || used.contains_key(&key);
                let key = if has_room { key } else { (OTHER.to_owned(), currency) };
                side(used.entry(key).or_default()).add(&cost.sums);
            }
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(requests: u64, tokens: u64, cost: &str) -> Use {
        Use { requests, tokens, cost: Pico::parse(cost).expect("an amount") }
    }

    fn row(before: Use, lately: Use) -> DriftRow {
        DriftRow { value: "m".to_owned(), currency: Currency::USD, before, lately }
    }

    #[test]
    fn a_request_that_costs_half_more_has_drifted_by_half_however_many_there_are() {
        let row = row(of(1_000, 2_000_000, "2"), of(10, 30_000, "0.03"));
        assert_eq!(row.of_request(), Some(Percent::whole(50)));
        assert_eq!(row.of_token(), Some(Percent::whole(0)), "longer ones, at the same price");
        assert_eq!(row.lately.per_million_tokens(), Pico::parse("1"));
    }

    #[test]
    fn what_was_not_there_or_cost_nothing_before_has_not_drifted() {
        assert_eq!(row(Use::default(), of(10, 10, "1")).of_request(), None);
        assert_eq!(row(of(10, 0, "0"), of(10, 10, "1")).of_request(), None);
        assert_eq!(row(of(10, 0, "1"), of(10, 10, "1")).of_token(), None, "images have no tokens");
    }

    #[test]
    fn a_request_that_costs_less_has_drifted_down() {
        assert_eq!(row(of(10, 10, "10"), of(10, 10, "9")).of_request(), Some(Percent::whole(-10)));
    }
}
