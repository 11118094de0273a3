//! Makes, rotates and revokes keys.
use weir_contract::directory::ApiKey;
use weir_contract::tenant::is_id_byte;
use weir_database::Transaction;

use super::TenantStore;
use super::change::{By, ChangeError, Made, NewKey, OVERLAP_MAX_MS, Rotation};
use super::edit::{NAME_MAX_CHARS, check_name, next_version};
use super::once::{Outcome, note};
use super::rows::{self, StoredKey};
use super::view::KeyView;

/// How long a rotated key stays in force if the caller does not say.
const OVERLAP_DEFAULT_MS: u64 = 24 * 3_600 * 1_000;

impl TenantStore {
    /// Makes a key of a tenant; the answer has the key itself once.
    pub fn create_key(
        &self,
        tenant: &str,
        new: &NewKey,
        made: &Made,
        by: &By,
    ) -> Result<Outcome<KeyView>, ChangeError> {
        for (what, name) in [("plan", &new.plan), ("environment", &new.environment), ("feature", &new.feature)] {
            name.as_deref().map_or(Ok(()), |name| check_name(what, name))?;
        }
        let outcome = self.once(by, tenant, &("key create", tenant, new), |tx| {
            let key = add(tx, tenant, new, made, by)?;
            if new.expires.is_some_and(|expires| expires <= by.at) {
                return Err(ChangeError::Over("expires"));
            }
            changed(tx, tenant, "key create", None, Some(&key), by)?;
            Ok(key)
        })?;
        Ok(told(outcome, made))
    }

    /// Makes the successor of a key, and lets the old one expire.
    pub fn rotate_key(
        &self,
        tenant: &str,
        key: &str,
        rotation: &Rotation,
        made: &Made,
        by: &By,
    ) -> Result<Outcome<KeyView>, ChangeError> {
        let overlap_ms = rotation.overlap.map_or(OVERLAP_DEFAULT_MS, |overlap| overlap.0);
        if overlap_ms > OVERLAP_MAX_MS {
            return Err(ChangeError::Invalid("`overlap` is at most 90d".to_owned()));
        }
        let outcome = self.once(by, tenant, &("key rotate", tenant, key, rotation), |tx| {
            let mut old = in_force(tx, tenant, key, by)?;
            let before = old.view();
            let lifetime_ms = old.created_at.zip(old.key.expires).map(|(from, to)| to.millis_since(from));
            let new = NewKey {
                id: rotation.id.clone(),
                plan: old.key.plan.clone(),
                environment: old.key.environment.clone(),
                feature: old.key.feature.clone(),
                scopes: old.key.scopes.clone(),
                // As long as the old one was given.
                expires: lifetime_ms.map(|lifetime| by.at.plus_millis(lifetime)),
            };
            let successor = add(tx, tenant, &new, made, by)?;
            let end = by.at.plus_millis(overlap_ms);
            old.key.expires = Some(old.key.expires.map_or(end, |expires| expires.min(end)));
            old.revoked_at = (overlap_ms == 0).then_some(by.at);
            rows::write_key(tx, &old)?;
            changed(tx, tenant, "key rotate", Some(&before), Some(&old.view()), by)?;
            Ok(successor)
        })?;
        Ok(told(outcome, made))
    }

    /// Revokes a key: gateways refuse it from now on. Its name and hash are never used again.
    pub fn revoke_key(&self, tenant: &str, key: &str, by: &By) -> Result<Outcome<KeyView>, ChangeError> {
        self.once(by, tenant, &("key revoke", tenant, key), |tx| {
            let (before, after) = revoke(tx, tenant, key, by)?;
            if before != after {
                changed(tx, tenant, "key revoke", Some(&before), Some(&after), by)?;
            }
            Ok(after)
        })
    }
}

/// Revokes a key that may be revoked already; returns it as it was and as it is.
pub(super) fn revoke(
    tx: &Transaction<'_>,
    tenant: &str,
    key: &str,
    by: &By,
) -> Result<(KeyView, KeyView), ChangeError> {
    let mut key = find(tx, tenant, key)?;
    let before = key.view();
    key.revoked_at.get_or_insert(by.at);
    rows::write_key(tx, &key)?;
    Ok((before, key.view()))
}

/// The first answer has the key; the database does not keep it.
fn told(outcome: Outcome<KeyView>, made: &Made) -> Outcome<KeyView> {
    let Outcome { mut answer, repeated } = outcome;
    answer.key = (!repeated).then(|| made.key.clone());
    Outcome { answer, repeated }
}

pub(super) fn add(
    tx: &Transaction<'_>,
    tenant: &str,
    new: &NewKey,
    made: &Made,
    by: &By,
) -> Result<KeyView, ChangeError> {
    let owner = rows::tenant(tx, tenant)?.ok_or_else(|| ChangeError::NoTenant(tenant.to_owned()))?;
    let known = rows::keys(tx, tenant)?;
    new.id.as_deref().map_or(Ok(()), check_id)?;
    let taken = |id: &str| known.iter().any(|key| key.key.id == id);
    let id = match &new.id {
        Some(id) if taken(id) => return Err(ChangeError::Taken(format!("key {id} of tenant {tenant}"))),
        Some(id) => id.clone(),
        None => (known.len() + 1..).map(|number| format!("key-{number}")).find(|id| !taken(id)).unwrap_or_default(),
    };
    let key = ApiKey {
        id,
        sha256: made.hash(),
        plan: new.plan.clone(),
        environment: new.environment.clone(),
        feature: new.feature.clone(),
        scopes: new.scopes.clone(),
        expires: new.expires,
    };
    let stored = StoredKey { tenant: owner.entry.id, key, created_at: Some(by.at), revoked_at: None };
    rows::write_key(tx, &stored)?;
    Ok(stored.view())
}

/// Checks a key's name, which appears in events.
pub(super) fn check_id(id: &str) -> Result<(), ChangeError> {
    if (1..=NAME_MAX_CHARS).contains(&id.len()) && id.bytes().all(is_id_byte) {
        return Ok(());
    }
    let problem = format!("a key's `id` is 1 to {NAME_MAX_CHARS} characters of A-Z a-z 0-9 . _ ~ : @ | / + = -");
    Err(ChangeError::Invalid(problem))
}

fn find(tx: &Transaction<'_>, tenant: &str, key: &str) -> Result<StoredKey, ChangeError> {
    let owner = rows::tenant(tx, tenant)?.ok_or_else(|| ChangeError::NoTenant(tenant.to_owned()))?;
    let found = rows::keys(tx, tenant)?.into_iter().find(|known| known.key.id == key);
    found.ok_or_else(|| ChangeError::NoKey { tenant: owner.entry.id, key: key.to_owned() })
}

fn in_force(tx: &Transaction<'_>, tenant: &str, key: &str, by: &By) -> Result<StoredKey, ChangeError> {
    let found = find(tx, tenant, key)?;
    if found.is_in_force(by.at) {
        return Ok(found);
    }
    Err(ChangeError::Contradiction("the key is revoked or expired; make a new one"))
}

/// Counts and notes a change of a tenant's keys.
fn changed(
    tx: &Transaction<'_>,
    tenant: &str,
    act: &str,
    before: Option<&KeyView>,
    after: Option<&KeyView>,
    by: &By,
) -> Result<(), ChangeError> {
    let stored = next_version(tx, tenant, None, by)?;
    rows::write_tenant(tx, &stored)?;
    let json = |key: Option<&KeyView>| key.map(serde_json::to_value).transpose();
    note(tx, by, (&stored.entry.id, stored.version), act, json(before)?.as_ref(), json(after)?.as_ref())
}
