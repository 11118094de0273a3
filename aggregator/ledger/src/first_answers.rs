//! When each tenant's first request was answered: with usage, and without an error.
use std::collections::{BTreeMap, HashMap};

use weir_contract::{Outcome, TenantId, Timestamp, UsageData, UsageStatus};
use weir_database::types::{ToSqlOutput, ValueRef};
use weir_database::{Connection, Transaction};

use super::{LedgerError, signed};

/// The first answers of a transaction's events.
#[derive(Debug, Default)]
pub(super) struct FirstAnswers(BTreeMap<TenantId, Timestamp>);

impl FirstAnswers {
    /// Notes a request that is counted.
    pub(super) fn note(&mut self, tenant: &TenantId, time: Timestamp, data: &UsageData<'_>) {
        if data.outcome != Outcome::Ok || data.usage.status == UsageStatus::None {
            return;
        }
        match self.0.get_mut(tenant) {
            Some(known) => *known = time.min(*known),
            None => drop(self.0.insert(tenant.clone(), time)),
        }
    }

    /// Writes what is earlier than known.
    pub(super) fn write(self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        let mut rows = Vec::with_capacity(self.0.len());
        for (tenant, at) in &self.0 {
            let tenant = ToSqlOutput::Borrowed(ValueRef::Text(tenant.as_str().as_bytes()));
            rows.push(vec![tenant, signed(at.as_millis())?.into()]);
        }
        let conflict = "ON CONFLICT (tenant) DO UPDATE SET at = excluded.at WHERE excluded.at < first_answer.at";
        Ok(tx.insert_rows("first_answer(tenant, at)", conflict, &rows)?)
    }
}

/// The first answers of all tenants.
pub(super) fn all(db: &Connection) -> Result<HashMap<String, Timestamp>, LedgerError> {
    let mut select = db.prepare_cached("SELECT tenant, at FROM first_answer")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, Timestamp::from_millis(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
