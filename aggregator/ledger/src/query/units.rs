//! Billable units by tenant and meter over a span, for the replay of price plans.
use std::collections::{BTreeMap, HashMap};

use rusqlite::params;
use weir_contract::Timestamp;

use super::{LedgerReader, millis};
use crate::LedgerError;
use crate::periods::{self, Anchor};

/// Units by meter, by tenant.
pub type TenantUnits = HashMap<String, BTreeMap<String, u64>>;

impl LedgerReader {
    /// Billable units of windows that start in a span, of one tenant or of all.
    pub fn units(&mut self, tenant: Option<&str>, from: Timestamp, to: Timestamp) -> Result<TenantUnits, LedgerError> {
        let sql = "SELECT tenant, meter, sum(billable) FROM usage
                   WHERE window_start >= ?1 AND window_start < ?2 AND (?3 IS NULL OR tenant = ?3) GROUP BY tenant, meter";
        let mut units = TenantUnits::new();
        let mut select = self.0.prepare_cached(sql)?;
        let mut rows = select.query(params![from.as_millis(), to.as_millis(), tenant])?;
        while let Some(row) = rows.next()? {
            units.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
        }
        Ok(units)
    }

    /// The first window with a billable unit, of one tenant or of each.
    pub fn first_windows(&mut self, tenant: Option<&str>) -> Result<HashMap<String, Timestamp>, LedgerError> {
        let sql = "SELECT tenant, min(window_start) FROM usage WHERE (?1 IS NULL OR tenant = ?1) AND billable > 0 GROUP BY tenant";
        let mut select = self.0.prepare_cached(sql)?;
        let rows = select.query_map([tenant], |row| Ok((row.get(0)?, millis(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Where billing periods begin, of each tenant for which that is known. The others have calendar months.
    pub fn anchors(&mut self) -> Result<HashMap<String, Anchor>, LedgerError> {
        periods::anchors(&self.0)
    }
}
