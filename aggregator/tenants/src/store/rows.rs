//! Rows of the database as values, one way and the other.
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_contract::directory::{ApiKey, KeyHash, Revoked, TenantState};
use weir_contract::{TenantId, Timestamp};
use weir_database::types::FromSqlError;
use weir_database::{Connection, OptionalExtension, Row, params};

use super::view::{KeyView, Standing, TenantView};
use crate::{TenantEntry, identifiers};

/// How long gateways know an expired key, in milliseconds, so that its owner is told why it is refused.
const EXPIRED_KNOWN_MS: u64 = 7 * 24 * 3_600 * 1_000;

const TENANT: &str = "id, version, state, plan, identifiers, stripe_customer, billing_anchor, billing_interval,
                      created_at, changed_at, placement, owner, budgets";
/// The same in a database of versions before the last three columns.
const TENANT_BEFORE: &str = "id, version, state, plan, identifiers, stripe_customer, billing_anchor, billing_interval,
                             created_at, changed_at, NULL, NULL, NULL";
/// The version of the tables that has those columns.
const PLACEMENT_SINCE: i64 = 4;
const KEY: &str = "tenant, id, sha256, plan, environment, feature, expires, created_at, revoked_at, scopes";
/// The same in a database of versions before the last column.
const KEY_BEFORE: &str = "tenant, id, sha256, plan, environment, feature, expires, created_at, revoked_at, NULL";
/// The version of the tables that has that column.
const SCOPES_SINCE: i64 = 5;

/// A tenant without its keys.
#[derive(Clone, Debug)]
pub(super) struct StoredTenant {
    pub(super) version: u64,
    pub(super) standing: Standing,
    pub(super) changed_at: Timestamp,
    /// Without keys, and active.
    pub(super) entry: TenantEntry,
}

/// A key, revoked or not.
#[derive(Clone, Debug)]
pub(super) struct StoredKey {
    pub(super) tenant: TenantId,
    pub(super) key: ApiKey,
    pub(super) created_at: Option<Timestamp>,
    pub(super) revoked_at: Option<Timestamp>,
}

impl StoredTenant {
    pub(super) fn view(&self, keys: u64) -> TenantView {
        let entry = &self.entry;
        TenantView {
            id: entry.id.clone(),
            version: self.version,
            state: self.standing,
            plan: entry.plan.clone(),
            identifiers: entry.identifiers.clone(),
            placement: entry.placement.clone(),
            owner: entry.owner.clone(),
            budgets: entry.budgets.clone(),
            stripe_customer: entry.stripe_customer.clone(),
            billing_anchor: entry.billing_anchor,
            billing_interval: entry.billing_interval,
            created_at: entry.created_at,
            changed_at: self.changed_at,
            keys,
            warnings: identifiers::warnings(std::slice::from_ref(entry)),
        }
    }

    /// The tenant with its keys, as the directory takes it.
    pub(super) fn with_keys(self, keys: Vec<StoredKey>, now: Timestamp) -> TenantEntry {
        let state = match self.standing {
            Standing::Active => TenantState::Active,
            Standing::Suspended | Standing::Archived => TenantState::Suspended,
        };
        let known = |key: &StoredKey| {
            let over = key.key.expires.is_some_and(|expires| now > expires.plus_millis(EXPIRED_KNOWN_MS));
            key.revoked_at.is_none() && !over
        };
        let keys = keys.into_iter().filter(known).map(|stored| stored.key).collect();
        TenantEntry { state, keys, ..self.entry }
    }
}

impl StoredKey {
    pub(super) fn view(&self) -> KeyView {
        let key = &self.key;
        KeyView {
            id: key.id.clone(),
            tenant: self.tenant.clone(),
            key: None,
            plan: key.plan.clone(),
            environment: key.environment.clone(),
            feature: key.feature.clone(),
            scopes: key.scopes.clone(),
            expires: key.expires,
            created_at: self.created_at,
            revoked_at: self.revoked_at,
            last_used: None,
        }
    }

    /// Whether it opens anything at `now`.
    pub(super) fn is_in_force(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.key.expires.is_none_or(|expires| now < expires)
    }
}

/// Reads a tenant, without its keys.
pub(super) fn tenant(db: &Connection, id: &str) -> Result<Option<StoredTenant>, weir_database::Error> {
    let mut select = db.prepare_cached(&format!("SELECT {TENANT} FROM tenant WHERE id = ?1"))?;
    select.query_row([id], read_tenant).optional()
}

/// Reads every tenant, by id, of a database of this version.
pub(super) fn tenants(db: &Connection, version: i64) -> Result<Vec<StoredTenant>, weir_database::Error> {
    let columns = if version < PLACEMENT_SINCE { TENANT_BEFORE } else { TENANT };
    let mut select = db.prepare(&format!("SELECT {columns} FROM tenant ORDER BY id"))?;
    select.query_map([], read_tenant)?.collect()
}

/// Reads a page of tenants.
pub(super) fn page(
    db: &Connection,
    after: &str,
    state: Option<Standing>,
    plan: Option<&str>,
    limit: u32,
) -> Result<Vec<StoredTenant>, weir_database::Error> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {TENANT} FROM tenant WHERE id > ?1 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR plan = ?3)
         ORDER BY id LIMIT ?4"
    ))?;
    select.query_map(params![after, state.map(Standing::as_str), plan, limit], read_tenant)?.collect()
}

/// Reads the keys of a tenant, revoked ones too, by name.
pub(super) fn keys(db: &Connection, tenant: &str) -> Result<Vec<StoredKey>, weir_database::Error> {
    let mut select = db.prepare_cached(&format!("SELECT {KEY} FROM key WHERE tenant = ?1 ORDER BY id"))?;
    select.query_map([tenant], read_key)?.collect()
}

/// Reads every key that is not revoked, by tenant, of a database of this version.
pub(super) fn all_keys(db: &Connection, version: i64) -> Result<Vec<StoredKey>, weir_database::Error> {
    let columns = if version < SCOPES_SINCE { KEY_BEFORE } else { KEY };
    let mut select = db.prepare(&format!("SELECT {columns} FROM key WHERE revoked_at IS NULL ORDER BY tenant, id"))?;
    select.query_map([], read_key)?.collect()
}

/// Whether a tenant of this name is on its way in.
pub(super) fn is_coming(db: &Connection, tenant: &str) -> Result<bool, weir_database::Error> {
    let sql = "SELECT 1 FROM provisioning WHERE tenant = ?1 AND open = 1 AND kind = 'provision'";
    Ok(db.prepare_cached(sql)?.query_row([tenant], |_| Ok(())).optional()?.is_some())
}

/// Reads what is revoked of tokens and signing keys.
pub(super) fn revoked(db: &Connection) -> Result<Revoked, weir_database::Error> {
    let found = db.query_row("SELECT names FROM revoked", [], |row| parsed(row, 0)).optional()?;
    Ok(found.unwrap_or_default())
}

/// Writes what is revoked of tokens and signing keys.
pub(super) fn write_revoked(db: &Connection, revoked: &Revoked) -> Result<(), weir_database::Error> {
    db.execute(
        "INSERT INTO revoked(id, names) VALUES (1, ?1) ON CONFLICT(id) DO UPDATE SET names = excluded.names",
        [text(revoked)],
    )?;
    Ok(())
}

/// Writes a tenant, new or not.
pub(super) fn write_tenant(db: &Connection, tenant: &StoredTenant) -> Result<(), weir_database::Error> {
    let entry = &tenant.entry;
    let sql = format!(
        "INSERT INTO tenant({TENANT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT(id) DO UPDATE SET version = ?2, state = ?3, plan = ?4, identifiers = ?5, stripe_customer = ?6,
           billing_anchor = ?7, billing_interval = ?8, created_at = ?9, changed_at = ?10, placement = ?11, owner = ?12, budgets = ?13"
    );
    db.prepare_cached(&sql)?.execute(params![
        entry.id.as_str(),
        tenant.version,
        tenant.standing.as_str(),
        entry.plan,
        text(&entry.identifiers),
        entry.stripe_customer,
        entry.billing_anchor.map(Timestamp::as_millis),
        entry.billing_interval.map(|interval| text(&interval)),
        entry.created_at.map(Timestamp::as_millis),
        tenant.changed_at.as_millis(),
        entry.placement.as_ref().map(text),
        entry.owner,
        (!entry.budgets.is_empty()).then(|| text(&entry.budgets)),
    ])?;
    Ok(())
}

/// Writes a key, new or not.
pub(super) fn write_key(db: &Connection, stored: &StoredKey) -> Result<(), weir_database::Error> {
    let key = &stored.key;
    let sql = format!(
        "INSERT INTO key({KEY}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT(tenant, id) DO UPDATE SET plan = ?4, environment = ?5, feature = ?6, expires = ?7, revoked_at = ?9, scopes = ?10"
    );
    db.prepare_cached(&sql)?.execute(params![
        stored.tenant.as_str(),
        key.id,
        key.sha256.0,
        key.plan,
        key.environment,
        key.feature,
        key.expires.map(Timestamp::as_millis),
        stored.created_at.map(Timestamp::as_millis),
        stored.revoked_at.map(Timestamp::as_millis),
        key.scopes.as_ref().map(text),
    ])?;
    Ok(())
}

/// Values of weir's own types always serialize.
pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn read_tenant(row: &Row<'_>) -> Result<StoredTenant, weir_database::Error> {
    let standing: String = row.get(2)?;
    let entry = TenantEntry {
        id: id(row, 0)?,
        plan: row.get(3)?,
        state: TenantState::Active,
        keys: Vec::new(),
        identifiers: parsed(row, 4)?,
        placement: row.get::<_, Option<String>>(10)?.map(|_| parsed(row, 10)).transpose()?,
        owner: row.get(11)?,
        budgets: row.get::<_, Option<String>>(12)?.map(|_| parsed(row, 12)).transpose()?.unwrap_or_default(),
        stripe_customer: row.get(5)?,
        billing_anchor: time(row, 6)?,
        billing_interval: row.get::<_, Option<String>>(7)?.map(|_| parsed(row, 7)).transpose()?,
        created_at: time(row, 8)?,
        provider_keys: Vec::new(),
        house_key: false,
    };
    let standing = serde_json::from_value(serde_json::Value::String(standing)).map_err(|error| wrong(2, error))?;
    Ok(StoredTenant { version: row.get(1)?, standing, changed_at: Timestamp::from_millis(row.get(9)?), entry })
}

fn read_key(row: &Row<'_>) -> Result<StoredKey, weir_database::Error> {
    let key = ApiKey {
        id: row.get(1)?,
        sha256: KeyHash(row.get(2)?),
        plan: row.get(3)?,
        environment: row.get(4)?,
        feature: row.get(5)?,
        scopes: row.get::<_, Option<String>>(9)?.map(|_| parsed(row, 9)).transpose()?,
        expires: time(row, 6)?,
    };
    Ok(StoredKey { tenant: id(row, 0)?, key, created_at: time(row, 7)?, revoked_at: time(row, 8)? })
}

pub(super) fn id(row: &Row<'_>, column: usize) -> Result<TenantId, weir_database::Error> {
    TenantId::new(&row.get::<_, String>(column)?).map_err(|error| wrong(column, error))
}

fn time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, weir_database::Error> {
    Ok(row.get::<_, Option<u64>>(column)?.map(Timestamp::from_millis))
}

pub(super) fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, weir_database::Error> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| wrong(column, error))
}

/// A value that is not what it should be.
pub(super) fn wrong(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> weir_database::Error {
    weir_database::Error::Column { column, problem: FromSqlError::Other(Box::new(error)) }
}
