//! Who answered for models: read from the latest windows of a span, since windows are the only sums that name providers.
use std::collections::{BTreeMap, BTreeSet};

use weir_contract::Timestamp;
use weir_database::params;

use super::LedgerError;
use super::query::LedgerReader;

/// The most windows that are read: a day's. What was used in none of them has no known provider.
const WINDOWS_MAX: usize = 24;

impl LedgerReader {
    /// The providers that answered for each of `models`, the latest window first. Windows are read until every model is found, so that
    /// models in use cost one window.
    pub fn providers_of(
        &mut self,
        models: &BTreeSet<String>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, LedgerError> {
        let tx = self.db().transaction()?;
        let mut latest =
            tx.prepare_cached("SELECT max(window_start) FROM analysis WHERE window_start >= ?1 AND window_start < ?2")?;
        let mut named = tx.prepare_cached("SELECT DISTINCT model, provider FROM analysis WHERE window_start = ?1")?;
        let (mut found, mut before) = (BTreeMap::<String, BTreeSet<String>>::new(), to.as_millis());
        for _ in 0..WINDOWS_MAX {
            if found.len() == models.len() {
                break;
            }
            let window: Option<u64> = latest.query_row(params![from.as_millis(), before], |row| row.get(0))?;
            let Some(window) = window else { break };
            let mut rows = named.query([window])?;
            while let Some(row) = rows.next()? {
                let model = row.get_ref(0)?.as_str().unwrap_or_default();
                if models.contains(model) {
                    found.entry(model.to_owned()).or_default().insert(row.get(1)?);
                }
            }
            before = window;
        }
        Ok(found)
    }
}
