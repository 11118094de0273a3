//! Carries fractions of a unit until they make a whole one.
//!
//! Sums are whole numbers, because those are billed. The rest that a weight leaves is kept per tenant, meter and
//! reason, in billionths; the event that completes a unit adds it to its own window. So `sums + carry` is exact at any
//! moment, and depends only on the order of the log, not on its division into transactions.
use std::collections::BTreeMap;

use weir_contract::TenantId;
use weir_database::types::{ToSqlOutput, ValueRef};
use weir_database::{OptionalExtension, Transaction, params};

use super::{LedgerError, signed};
use crate::meters::Exclusion;
use crate::meters::weight::NANO;

/// The fractions changed by one transaction, in billionths, by tenant, number of the meter, and reason.
#[derive(Debug, Default)]
pub(super) struct FractionCarry(BTreeMap<(TenantId, usize, Option<Exclusion>), u64>);

impl FractionCarry {
    /// Adds `nano` billionths, less than one unit. Returns 1 if they complete a unit, else 0.
    pub(super) fn add(
        &mut self,
        tx: &Transaction<'_>,
        tenant: &TenantId,
        meter: (usize, &str),
        reason: Option<Exclusion>,
        nano: u64,
    ) -> Result<u64, LedgerError> {
        let key = (tenant.clone(), meter.0, reason);
        let known = match self.0.get(&key) {
            Some(known) => *known,
            None => load(tx, tenant, meter.1, reason)?,
        };
        assert!(nano < NANO, "what is carried is less than a unit");
        let sum = known + nano;
        self.0.insert(key, sum % NANO);
        Ok(sum / NANO)
    }

    /// Writes all fractions; `names` maps a meter's number to its name.
    pub(super) fn write(&self, tx: &Transaction<'_>, names: &[String]) -> Result<(), LedgerError> {
        let mut rows = Vec::with_capacity(self.0.len());
        for ((tenant, meter, reason), nano) in &self.0 {
            let key = [tenant.as_str(), &names[*meter], word(*reason)];
            let key = key.into_iter().map(|text| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())));
            rows.push(key.chain([signed(*nano)?.into()]).collect());
        }
        let conflict = "ON CONFLICT (tenant, meter, reason) DO UPDATE SET nano = excluded.nano";
        Ok(tx.insert_rows("carry(tenant, meter, reason, nano)", conflict, &rows)?)
    }
}

fn word(reason: Option<Exclusion>) -> &'static str {
    reason.map_or("", Exclusion::as_str)
}

fn load(tx: &Transaction<'_>, tenant: &TenantId, meter: &str, reason: Option<Exclusion>) -> Result<u64, LedgerError> {
    let sql = "SELECT nano FROM carry WHERE tenant = ?1 AND meter = ?2 AND reason = ?3";
    let key = params![tenant.as_str(), meter, word(reason)];
    let nano: Option<u64> = tx.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    match nano.unwrap_or(0) {
        nano if nano < NANO => Ok(nano),
        nano => {
            Err(LedgerError::Inconsistent(format!("{tenant}, {meter}: {nano} billionths are carried, a unit or more")))
        }
    }
}
