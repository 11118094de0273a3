//! One change: a transaction that happens once for each `Idempotency-Key`, and is in force before it is answered.
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_contract::TenantId;

use super::change::{By, ChangeError};
use super::view::Standing;
use super::{ANSWERS_KEPT_MS, IDEMPOTENCY_KEY_MAX_BYTES, TenantStore, rows, secrets};
use crate::{TenantEntry, pages};
use weir_contract::directory::{KEYS_MAX, TENANTS_MAX, Tenant};
use weir_database::{Connection, OptionalExtension, Transaction, params};

/// The answer to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<T> {
    /// The answer.
    pub answer: T,
    /// True if it is that of an earlier request with this `Idempotency-Key`.
    pub repeated: bool,
}

impl TenantStore {
    /// Runs `act`, which changes the tenant `id`, in a transaction. `request` is what the caller asks for.
    pub(super) fn once<T: Serialize + DeserializeOwned>(
        &self,
        by: &By,
        id: &str,
        request: &impl Serialize,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, ChangeError>,
    ) -> Result<Outcome<T>, ChangeError> {
        let mut db = self.db();
        let tx = db.write_transaction()?;
        let request: [u8; 32] = Sha256::digest(serde_json::to_vec(request)?).into();
        if let Some(answer) = repeated(&tx, by, &request)? {
            return Ok(Outcome { answer, repeated: true });
        }
        let answer = act(&tx)?;
        remember(&tx, by, &request, &answer)?;
        let (entry, standing) = self.with_room(&tx, id, by)?;
        self.commit(tx, by.at)?;
        self.directory.put(entry, standing == Standing::Archived)?;
        Ok(Outcome { answer, repeated: false })
    }

    /// The changed tenant, if gateways have room for it.
    fn with_room(&self, tx: &Transaction<'_>, id: &str, by: &By) -> Result<(TenantEntry, Standing), ChangeError> {
        let tenant = rows::tenant(tx, id)?.ok_or_else(|| ChangeError::NoTenant(id.to_owned()))?;
        let standing = tenant.standing;
        let mut entry = tenant.with_keys(rows::keys(tx, id)?, by.at);
        secrets::lay(tx, &mut entry)?;
        crate::check_tenant(&entry).map_err(ChangeError::Invalid)?;
        let snapshot = self.directory.current();
        let known = snapshot.state().tenant(&entry.id).transpose()?.map_or(0, |tenant| tenant.keys.len());
        let (tenants, keys) = snapshot.counts();
        let is_new = !snapshot.state().knows(&entry.id);
        if standing != Standing::Archived
            && (tenants + usize::from(is_new) > TENANTS_MAX || keys - known + entry.keys.len() > KEYS_MAX)
        {
            return Err(ChangeError::Full);
        }
        if !pages::fits(&as_sent(&entry))? {
            return Err(ChangeError::Invalid(crate::too_large(&entry.id)));
        }
        Ok((entry, standing))
    }
}

fn as_sent(entry: &TenantEntry) -> Tenant {
    Tenant {
        id: entry.id.clone(),
        plan: entry.plan.clone(),
        state: entry.state,
        keys: entry.keys.clone(),
        identifiers: entry.identifiers.clone(),
        placement: entry.placement.clone(),
        stages: Vec::new(),
        further_stages: Vec::new(),
        hard_budgets: Vec::new(),
        provider_keys: entry.provider_keys.clone(),
        house_key: entry.house_key,
    }
}

/// The answer that a request with this `Idempotency-Key` had.
fn repeated<T: DeserializeOwned>(db: &Connection, by: &By, request: &[u8; 32]) -> Result<Option<T>, ChangeError> {
    let Some(key) = &by.key else { return Ok(None) };
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX_BYTES {
        return Err(ChangeError::Invalid(format!("Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX_BYTES} bytes")));
    }
    let expired = by.at.as_millis().saturating_sub(ANSWERS_KEPT_MS);
    db.execute("DELETE FROM answered WHERE at < ?1", [expired])?;
    let sql = "SELECT request, answer FROM answered WHERE who = ?1 AND key = ?2";
    let found: Option<([u8; 32], String)> =
        db.query_row(sql, params![by.who, key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    match found {
        None => Ok(None),
        Some((known, answer)) if known == *request => Ok(Some(serde_json::from_str(&answer)?)),
        Some(_) => Err(ChangeError::OtherRequest),
    }
}

fn remember(db: &Connection, by: &By, request: &[u8; 32], answer: &impl Serialize) -> Result<(), ChangeError> {
    if let Some(key) = &by.key {
        let sql = "INSERT INTO answered(who, key, request, answer, at) VALUES (?1, ?2, ?3, ?4, ?5)";
        db.execute(sql, params![by.who, key, request, serde_json::to_string(answer)?, by.at.as_millis()])?;
    }
    Ok(())
}

/// Notes a change in the history.
pub(super) fn note(
    db: &Connection,
    by: &By,
    (tenant, version): (&TenantId, u64),
    act: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Result<(), ChangeError> {
    let sql = "INSERT INTO history(at, who, tenant, version, act, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let text = |value: Option<&Value>| value.map(Value::to_string);
    let values = params![by.at.as_millis(), by.who, tenant.as_str(), version, act, text(before), text(after)];
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
