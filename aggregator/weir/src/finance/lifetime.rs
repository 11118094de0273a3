//! `weir lifetime`.
use std::collections::{BTreeSet, HashMap};

use weir_contract::Timestamp;
use weir_ledger::query::FirstWindows;
use weir_money::amount::{Currency, Pico};
use weir_money::lifetime::{Known, LifetimeRow, Worth};
use weir_money::margin::{MarginRow, Unpriced};
use weir_money::other::Purpose;

use super::{Finance, FinanceError};

impl Finance {
    /// Each tenant's time to its first answer, and its worth against what it cost to win; the marked ones first.
    pub fn lifetime(&mut self) -> Result<Vec<LifetimeRow>, FinanceError> {
        let (first, answers) = (self.reader.first_windows(None)?, self.reader.first_answers()?);
        let worth = self.worth(&first)?;
        let known: BTreeSet<&String> = self.tenants.ids().iter().chain(first.keys()).chain(answers.keys()).collect();
        let row = |tenant: &String| {
            let created_at = self.tenants.created().get(tenant).copied();
            let worth = worth.get(tenant).copied();
            let known = Known { created_at, first_answer: answers.get(tenant).copied(), worth };
            LifetimeRow::new(tenant.clone(), known)
        };
        let mut rows: Vec<LifetimeRow> = known.into_iter().map(row).collect();
        rows.sort_by_key(|row| (!row.below, row.ratio));
        Ok(rows)
    }

    /// What tenants with an acquisition cost are worth, as readings state or as measured so far, and that cost.
    fn worth(&mut self, first: &FirstWindows) -> Result<HashMap<String, Worth>, FinanceError> {
        let now = self.now;
        let stated = self.other(None, Timestamp::default(), now, Purpose::LifetimeValue)?;
        let acquisition = self.other(None, Timestamp::default(), now, Purpose::Acquisition)?;
        let mut worth = HashMap::new();
        let began = |tenant: &String| {
            let known = self.tenants.created().get(tenant).or_else(|| first.get(tenant)).copied();
            known.filter(|began| *began < now)
        };
        let Some(earliest) = acquisition.keys().filter_map(|(tenant, _)| began(tenant)).min() else { return Ok(worth) };
        let known: Vec<(String, Currency, Pico)> = acquisition
            .into_iter()
            .filter(|((tenant, _), _)| began(tenant).is_some())
            .map(|((tenant, currency), cost)| (tenant, currency, cost))
            .collect();
        // One span for all of them, as neither revenue nor usage of a tenant is older than its beginning.
        let mut margins = self.by_tenant(None, earliest, now)?;
        for (tenant, currency, cost) in known {
            let key = (tenant, currency);
            let margin = margins.remove(&key).map(|amounts| MarginRow::new(String::new(), currency, amounts));
            let stated = stated.get(&key).copied();
            let measured = margin.as_ref().map(|row| row.margin);
            let of = Worth {
                currency,
                revenue: margin.as_ref().map(|row| row.revenue),
                value: stated.or(measured),
                stated: stated.is_some(),
                acquisition_cost: Some(cost),
                unpriced: margin.as_ref().map_or_else(Unpriced::default, MarginRow::unpriced),
            };
            worth.insert(key.0, of);
        }
        Ok(worth)
    }
}
