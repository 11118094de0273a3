//! `weir lifetime`.
use std::collections::{BTreeSet, HashMap};

use weir_contract::Timestamp;
use weir_ledger::query::FirstWindows;
use weir_money::lifetime::{Known, LifetimeRow, Worth};
use weir_money::other::Purpose;

use super::query::MarginQuery;
use super::{Finance, FinanceError};

impl Finance {
    /// Each tenant's time to its first answer, and its worth against what it cost to win; the marked ones first.
    pub fn lifetime(&mut self) -> Result<Vec<LifetimeRow>, FinanceError> {
        let first = self.reader.first_windows(None)?;
        let worth = self.worth(&first)?;
        let known: BTreeSet<&String> = self.tenants.ids().iter().chain(first.keys()).collect();
        let row = |tenant: &String| {
            let created_at = self.tenants.created().get(tenant).copied();
            let worth = worth.get(tenant).copied();
            let known = Known { created_at, first_answer: first.get(tenant).copied(), worth };
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
        for ((tenant, currency), cost) in acquisition {
            let known = self.tenants.created().get(&tenant).or_else(|| first.get(&tenant)).copied();
            let Some(began) = known.filter(|began| *began < now) else { continue };
            let query = MarginQuery { tenant: Some(tenant.clone()), from: Some(began), to: Some(now), by: None };
            let margin =
                self.margin(&query)?.rows.into_iter().find(|row| row.key == tenant && row.currency == currency);
            let stated = stated.get(&(tenant.clone(), currency)).copied();
            let measured = margin.as_ref().map(|row| row.margin);
            let of = Worth {
                currency,
                revenue: margin.as_ref().map(|row| row.revenue),
                value: stated.or(measured),
                stated: stated.is_some(),
                acquisition_cost: Some(cost),
            };
            worth.insert(tenant, of);
        }
        Ok(worth)
    }
}
