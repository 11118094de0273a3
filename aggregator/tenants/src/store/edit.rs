//! Creates and changes tenants.
use serde_json::{Map, Value};

use super::TenantStore;
use super::change::{By, ChangeError, NewTenant, TenantPatch};
use super::once::{Outcome, note};
use super::read::view;
use super::rows::{self, StoredTenant};
use super::view::{Standing, TenantView};
use crate::TenantEntry;
use weir_contract::Timestamp;
use weir_contract::directory::{REVOKED_MAX, REVOKED_MAX_BYTES, Revoked, TenantState};
use weir_database::Transaction;

/// The longest name of a plan, an environment, a feature or a key, in characters.
pub(super) const NAME_MAX_CHARS: usize = 128;

impl TenantStore {
    /// Creates a tenant, active and without keys.
    pub fn create(&self, new: &NewTenant, by: &By) -> Result<Outcome<TenantView>, ChangeError> {
        check_name("plan", &new.plan)?;
        self.once(by, new.id.as_str(), &("create", new), |tx| {
            if rows::is_coming(tx, new.id.as_str())? {
                return Err(ChangeError::Taken(format!("tenant {}, which is on its way,", new.id)));
            }
            insert(tx, new, by)
        })
    }

    /// Changes a tenant. With `expected`, only that version of it.
    pub fn change(
        &self,
        id: &str,
        patch: &TenantPatch,
        expected: Option<u64>,
        by: &By,
    ) -> Result<Outcome<TenantView>, ChangeError> {
        if let Some(plan) = &patch.plan {
            check_name("plan", plan)?;
        }
        self.once(by, id, &("change", id, patch), |tx| {
            let before = view(tx, id, by.at)?;
            let mut stored = next_version(tx, id, expected, by)?;
            apply(&mut stored, patch);
            check_billing(&stored.entry)?;
            let after = stored.view(before.keys);
            let (from, to) = differing(&serde_json::to_value(&before)?, &serde_json::to_value(&after)?);
            if from == to {
                return Ok(before);
            }
            rows::write_tenant(tx, &stored)?;
            note(tx, by, (&after.id, after.version), "change", Some(&from), Some(&to))?;
            Ok(after)
        })
    }
}

impl TenantStore {
    /// What is revoked of tokens and signing keys.
    pub fn revoked(&self) -> Result<Revoked, ChangeError> {
        Ok(rows::revoked(&self.db())?)
    }

    /// Replaces what is revoked of tokens and signing keys.
    pub fn revoke(&self, revoked: Revoked, now: Timestamp) -> Result<(), ChangeError> {
        if !revoked.fits() {
            let problem = format!("at most {REVOKED_MAX} names, each of 1 to {REVOKED_MAX_BYTES} bytes");
            return Err(ChangeError::Invalid(problem));
        }
        let mut db = self.db();
        let tx = db.write_transaction()?;
        rows::write_revoked(&tx, &revoked)?;
        self.commit(tx, now)?;
        Ok(self.directory().revoke(revoked)?)
    }
}

/// Writes a new tenant, active and without keys.
pub(super) fn insert(tx: &Transaction<'_>, new: &NewTenant, by: &By) -> Result<TenantView, ChangeError> {
    if rows::tenant(tx, new.id.as_str())?.is_some() {
        return Err(ChangeError::Taken(format!("tenant {}", new.id)));
    }
    let entry = entry_of(new, by.at);
    check_billing(&entry)?;
    let stored = StoredTenant { version: 1, standing: Standing::Active, changed_at: by.at, entry };
    rows::write_tenant(tx, &stored)?;
    let answer = stored.view(0);
    note(tx, by, (&answer.id, 1), "create", None, Some(&serde_json::to_value(&answer)?))?;
    Ok(answer)
}

/// Refuses a new tenant that could not be written.
pub(super) fn check_entry(new: &NewTenant) -> Result<(), ChangeError> {
    let entry = entry_of(new, Timestamp::default());
    check_billing(&entry)?;
    crate::check_tenant(&entry).map_err(ChangeError::Invalid)
}

fn entry_of(new: &NewTenant, now: Timestamp) -> TenantEntry {
    let new = new.clone();
    TenantEntry {
        id: new.id,
        plan: new.plan,
        state: TenantState::Active,
        keys: Vec::new(),
        identifiers: new.identifiers,
        placement: new.placement.map(Box::new),
        owner: new.owner,
        budgets: new.budgets,
        stripe_customer: new.stripe_customer,
        billing_anchor: new.billing_anchor,
        billing_interval: new.billing_interval,
        created_at: Some(now),
        provider_keys: Vec::new(),
        house_key: false,
    }
}

/// The tenant as it is to be written after one more change.
pub(super) fn next_version(
    tx: &Transaction<'_>,
    id: &str,
    expected: Option<u64>,
    by: &By,
) -> Result<StoredTenant, ChangeError> {
    let mut stored = rows::tenant(tx, id)?.ok_or_else(|| ChangeError::NoTenant(id.to_owned()))?;
    if expected.is_some_and(|expected| expected != stored.version) {
        return Err(ChangeError::Stale { now: stored.version });
    }
    stored.version += 1;
    stored.changed_at = by.at;
    Ok(stored)
}

fn apply(stored: &mut StoredTenant, patch: &TenantPatch) {
    let TenantPatch {
        state,
        plan,
        identifiers,
        placement,
        owner,
        budgets,
        stripe_customer,
        billing_anchor,
        billing_interval,
    } = patch.clone();
    let entry = &mut stored.entry;
    stored.standing = state.unwrap_or(stored.standing);
    entry.plan = plan.unwrap_or_else(|| std::mem::take(&mut entry.plan));
    entry.identifiers = identifiers.unwrap_or_else(|| std::mem::take(&mut entry.identifiers));
    if let Some(placement) = placement {
        entry.placement = placement.filter(|placement| !placement.is_empty()).map(Box::new);
    }
    entry.owner = owner.unwrap_or_else(|| entry.owner.take());
    entry.budgets = budgets.unwrap_or_else(|| std::mem::take(&mut entry.budgets));
    entry.stripe_customer = stripe_customer.unwrap_or_else(|| entry.stripe_customer.take());
    entry.billing_anchor = billing_anchor.unwrap_or(entry.billing_anchor);
    entry.billing_interval = billing_interval.unwrap_or(entry.billing_interval);
}

fn check_billing(entry: &TenantEntry) -> Result<(), ChangeError> {
    if entry.billing_interval.is_some() && entry.billing_anchor.is_none() {
        return Err(ChangeError::Contradiction("`billing_interval` says nothing without a `billing_anchor`"));
    }
    Ok(())
}

/// The members of two objects that differ; versions and times of change always do.
pub(super) fn differing(before: &Value, after: &Value) -> (Value, Value) {
    let (mut from, mut to) = (Map::new(), Map::new());
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (before, after) = (members(before), members(after));
    let told = |name: &&String| !matches!(name.as_str(), "version" | "changed_at" | "warnings");
    for name in before.keys().chain(after.keys()).filter(told) {
        let (old, new) = (before.get(name), after.get(name));
        if old != new {
            from.insert(name.clone(), old.cloned().unwrap_or_default());
            to.insert(name.clone(), new.cloned().unwrap_or_default());
        }
    }
    (Value::Object(from), Value::Object(to))
}

/// Checks a name that is written into headers and events.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), ChangeError> {
    let is_printable = name.chars().all(|c| !c.is_control());
    if !(1..=NAME_MAX_CHARS).contains(&name.chars().count()) || !is_printable {
        return Err(ChangeError::Invalid(format!("`{what}` has 1 to {NAME_MAX_CHARS} printable characters")));
    }
    Ok(())
}
