//! When the credentials of a tenant were last used.
use std::collections::HashMap;

use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::params;

use super::LedgerReader;
use crate::LedgerError;

const DAY_MS: u64 = 24 * HOUR_MS;
/// How far back it looks, in days: single hours are kept no longer.
const DAYS_MAX: u64 = 90;

impl LedgerReader {
    /// The day on which each credential of a tenant was last used, of the days that single hours are kept for. Looks at one hour
    /// after the other, since rows are kept by hour: some 2,000 short look-ups at most.
    pub fn last_used(&mut self, tenant: &str, now: Timestamp) -> Result<HashMap<String, Timestamp>, LedgerError> {
        let mut found = HashMap::new();
        let tx = self.db().transaction()?;
        let mut select =
            tx.prepare_cached("SELECT DISTINCT credential FROM analysis WHERE window_start = ?1 AND tenant = ?2")?;
        for hours in 0..=DAYS_MAX * 24 {
            let window = now.hour().as_millis().saturating_sub(hours * HOUR_MS);
            let day = Timestamp::from_millis(window - window % DAY_MS);
            for credential in select.query_map(params![window, tenant], |row| row.get::<_, String>(0))? {
                found.entry(credential?).or_insert(day);
            }
        }
        Ok(found)
    }
}
