//! `weir lifetime`.
use std::collections::{BTreeSet, HashMap};

use weir_contract::Timestamp;
use weir_money::amount::{Currency, Pico};
use weir_money::lifetime::{Known, LifetimeRow};
use weir_money::other::Purpose;

use super::query::MarginQuery;
use super::{Finance, FinanceError};

/// The currency, the value and the acquisition cost of a tenant.
type Worth = (Currency, Option<Pico>, Option<Pico>);

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

    /// What tenants with an acquisition cost have left over so far, and that cost.
    fn worth(&mut self, first: &HashMap<String, Timestamp>) -> Result<HashMap<String, Worth>, FinanceError> {
        let now = self.now;
        let acquisition = self.other(None, Timestamp::default(), now, Purpose::Acquisition)?;
        let mut worth = HashMap::new();
        for ((tenant, currency), cost) in acquisition {
            let known = self.tenants.created().get(&tenant).or_else(|| first.get(&tenant)).copied();
            let Some(began) = known.filter(|began| *began < now) else { continue };
            let query = MarginQuery { tenant: Some(tenant.clone()), from: Some(began), to: Some(now), by: None };
            let margin =
                self.margin(&query)?.rows.into_iter().find(|row| row.key == tenant && row.currency == currency);
            worth.insert(tenant, (currency, margin.map(|row| row.margin), Some(cost)));
        }
        Ok(worth)
    }
}
