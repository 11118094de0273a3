//! Rows of the vault as values, one way and the other.
use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Row, params};
use weir_contract::vault::ProviderKey;
use weir_contract::{TenantId, Timestamp};
use weir_key_delivery::sealed_bytes;

use super::{Fallback, ProviderKeyView};

const SECRET: &str =
    "tenant, provider, version, sealed, fingerprint, last_four, bytes, expires, changed_at, changed_by";

/// What the vault keeps of a tenant beside its keys.
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

pub(super) fn vault_tenant(db: &Connection, tenant: &TenantId) -> rusqlite::Result<VaultTenant> {
    let mut select = db.prepare_cached("SELECT number, kek, wrapped, fallback FROM vault_tenant WHERE tenant = ?1")?;
    let found = select.query_row([tenant.as_str()], |row| {
        let wrapped = row.get::<_, Option<String>>(1)?.zip(row.get::<_, Option<Vec<u8>>>(2)?);
        let house = row.get::<_, String>(3)? == Fallback::House.as_str();
        let fallback = if house { Fallback::House } else { Fallback::None };
        Ok(VaultTenant { number: row.get(0)?, wrapped, fallback })
    });
    Ok(found.optional()?.unwrap_or_default())
}

pub(super) fn write_vault_tenant(db: &Connection, tenant: &TenantId, kept: &VaultTenant) -> rusqlite::Result<()> {
    let sql = "INSERT INTO vault_tenant(tenant, number, kek, wrapped, fallback) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT(tenant) DO UPDATE SET number = ?2, kek = ?3, wrapped = ?4, fallback = ?5";
    let (kek, wrapped) = kept.wrapped.as_ref().map(|(kek, wrapped)| (kek, wrapped)).unzip();
    db.prepare_cached(sql)?.execute(params![tenant.as_str(), kept.number, kek, wrapped, kept.fallback.as_str()])?;
    Ok(())
}

pub(super) fn secret(db: &Connection, tenant: &TenantId, provider: &str) -> rusqlite::Result<Option<StoredSecret>> {
    let sql = format!("SELECT {SECRET} FROM vault_secret WHERE tenant = ?1 AND provider = ?2");
    db.prepare_cached(&sql)?.query_row([tenant.as_str(), provider], read_secret).optional()
}

/// The keys of a tenant by provider, removed ones too.
pub(super) fn secrets(db: &Connection, tenant: &TenantId) -> rusqlite::Result<Vec<StoredSecret>> {
    let sql = format!("SELECT {SECRET} FROM vault_secret WHERE tenant = ?1 ORDER BY provider");
    db.prepare_cached(&sql)?.query_map([tenant.as_str()], read_secret)?.collect()
}

/// What gateways learn of all tenants' keys, by tenant.
pub(super) fn notices(db: &Connection) -> rusqlite::Result<HashMap<String, Vec<ProviderKey>>> {
    let sql = format!("SELECT {SECRET} FROM vault_secret WHERE sealed IS NOT NULL ORDER BY tenant, provider");
    let mut notices: HashMap<String, Vec<ProviderKey>> = HashMap::new();
    for stored in db.prepare(&sql)?.query_map([], read_secret)? {
        let stored = stored?;
        notices.entry(stored.tenant.to_string()).or_default().extend(stored.notice());
    }
    Ok(notices)
}

/// The tenants that the operator's key serves where their own does not.
pub(super) fn with_house_key(db: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut select = db.prepare("SELECT tenant FROM vault_tenant WHERE fallback = 'house'")?;
    select.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn write_secret(db: &Connection, stored: &StoredSecret) -> rusqlite::Result<()> {
    let sql = format!("INSERT OR REPLACE INTO vault_secret({SECRET}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
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

fn read_secret(row: &Row<'_>) -> rusqlite::Result<StoredSecret> {
    Ok(StoredSecret {
        tenant: crate::store::rows::id(row, 0)?,
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
