//! `weir lifetime`.
use std::collections::BTreeSet;

use weir_money::lifetime::{Known, LifetimeRow};

use super::{Finance, FinanceError};

impl Finance {
    /// Each tenant's time to its first answer, and its worth against what it cost to win; the marked ones first.
    pub fn lifetime(&mut self) -> Result<Vec<LifetimeRow>, FinanceError> {
        let first = self.reader.first_windows(None)?;
        let known: BTreeSet<&String> = self.tenants.ids().iter().chain(first.keys()).collect();
        let row = |tenant: &String| {
            let created_at = self.tenants.created().get(tenant).copied();
            let known = Known { created_at, first_answer: first.get(tenant).copied(), worth: None };
            LifetimeRow::new(tenant.clone(), known)
        };
        let mut rows: Vec<LifetimeRow> = known.into_iter().map(row).collect();
        rows.sort_by_key(|row| (!row.below, row.ratio));
        Ok(rows)
    }
}
