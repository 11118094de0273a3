//! Reads tenants, keys and their history.
use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use weir_contract::{TenantId, Timestamp};
use weir_database::{Connection, Place, Row, params};

use super::change::ChangeError;
use super::rows::{self, StoredKey};
use super::view::{
    HistoryEntry, HistoryPage, HistoryQuery, KeyView, ROWS_DEFAULT, ROWS_MAX, Standing, TenantView, TenantsPage,
    TenantsQuery,
};
use super::{StoreError, TenantStore, secrets};
use crate::{Directory, Snapshot, TenantEntry, TenantsFile};

/// The version of the tables that has a vault: a command may look at a database that no server of this version has opened yet.
pub(super) const VAULT_SINCE: i64 = 2;

/// Everything in the database: what gateways learn, and the tenants that have left.
#[derive(Debug, Default)]
pub(super) struct Everything {
    pub(super) file: TenantsFile,
    pub(super) left: Vec<TenantEntry>,
}

/// Reads everything.
pub(super) fn everything(db: &Connection, now: Timestamp) -> Result<Everything, weir_database::Error> {
    // One state of all tables: a server may change them meanwhile.
    let tx = db.unchecked_transaction()?;
    let db: &Connection = &tx;
    let version = db.schema_version()?;
    if version == 0 {
        // The file is there, and no server has kept anything in it yet.
        return Ok(Everything::default());
    }
    let mut keys: HashMap<TenantId, Vec<StoredKey>> = HashMap::new();
    for key in rows::all_keys(db, version)? {
        keys.entry(key.tenant.clone()).or_default().push(key);
    }
    let mut all = Everything::default();
    for tenant in rows::tenants(db, version)? {
        let keys = keys.remove(&tenant.entry.id).unwrap_or_default();
        let place = if tenant.standing == Standing::Archived { &mut all.left } else { &mut all.file.tenants };
        place.push(tenant.with_keys(keys, now));
    }
    if version >= VAULT_SINCE {
        secrets::lay_all(db, &mut all.file.tenants)?;
    }
    all.file.revoked = rows::revoked(db)?;
    Ok(all)
}

/// Reads everything into a directory.
pub(super) fn load(db: &Connection, place: &Place, now: Timestamp) -> Result<Directory, StoreError> {
    Ok(Directory::of(snapshot(db, place, now)?))
}

/// Reads everything as it is put in force.
pub(super) fn snapshot(db: &Connection, place: &Place, now: Timestamp) -> Result<Snapshot, StoreError> {
    let all = everything(db, now).map_err(|source| StoreError::Database { place: place.label(), source })?;
    Ok(Snapshot::checked(Path::new(&place.label()), all.file, all.left)?)
}

impl TenantStore {
    /// The tenants as a tenants file has them; without those that have left.
    pub fn export(place: &Place, now: Timestamp) -> Result<TenantsFile, StoreError> {
        let failed = |source| StoreError::Database { place: place.label(), source };
        let db = Connection::open_read_only(place).map_err(failed)?;
        Ok(everything(&db, now).map_err(failed)?.file)
    }

    /// A page of tenants.
    pub fn tenants(&self, query: &TenantsQuery, now: Timestamp) -> Result<TenantsPage, ChangeError> {
        let limit = limit(query.limit)?;
        let after = query.cursor.as_deref().unwrap_or_default();
        let db = self.db();
        let mut found = rows::page(&db, after, query.state, query.plan.as_deref(), limit + 1)?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|last| last.entry.id.to_string());
        let tenants = found.into_iter().map(|tenant| {
            let keys = in_force(&rows::keys(&db, tenant.entry.id.as_str())?, now);
            Ok(tenant.view(keys))
        });
        Ok(TenantsPage { tenants: tenants.collect::<Result<_, ChangeError>>()?, next })
    }

    /// One tenant.
    pub fn tenant(&self, id: &str, now: Timestamp) -> Result<TenantView, ChangeError> {
        view(&self.db(), id, now)
    }

    /// The keys of a tenant, revoked ones too, by name.
    pub fn keys(&self, tenant: &str) -> Result<Vec<KeyView>, ChangeError> {
        let db = self.db();
        rows::tenant(&db, tenant)?.ok_or_else(|| ChangeError::NoTenant(tenant.to_owned()))?;
        Ok(rows::keys(&db, tenant)?.iter().map(StoredKey::view).collect())
    }

    /// Who changed a tenant, and what; the latest change first.
    pub fn history(&self, tenant: &str, query: &HistoryQuery) -> Result<HistoryPage, ChangeError> {
        let limit = limit(query.limit)?;
        let wrong = || ChangeError::Invalid("`cursor` is the `next` of a page".to_owned());
        let before = query.cursor.as_deref().map(|text| text.parse::<i64>().map_err(|_| wrong())).transpose()?;
        let db = self.db();
        rows::tenant(&db, tenant)?.ok_or_else(|| ChangeError::NoTenant(tenant.to_owned()))?;
        let mut select = db.prepare_cached(
            "SELECT number, at, who, version, act, before, after FROM history
             WHERE tenant = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3",
        )?;
        let rows = select.query_map(params![tenant, before.unwrap_or(i64::MAX), limit + 1], read_entry)?;
        let mut changes = rows.collect::<Result<Vec<_>, _>>()?;
        let more = changes.len() > limit as usize;
        changes.truncate(limit as usize);
        let next = changes.last().filter(|_| more).map(|last| last.number.to_string());
        Ok(HistoryPage { changes, next })
    }
}

/// One tenant, with the number of its keys.
pub(super) fn view(db: &Connection, id: &str, now: Timestamp) -> Result<TenantView, ChangeError> {
    let tenant = rows::tenant(db, id)?.ok_or_else(|| ChangeError::NoTenant(id.to_owned()))?;
    Ok(tenant.view(in_force(&rows::keys(db, id)?, now)))
}

fn in_force(keys: &[StoredKey], now: Timestamp) -> u64 {
    keys.iter().filter(|key| key.is_in_force(now)).count() as u64
}

pub(super) fn limit(asked: Option<u32>) -> Result<u32, ChangeError> {
    match asked.unwrap_or(ROWS_DEFAULT) {
        limit @ 1..=ROWS_MAX => Ok(limit),
        _ => Err(ChangeError::Invalid(format!("`limit` is 1 to {ROWS_MAX}"))),
    }
}

fn read_entry(row: &Row<'_>) -> Result<HistoryEntry, weir_database::Error> {
    let json = |column| -> Result<Option<Value>, weir_database::Error> {
        let text: Option<String> = row.get(column)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    };
    Ok(HistoryEntry {
        number: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        who: row.get(2)?,
        version: row.get(3)?,
        act: row.get(4)?,
        before: json(5)?,
        after: json(6)?,
    })
}
