//! The vault's rows: changes of tenants' keys at providers, and their rotation.
pub mod rotate;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use weir_contract::vault::PROVIDER_KEYS_MAX;
use weir_contract::{TenantId, Timestamp};
use weir_database::Transaction;
use zeroize::Zeroizing;

use super::TenantStore;
use super::change::{By, ChangeError};
use super::edit::next_version;
use super::once::{Outcome, note};
use super::rows::{tenant, write_tenant};
use super::secrets::{self, StoredSecret, VaultTenant};
pub use super::secrets::{Fallback, ProviderKeyView};
use crate::vault::envelope::{Belongs, Key};
use crate::vault::kek::Kek;
use crate::vault::{KeyRing, ProviderSecret};

/// A tenant's keys at providers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderKeysView {
    /// The tenant.
    pub tenant: TenantId,
    /// Whose key serves where its own does not.
    pub fallback: Fallback,
    /// By provider.
    pub keys: Vec<ProviderKeyView>,
}

/// A key to be handed over.
#[derive(Clone, Debug)]
pub struct OpenedKey {
    /// The provider.
    pub provider: String,
    /// The version.
    pub version: u64,
    /// The key; None if it does not open.
    pub secret: Option<Zeroizing<String>>,
}

impl TenantStore {
    /// Stores a key of a tenant at a provider, in the place of the one before.
    pub fn put_provider_key(
        &self,
        id: &str,
        provider: &str,
        (secret, expires): (&ProviderSecret, Option<Timestamp>),
        ring: &KeyRing,
        by: &By,
    ) -> Result<Outcome<ProviderKeyView>, ChangeError> {
        check_provider(provider)?;
        if expires.is_some_and(|expires| expires <= by.at) {
            return Err(ChangeError::Over("expires"));
        }
        let request = ("provider key put", id, provider, secret.fingerprint(), expires);
        self.once(by, id, &request, |tx| {
            let owner = owner(tx, id)?;
            let before = secrets::secret(tx, &owner, provider)?;
            let others = secrets::secrets(tx, &owner)?.into_iter().filter(|other| other.provider != provider);
            if others.filter(|other| other.sealed.is_some()).count() >= PROVIDER_KEYS_MAX {
                return Err(ChangeError::Invalid(format!("at most {PROVIDER_KEYS_MAX} providers")));
            }
            let (_, key) = data_key(tx, &owner, ring)?;
            let version = before.as_ref().map_or(0, |before| before.version) + 1;
            let sealed = key.seal(Belongs::Secret(&owner, provider, version), secret.expose().as_bytes())?;
            let stored = StoredSecret {
                tenant: owner,
                provider: provider.to_owned(),
                version,
                sealed: Some(sealed),
                fingerprint: Some(secret.fingerprint()),
                last_four: Some(secret.last_four().to_owned()),
                bytes: u32::try_from(secret.expose().len()).ok(),
                expires,
                changed_at: by.at,
                changed_by: by.who.clone(),
            };
            replace(tx, "provider key put", before, &stored, by)
        })
    }

    /// Removes a key of a tenant at a provider. Its version stays counted.
    pub fn remove_provider_key(
        &self,
        id: &str,
        provider: &str,
        by: &By,
    ) -> Result<Outcome<ProviderKeyView>, ChangeError> {
        self.once(by, id, &("provider key remove", id, provider), |tx| {
            let owner = owner(tx, id)?;
            let missing = || ChangeError::NoKey { tenant: owner.clone(), key: format!("at provider {provider}") };
            let before = secrets::secret(tx, &owner, provider)?.ok_or_else(missing)?;
            if before.sealed.is_none() {
                return Ok(before.view());
            }
            let (tenant, provider, version) = (owner.clone(), before.provider.clone(), before.version);
            let stored = StoredSecret {
                tenant,
                provider,
                version,
                sealed: None,
                fingerprint: None,
                last_four: None,
                bytes: None,
                expires: None,
                changed_at: by.at,
                changed_by: by.who.clone(),
            };
            replace(tx, "provider key remove", Some(before), &stored, by)
        })
    }

    /// Says whose key serves a tenant where its own does not.
    pub fn set_fallback(&self, id: &str, to: Fallback, by: &By) -> Result<Outcome<ProviderKeysView>, ChangeError> {
        self.once(by, id, &("provider key fallback", id, to), |tx| {
            let owner = owner(tx, id)?;
            let mut kept = secrets::vault_tenant(tx, &owner)?;
            if kept.fallback != to {
                let from = std::mem::replace(&mut kept.fallback, to);
                secrets::write_vault_tenant(tx, &owner, &kept)?;
                let said = |fallback: Fallback| serde_json::json!({ "fallback": fallback });
                changed(tx, &owner, "provider key fallback", (Some(&said(from)), Some(&said(to))), by)?;
            }
            view(tx, &owner)
        })
    }

    /// A tenant's keys at providers, removed ones too.
    pub fn provider_keys(&self, id: &str) -> Result<ProviderKeysView, ChangeError> {
        let mut db = self.db();
        let tx = db.transaction()?;
        let owner = owner(&tx, id)?;
        view(&tx, &owner)
    }

    /// The keys of a tenant, to be handed over. What does not open has none.
    pub fn open_provider_keys(&self, tenant: &TenantId, ring: &KeyRing) -> Result<Vec<OpenedKey>, ChangeError> {
        let db = self.db();
        let stored = secrets::secrets(&db, tenant)?;
        let key = open_data_key(tenant, &secrets::vault_tenant(&db, tenant)?, ring);
        let opened = stored.into_iter().filter_map(|stored| {
            let sealed = stored.sealed?;
            let belongs = Belongs::Secret(tenant, &stored.provider, stored.version);
            let bytes = key.as_ref().and_then(|key| key.open(belongs, &sealed));
            let secret =
                bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned())));
            Some(OpenedKey { provider: stored.provider, version: stored.version, secret })
        });
        Ok(opened.collect())
    }
}

fn view(tx: &Transaction<'_>, owner: &TenantId) -> Result<ProviderKeysView, ChangeError> {
    let keys = secrets::secrets(tx, owner)?.iter().map(StoredSecret::view).collect();
    Ok(ProviderKeysView { tenant: owner.clone(), fallback: secrets::vault_tenant(tx, owner)?.fallback, keys })
}

fn owner(tx: &Transaction<'_>, id: &str) -> Result<TenantId, ChangeError> {
    Ok(tenant(tx, id)?.ok_or_else(|| ChangeError::NoTenant(id.to_owned()))?.entry.id)
}

/// Names of providers go into paths and into associated data.
fn check_provider(provider: &str) -> Result<(), ChangeError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=40).contains(&provider.len()) && provider.bytes().all(fits) {
        return Ok(());
    }
    Err(ChangeError::Invalid("a provider's name is 1 to 40 of a-z 0-9 _".to_owned()))
}

/// The data key of a tenant, which is made if there is none.
fn data_key(tx: &Transaction<'_>, tenant: &TenantId, ring: &KeyRing) -> Result<(VaultTenant, Key), ChangeError> {
    let mut kept = secrets::vault_tenant(tx, tenant)?;
    if kept.wrapped.is_some() {
        let key = open_data_key(tenant, &kept, ring).ok_or(ChangeError::Unreadable)?;
        return Ok((kept, key));
    }
    let key = new_data_key(tx, tenant, &mut kept, ring)?;
    Ok((kept, key))
}

fn new_data_key(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    kept: &mut VaultTenant,
    ring: &KeyRing,
) -> Result<Key, ChangeError> {
    let key = Key::random()?;
    kept.number += 1;
    wrap(tx, tenant, kept, &key, ring.current())?;
    Ok(key)
}

/// Wraps the data key of a tenant, and writes it.
fn wrap(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    kept: &mut VaultTenant,
    key: &Key,
    kek: &Kek,
) -> Result<(), ChangeError> {
    if is_retired(tx, kek)? {
        return Err(ChangeError::Rotated);
    }
    kept.wrapped = Some((kek.id().to_owned(), kek.key().seal(Belongs::DataKey(tenant, kept.number), key.bytes())?));
    Ok(secrets::write_vault_tenant(tx, tenant, kept)?)
}

/// Whether a rotation has dropped this key since the caller's ring was read: nothing that it wraps would open after a restart.
fn is_retired(tx: &Transaction<'_>, kek: &Kek) -> Result<bool, weir_database::Error> {
    if !kek.is_kept() {
        return Ok(false);
    }
    let is_known = "SELECT EXISTS (SELECT 1 FROM vault_root WHERE id = ?1)";
    tx.prepare_cached(is_known)?.query_row([kek.id()], |row| Ok(!row.get::<_, bool>(0)?))
}

/// The data key of a tenant; None if there is none, its key-encryption key is not known, or it does not open.
fn open_data_key(tenant: &TenantId, kept: &VaultTenant, ring: &KeyRing) -> Option<Key> {
    let (kek, wrapped) = kept.wrapped.as_ref()?;
    Key::of(&ring.find(kek)?.key().open(Belongs::DataKey(tenant, kept.number), wrapped)?)
}

fn replace(
    tx: &Transaction<'_>,
    act: &str,
    before: Option<StoredSecret>,
    stored: &StoredSecret,
    by: &By,
) -> Result<ProviderKeyView, ChangeError> {
    secrets::write_secret(tx, stored)?;
    let (from, to) = (before.map(|before| before.view()), stored.view());
    let from = from.map(serde_json::to_value).transpose()?;
    changed(tx, &stored.tenant, act, (from.as_ref(), Some(&serde_json::to_value(&to)?)), by)?;
    Ok(to)
}

/// Counts and notes a change of a tenant's keys at providers.
fn changed(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    act: &str,
    (from, to): (Option<&serde_json::Value>, Option<&serde_json::Value>),
    by: &By,
) -> Result<(), ChangeError> {
    let stored = next_version(tx, tenant.as_str(), None, by)?;
    write_tenant(tx, &stored)?;
    note(tx, by, (tenant, stored.version), act, from, to)
}
