//! Tenants on their way in or out: what was asked for, how far it is, and the journal of every act.
//!
//! The steps themselves are the business of `weir-provisioning`; here a saga is a text. A tenant on its way in is not in the table
//! of tenants, so nobody meets half of it: [`TenantStore::publish`] writes tenant, keys and the end of the saga in one transaction,
//! and [`TenantStore::archive_for_good`] takes keys and vault away in one.
mod rows;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_contract::directory::{ApiKey, KeyHash};
use weir_contract::scopes::Scopes;
use weir_contract::{TenantId, Timestamp};
use weir_database::types::ToSql;
use weir_database::{Transaction, params};

use super::change::{By, ChangeError, Made, NewKey, NewTenant};
use super::edit::{self, check_name, next_version};
use super::once::note;
use super::read::limit as limit_of;
use super::rows as tenant_rows;
use super::view::{KeyView, Standing};
use super::{IDEMPOTENCY_KEY_MAX_BYTES, TenantStore, keys};
pub use rows::{JournalEntry, JournalPage, Saved};

/// The most tenants on their way at once; those that have left count until they are archived.
pub(crate) const UNDER_WAY_MAX: usize = 10_000;
/// The most keys that a tenant comes with.
pub(crate) const FIRST_KEYS_MAX: usize = 16;
/// How long sagas that have ended are kept with their journals, in milliseconds: a year and a month.
const ENDED_KEPT_MS: u64 = 396 * 24 * 3_600 * 1_000;
/// The acts of a journal that an answer shows, the latest ones.
const JOURNAL_SHOWN: u32 = 200;

/// A key that a tenant comes with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstKey {
    /// What it is like; its name is given.
    pub new: FirstKeyKind,
    /// Its hash. Absent before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<KeyHash>,
    /// Whether a caller was told the key.
    #[serde(default)]
    pub told: bool,
}

/// What a key is like that a tenant comes with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstKeyKind {
    /// Its name.
    pub id: String,
    /// Overrides the tenant's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The environment of usage under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The product feature it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// What it may be used for. Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
}

/// A tenant that is to come or go.
#[derive(Clone, Debug)]
pub struct NewProvisioning<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// `provision` or `deprovision`.
    pub kind: &'static str,
    /// What is asked for, as JSON.
    pub spec: &'a Value,
    /// The saga at its beginning.
    pub saga: &'a str,
    /// The keys that it comes with.
    pub keys: Vec<FirstKeyKind>,
}

/// An act of a saga, before or after it.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// The step.
    pub step: &'a str,
    /// What is done, or what came of it.
    pub act: &'a str,
    /// What came of it.
    pub detail: Option<&'a str>,
}

/// A saga as it is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Its number.
    pub number: i64,
    /// The saga.
    pub saga: &'a str,
    /// Whether it goes on.
    pub open: bool,
    /// What is happening.
    pub act: Act<'a>,
    /// When.
    pub at: Timestamp,
}

/// What was asked for: new, or known by its `Idempotency-Key`.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The saga.
    pub saved: Saved,
    /// Whether it was begun by an earlier request.
    pub repeated: bool,
}

impl TenantStore {
    /// Begins a saga, or finds the one that this `Idempotency-Key` has begun.
    pub fn begin_provisioning(&self, new: &NewProvisioning<'_>, by: &By) -> Result<Begun, ChangeError> {
        let key = by.key.as_deref().unwrap_or_default();
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX_BYTES {
            let problem = format!("give an Idempotency-Key of 1 to {IDEMPOTENCY_KEY_MAX_BYTES} bytes");
            return Err(ChangeError::Invalid(problem));
        }
        let request: [u8; 32] =
            Sha256::digest(serde_json::to_vec(&(new.kind, new.tenant, new.spec.get("request")))?).into();
        let mut db = self.db();
        let tx = db.write_transaction()?;
        if let Some((saved, known)) = rows::by_key(&tx, &by.who, key)? {
            let same = known == request;
            return if same { Ok(Begun { saved, repeated: true }) } else { Err(ChangeError::OtherRequest) };
        }
        check_begin(&tx, new)?;
        rows::expire(&tx, Timestamp::from_millis(by.at.as_millis().saturating_sub(ENDED_KEPT_MS)))?;
        let keys: Vec<FirstKey> =
            new.keys.iter().cloned().map(|new| FirstKey { new, sha256: None, told: false }).collect();
        let number = rows::insert(&tx, new, by, &request, &keys)?;
        let act = Act { step: "record", act: "done", detail: None };
        rows::write_act(&tx, number, by.at, act)?;
        let saved = rows::by_number(&tx, number)?.ok_or(ChangeError::Contradiction("the saga is gone"))?;
        tx.commit()?;
        Ok(Begun { saved, repeated: false })
    }

    /// Keeps a saga, and notes an act in its journal.
    pub fn keep_provisioning(&self, kept: Kept<'_>) -> Result<(), ChangeError> {
        let mut db = self.db();
        let tx = db.transaction()?;
        rows::keep(&tx, kept)?;
        Ok(tx.commit()?)
    }

    /// The numbers of the sagas that go on, the oldest first.
    pub fn provisionings_under_way(&self) -> Result<Vec<i64>, ChangeError> {
        Ok(rows::open(&self.db())?)
    }

    /// A saga by its number.
    pub fn provisioning(&self, number: i64) -> Result<Option<Saved>, ChangeError> {
        Ok(rows::by_number(&self.db(), number)?)
    }

    /// The latest saga of a tenant, with the latest acts of its journal, the earliest first.
    pub fn provisioning_of(&self, tenant: &str) -> Result<Option<(Saved, Vec<JournalEntry>)>, ChangeError> {
        let db = self.db();
        let Some(saved) = rows::latest(&db, tenant, None)? else { return Ok(None) };
        let journal = rows::journal(&db, saved.number, JOURNAL_SHOWN)?;
        Ok(Some((saved, journal)))
    }

    /// A page of the acts that are kept of a tenant's latest saga, the earliest first; None if there is no saga. A cursor stays with its
    /// saga, whatever begins meanwhile.
    pub fn journal(
        &self,
        tenant: &str,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Option<JournalPage>, ChangeError> {
        let limit = limit_of(limit)?;
        let wrong = || ChangeError::Invalid("`cursor` is the `next` of a page".to_owned());
        let after = cursor.map(|text| text.parse::<i64>().map_err(|_| wrong())).transpose()?.unwrap_or(0);
        let db = self.db();
        let number = match rows::saga_of_act(&db, tenant, after)? {
            Some(number) => number,
            None => match rows::latest(&db, tenant, None)? {
                Some(saved) => saved.number,
                None => return Ok(None),
            },
        };
        let mut acts = rows::acts_after(&db, number, after, limit + 1)?;
        let more = acts.len() > limit as usize;
        acts.truncate(limit as usize);
        let next = acts.last().filter(|_| more).map(|(number, _)| number.to_string());
        Ok(Some(JournalPage { acts: acts.into_iter().map(|(_, act)| act).collect(), next }))
    }

    /// The saga by which a tenant came, if it came by one.
    pub fn provisioned(&self, tenant: &str) -> Result<Option<Saved>, ChangeError> {
        Ok(rows::latest(&self.db(), tenant, Some("provision"))?)
    }

    /// Keeps what the outside system answered about an environment, unless it has answered before; returns its first answer.
    pub fn tell_environment(&self, number: i64, told: &str) -> Result<String, ChangeError> {
        Ok(rows::tell(&self.db(), number, told)?)
    }

    /// Keeps the hashes of the keys that a tenant comes with.
    pub fn make_first_keys(&self, number: i64, made: &[Made]) -> Result<(), ChangeError> {
        let mut db = self.db();
        let tx = db.transaction()?;
        let mut first = saved(&tx, number)?.keys;
        for (key, made) in first.iter_mut().zip(made) {
            key.sha256 = Some(made.hash());
        }
        rows::write_keys(&tx, number, &first)?;
        Ok(tx.commit()?)
    }

    /// Forgets the hashes of the keys of a tenant that does not come.
    pub fn drop_first_keys(&self, number: i64) -> Result<(), ChangeError> {
        self.make_first_keys_of(number, |key| key.sha256 = None)
    }

    fn make_first_keys_of(&self, number: i64, change: impl FnMut(&mut FirstKey)) -> Result<(), ChangeError> {
        let mut db = self.db();
        let tx = db.transaction()?;
        let mut first = saved(&tx, number)?.keys;
        first.iter_mut().for_each(change);
        rows::write_keys(&tx, number, &first)?;
        Ok(tx.commit()?)
    }

    /// Writes a tenant and its keys, and the end of its saga; then gateways learn of it. One transaction.
    pub fn publish(&self, new: &NewTenant, kept: Kept<'_>, by: &By) -> Result<(), ChangeError> {
        let by = By { key: None, ..by.clone() };
        self.once(&by, new.id.as_str(), &("publish", kept.number), |tx| {
            let first = saved(tx, kept.number)?.keys;
            edit::insert(tx, new, &by)?;
            for key in first {
                let Some(sha256) = key.sha256 else { continue };
                let FirstKeyKind { id, plan, environment, feature, scopes } = key.new;
                let key = ApiKey { id, sha256, plan, environment, feature, scopes, expires: None };
                let (tenant, created_at) = (new.id.clone(), Some(by.at));
                tenant_rows::write_key(tx, &tenant_rows::StoredKey { tenant, key, created_at, revoked_at: None })?;
            }
            rows::keep(tx, kept)?;
            Ok(Value::Null)
        })?;
        Ok(())
    }

    /// Notes that a caller is about to be told the keys of a tenant that came. False if one was told before.
    pub fn tell_first_keys(&self, number: i64) -> Result<bool, ChangeError> {
        let mut db = self.db();
        let tx = db.write_transaction()?;
        let mut first = saved(&tx, number)?.keys;
        if first.iter().any(|key| key.told) {
            return Ok(false);
        }
        first.iter_mut().for_each(|key| key.told = true);
        rows::write_keys(&tx, number, &first)?;
        tx.commit()?;
        Ok(true)
    }

    /// Makes other keys in the place of those that nobody was told and nobody knows any more. None if somebody was.
    pub fn replace_first_keys(
        &self,
        tenant: &TenantId,
        number: i64,
        made: &[Made],
        by: &By,
    ) -> Result<Option<Vec<KeyView>>, ChangeError> {
        let by = By { key: None, ..by.clone() };
        let outcome = self.once(&by, tenant.as_str(), &("replace", number), |tx| {
            let mut first = saved(tx, number)?.keys;
            if first.iter().any(|key| key.told) {
                return Ok(None);
            }
            let mut views = Vec::with_capacity(first.len());
            for (key, made) in first.iter_mut().zip(made) {
                keys::revoke(tx, tenant.as_str(), &key.new.id, &by)?;
                let FirstKeyKind { plan, environment, feature, scopes, .. } = key.new.clone();
                let view = keys::add(
                    tx,
                    tenant.as_str(),
                    &NewKey { id: None, plan, environment, feature, scopes, expires: None },
                    made,
                    &by,
                )?;
                (key.new.id, key.sha256, key.told) = (view.id.clone(), Some(made.hash()), true);
                views.push(view);
            }
            let stored = next_version(tx, tenant.as_str(), None, &by)?;
            tenant_rows::write_tenant(tx, &stored)?;
            note(tx, &by, (tenant, stored.version), "key rotate", None, Some(&serde_json::to_value(&views)?))?;
            rows::write_keys(tx, number, &first)?;
            Ok(Some(views))
        })?;
        Ok(outcome.answer)
    }

    /// Archives a suspended tenant, revokes its keys, and removes its part of the vault with its data key; with the end of its
    /// saga, in one transaction.
    pub fn archive_for_good(&self, tenant: &TenantId, kept: Kept<'_>, by: &By) -> Result<(), ChangeError> {
        let by = By { key: None, ..by.clone() };
        self.once(&by, tenant.as_str(), &("archive", kept.number), |tx| {
            let mut stored = next_version(tx, tenant.as_str(), None, &by)?;
            if stored.standing == Standing::Active {
                return Err(ChangeError::Contradiction("the tenant was let in again"));
            }
            let before = serde_json::json!({"state": stored.standing});
            stored.standing = Standing::Archived;
            tenant_rows::write_tenant(tx, &stored)?;
            for mut key in tenant_rows::keys(tx, tenant.as_str())? {
                key.revoked_at.get_or_insert(by.at);
                tenant_rows::write_key(tx, &key)?;
            }
            tx.execute("DELETE FROM vault_secret WHERE tenant = ?1", [tenant.as_str()])?;
            tx.execute("DELETE FROM vault_tenant WHERE tenant = ?1", [tenant.as_str()])?;
            let after = serde_json::json!({"state": Standing::Archived});
            note(tx, &by, (tenant, stored.version), "archive", Some(&before), Some(&after))?;
            rows::keep(tx, kept)?;
            Ok(Value::Null)
        })?;
        Ok(())
    }
}

/// Refuses a tenant and keys that could not be published, before anything is made for them.
pub fn check(new: &NewTenant, keys: &[FirstKeyKind]) -> Result<(), ChangeError> {
    check_name("plan", &new.plan)?;
    edit::check_entry(new)?;
    if keys.len() > FIRST_KEYS_MAX {
        return Err(ChangeError::Invalid(format!("at most {FIRST_KEYS_MAX} keys")));
    }
    for (at, key) in keys.iter().enumerate() {
        keys::check_id(&key.id)?;
        if keys.iter().take(at).any(|other| other.id == key.id) {
            return Err(ChangeError::Contradiction("two of the keys have the same name"));
        }
        for (what, name) in [("plan", &key.plan), ("environment", &key.environment), ("feature", &key.feature)] {
            name.as_deref().map_or(Ok(()), |name| check_name(what, name))?;
        }
    }
    Ok(())
}

fn saved(tx: &Transaction<'_>, number: i64) -> Result<Saved, ChangeError> {
    rows::by_number(tx, number)?.ok_or(ChangeError::Contradiction("there is no such provisioning"))
}

fn check_begin(tx: &Transaction<'_>, new: &NewProvisioning<'_>) -> Result<(), ChangeError> {
    let id = new.tenant.as_str();
    let is_there = tenant_rows::tenant(tx, id)?;
    match (new.kind, &is_there) {
        ("provision", Some(_)) => return Err(ChangeError::Taken(format!("tenant {id}"))),
        ("deprovision", None) => return Err(ChangeError::NoTenant(id.to_owned())),
        ("deprovision", Some(tenant)) if tenant.standing == Standing::Archived => {
            return Err(ChangeError::Contradiction("the tenant has left already"));
        }
        _ => {}
    }
    let under_way = |sql: &str, values: &[&dyn ToSql]| tx.query_row(sql, values, |row| row.get::<_, usize>(0));
    if under_way("SELECT count(*) FROM provisioning WHERE open = 1 AND tenant = ?1", params![id])? > 0 {
        return Err(ChangeError::Contradiction("the tenant is on its way already; look at its status"));
    }
    if under_way("SELECT count(*) FROM provisioning WHERE open = 1", &[])? >= UNDER_WAY_MAX {
        return Err(ChangeError::Contradiction("too many tenants are on their way; try again later"));
    }
    Ok(())
}
