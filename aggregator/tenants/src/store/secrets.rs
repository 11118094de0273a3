//! Rows of the vault as values, one way and the other, and what gateways learn of them.
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use weir_contract::vault::ProviderKey;
use weir_contract::{TenantId, Timestamp};
use weir_database::{Connection, OptionalExtension, Row, params};
use weir_key_delivery::sealed_bytes;

use super::rows::id;
use crate::TenantEntry;

const SECRET: &str =
    "tenant, provider, version, sealed, fingerprint, last_four, bytes, expires, changed_at, changed_by";

/// Whose key serves a tenant whose own is missing, has expired or cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Nobody's: the request is refused.
    #[default]
    None,
    /// The operator's.
    House,
}

impl Fallback {
    /// As the database, the API and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Fallback::None => "none",
            Fallback::House => "house",
        }
    }
}

/// A key of a tenant at a provider, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderKeyView {
    /// Its tenant.
    pub tenant: TenantId,
    /// The provider.
    pub provider: String,
    /// Counts the keys that the tenant has had there.
    pub version: u64,
    /// The first 16 hex digits of its SHA-256; absent once it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Its last four characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_four: Option<String>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was stored or removed.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
}

/// The data key of a tenant, and its fallback.
#[derive(Clone, Debug, Default)]
pub(super) struct VaultTenant {
    /// The number of the data key; 0 before there is one.
    pub(super) number: u64,
    /// The key-encryption key, and the data key that it wraps.
    pub(super) wrapped: Option<(String, Vec<u8>)>,
    pub(super) fallback: Fallback,
}

/// A key at a provider, removed or not.
#[derive(Clone, Debug)]
pub(super) struct StoredSecret {
    pub(super) tenant: TenantId,
    pub(super) provider: String,
    pub(super) version: u64,
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) fingerprint: Option<String>,
    pub(super) last_four: Option<String>,
    /// The length of the key.
    pub(super) bytes: Option<u32>,
    pub(super) expires: Option<Timestamp>,
    pub(super) changed_at: Timestamp,
    pub(super) changed_by: String,
}

impl StoredSecret {
    pub(super) fn view(&self) -> ProviderKeyView {
        ProviderKeyView {
            tenant: self.tenant.clone(),
            provider: self.provider.clone(),
            version: self.version,
            fingerprint: self.fingerprint.clone(),
            last_four: self.last_four.clone(),
            expires: self.expires,
            changed_at: self.changed_at,
            changed_by: self.changed_by.clone(),
        }
    }

    /// What gateways learn of it; None once it is removed.
    pub(super) fn notice(&self) -> Option<ProviderKey> {
        self.sealed.as_ref()?;
        let sealed_bytes = sealed_bytes(self.bytes.unwrap_or_default() as usize);
        Some(ProviderKey {
            provider: self.provider.as_str().into(),
            version: self.version,
            expires: self.expires,
            sealed_bytes: u32::try_from(sealed_bytes).unwrap_or(u32::MAX),
            sealed: None,
        })
    }
}

pub(super) fn vault_tenant(db: &Connection, tenant: &TenantId) -> Result<VaultTenant, weir_database::Error> {
    let mut select = db.prepare_cached("SELECT number, kek, wrapped, fallback FROM vault_tenant WHERE tenant = ?1")?;
    let found = select.query_row([tenant.as_str()], |row| {
        let wrapped = row.get::<_, Option<String>>(1)?.zip(row.get::<_, Option<Vec<u8>>>(2)?);
        let house = row.get::<_, String>(3)? == Fallback::House.as_str();
        let fallback = if house { Fallback::House } else { Fallback::None };
        Ok(VaultTenant { number: row.get(0)?, wrapped, fallback })
    });
    Ok(found.optional()?.unwrap_or_default())
}

pub(super) fn write_vault_tenant(
    db: &Connection,
    tenant: &TenantId,
    kept: &VaultTenant,
) -> Result<(), weir_database::Error> {
    let sql = "INSERT INTO vault_tenant(tenant, number, kek, wrapped, fallback) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT(tenant) DO UPDATE SET number = ?2, kek = ?3, wrapped = ?4, fallback = ?5";
    let (kek, wrapped) = kept.wrapped.as_ref().map(|(kek, wrapped)| (kek, wrapped)).unzip();
    db.prepare_cached(sql)?.execute(params![tenant.as_str(), kept.number, kek, wrapped, kept.fallback.as_str()])?;
    Ok(())
}

pub(super) fn secret(
    db: &Connection,
    tenant: &TenantId,
    provider: &str,
) -> Result<Option<StoredSecret>, weir_database::Error> {
    let sql = format!("SELECT {SECRET} FROM vault_secret WHERE tenant = ?1 AND provider = ?2");
    db.prepare_cached(&sql)?.query_row([tenant.as_str(), provider], read_secret).optional()
}

/// The keys of a tenant by provider, removed ones too.
pub(super) fn secrets(db: &Connection, tenant: &TenantId) -> Result<Vec<StoredSecret>, weir_database::Error> {
    let sql = format!("SELECT {SECRET} FROM vault_secret WHERE tenant = ?1 ORDER BY provider");
    db.prepare_cached(&sql)?.query_map([tenant.as_str()], read_secret)?.collect()
}

/// What gateways learn of all tenants' keys, by tenant.
pub(super) fn notices(db: &Connection) -> Result<HashMap<String, Vec<ProviderKey>>, weir_database::Error> {
    let sql = format!("SELECT {SECRET} FROM vault_secret WHERE sealed IS NOT NULL ORDER BY tenant, provider");
    let mut notices: HashMap<String, Vec<ProviderKey>> = HashMap::new();
    for stored in db.prepare(&sql)?.query_map([], read_secret)? {
        let stored = stored?;
        notices.entry(stored.tenant.to_string()).or_default().extend(stored.notice());
    }
    Ok(notices)
}

/// The tenants that the operator's key serves where their own does not.
pub(super) fn with_house_key(db: &Connection) -> Result<HashSet<String>, weir_database::Error> {
    let mut select = db.prepare("SELECT tenant FROM vault_tenant WHERE fallback = 'house'")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// Adds what gateways learn of a tenant's keys at providers to its entry.
pub(super) fn lay(db: &Connection, entry: &mut TenantEntry) -> Result<(), weir_database::Error> {
    entry.house_key = vault_tenant(db, &entry.id)?.fallback == Fallback::House;
    entry.provider_keys = secrets(db, &entry.id)?.iter().filter_map(StoredSecret::notice).collect();
    Ok(())
}

/// The same for all tenants at once.
pub(super) fn lay_all(db: &Connection, tenants: &mut [TenantEntry]) -> Result<(), weir_database::Error> {
    let (mut keys, house) = (notices(db)?, with_house_key(db)?);
    for entry in tenants {
        entry.house_key = house.contains(entry.id.as_str());
        entry.provider_keys = keys.remove(entry.id.as_str()).unwrap_or_default();
    }
    Ok(())
}

pub(super) fn write_secret(db: &Connection, stored: &StoredSecret) -> Result<(), weir_database::Error> {
    let sql = format!(
        "INSERT INTO vault_secret({SECRET}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT(tenant, provider) DO UPDATE SET version = ?3, sealed = ?4, fingerprint = ?5, last_four = ?6, bytes = ?7,
           expires = ?8, changed_at = ?9, changed_by = ?10"
    );
    db.prepare_cached(&sql)?.execute(params![
        stored.tenant.as_str(),
        stored.provider,
        stored.version,
        stored.sealed,
        stored.fingerprint,
        stored.last_four,
        stored.bytes,
        stored.expires.map(Timestamp::as_millis),
        stored.changed_at.as_millis(),
        stored.changed_by,
    ])?;
    Ok(())
}

fn read_secret(row: &Row<'_>) -> Result<StoredSecret, weir_database::Error> {
    Ok(StoredSecret {
        tenant: id(row, 0)?,
        provider: row.get(1)?,
        version: row.get(2)?,
        sealed: row.get(3)?,
        fingerprint: row.get(4)?,
        last_four: row.get(5)?,
        bytes: row.get(6)?,
        expires: row.get::<_, Option<u64>>(7)?.map(Timestamp::from_millis),
        changed_at: Timestamp::from_millis(row.get(8)?),
        changed_by: row.get(9)?,
    })
}
