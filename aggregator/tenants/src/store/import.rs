//! Makes the database say what a tenants file says, in one transaction.
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_contract::TenantId;
use weir_contract::directory::TenantState;
use weir_database::{Fence, Place, Transaction};

use super::change::{By, ChangeError};
use super::edit::differing;
use super::once::note;
use super::rows::{self, StoredKey, StoredTenant};
use super::view::Standing;
use super::{StoreError, TenantStore, VERSION};
use crate::{Snapshot, TenantEntry, TenantsFile};

/// The most differences that are listed one by one.
const LISTED_MAX: usize = 1_000;

/// Why a file is not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The database cannot be used, or the tenants of the file contradict each other.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A change is refused.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<weir_database::Error> for ImportError {
    fn from(error: weir_database::Error) -> Self {
        ImportError::Change(error.into())
    }
}

impl From<serde_json::Error> for ImportError {
    fn from(error: serde_json::Error) -> Self {
        ImportError::Change(error.into())
    }
}

/// What an import changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportView {
    /// Tenants that the database did not have.
    pub created: u64,
    /// Tenants that differ.
    pub changed: u64,
    /// Tenants that the file does not have any more.
    pub archived: u64,
    /// Tenants that are the same.
    pub same: u64,
    /// Whether what is revoked of tokens and signing keys differs.
    pub revoked: bool,
    /// The first thousand tenants that differ.
    pub differences: Vec<DifferenceView>,
}

/// How a tenant differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceView {
    /// The tenant.
    pub tenant: TenantId,
    /// In the database.
    pub before: Value,
    /// In the file.
    pub after: Value,
}

impl TenantStore {
    /// Makes the database at `place` say what `file` says; tenants that the file does not have are archived, keys revoked.
    /// With `check`, only says what differs.
    pub fn import(
        place: &Place,
        fence: &Fence,
        file: TenantsFile,
        by: &By,
        check: bool,
    ) -> Result<ImportView, ImportError> {
        Snapshot::checked(Path::new(&place.label()), file.clone(), Vec::new()).map_err(StoreError::from)?;
        let mut db = Self::open_to_write(place, fence)?;
        let tx = db.transaction()?;
        let mut view = ImportView::default();
        let mut known: HashMap<TenantId, StoredTenant> =
            rows::tenants(&tx, VERSION)?.into_iter().map(|tenant| (tenant.entry.id.clone(), tenant)).collect();
        for entry in file.tenants {
            let stored = known.remove(&entry.id);
            import_tenant(&tx, stored, entry, by, &mut view)?;
        }
        let mut gone: Vec<_> = known.into_values().filter(|tenant| tenant.standing != Standing::Archived).collect();
        gone.sort_by(|one, other| one.entry.id.cmp(&other.entry.id));
        for mut tenant in gone {
            let before = json!({"state": tenant.standing});
            tenant.standing = Standing::Archived;
            view.archived += 1;
            write(&tx, tenant, before, json!({"state": Standing::Archived}), by, &mut view)?;
        }
        view.revoked = rows::revoked(&tx)? != file.revoked;
        rows::write_revoked(&tx, &file.revoked)?;
        if !check {
            tx.commit()?;
        }
        Ok(view)
    }
}

fn import_tenant(
    tx: &Transaction<'_>,
    stored: Option<StoredTenant>,
    mut entry: TenantEntry,
    by: &By,
    view: &mut ImportView,
) -> Result<(), ImportError> {
    let standing = match entry.state {
        TenantState::Active => Standing::Active,
        TenantState::Suspended => Standing::Suspended,
    };
    let (keys, id) = (std::mem::take(&mut entry.keys), entry.id.clone());
    entry.state = TenantState::Active;
    let is_new = stored.is_none();
    let before = stored.as_ref().map_or(Ok(Value::Null), |stored| said(tx, stored))?;
    let (version, changed_at) = stored.map_or((0, by.at), |stored| (stored.version, stored.changed_at));
    let tenant = StoredTenant { version, standing, changed_at, entry };
    // Keys refer to their tenant, so it is written first.
    rows::write_tenant(tx, &tenant)?;
    let wanted: BTreeMap<String, _> = keys.into_iter().map(|key| (key.id.clone(), key)).collect();
    let mut had: HashMap<String, StoredKey> =
        rows::keys(tx, id.as_str())?.into_iter().map(|key| (key.key.id.clone(), key)).collect();
    for (name, key) in wanted {
        let old = had.remove(&name);
        if old.as_ref().is_some_and(|old| old.key.sha256 != key.sha256) {
            let problem = format!("tenant {id}: key {name} was another key before; give the new one another id");
            return Err(ChangeError::Invalid(problem).into());
        }
        let created_at = old.map_or(Some(by.at), |old| old.created_at);
        rows::write_key(tx, &StoredKey { tenant: id.clone(), key, created_at, revoked_at: None })?;
    }
    for mut key in had.into_values().filter(|key| key.revoked_at.is_none()) {
        key.revoked_at = Some(by.at);
        rows::write_key(tx, &key)?;
    }
    let after = said(tx, &tenant)?;
    let (from, to) = differing(&before, &after);
    match (is_new, from == to) {
        (true, _) => view.created += 1,
        (false, true) => {
            view.same += 1;
            return Ok(());
        }
        (false, false) => view.changed += 1,
    }
    write(tx, tenant, from, to, by, view)
}

/// A tenant and its keys as the history tells them.
fn said(tx: &Transaction<'_>, tenant: &StoredTenant) -> Result<Value, ImportError> {
    let keys = rows::keys(tx, tenant.entry.id.as_str())?;
    let mut said = serde_json::to_value(tenant.view(0))?;
    let in_force = keys.iter().filter(|key| key.revoked_at.is_none());
    said["keys"] = in_force
        .map(|key| Ok((key.key.id.clone(), serde_json::to_value(&key.key)?)))
        .collect::<Result<serde_json::Map<_, _>, serde_json::Error>>()?
        .into();
    Ok(said)
}

fn write(
    tx: &Transaction<'_>,
    mut tenant: StoredTenant,
    before: Value,
    after: Value,
    by: &By,
    view: &mut ImportView,
) -> Result<(), ImportError> {
    tenant.version += 1;
    tenant.changed_at = by.at;
    rows::write_tenant(tx, &tenant)?;
    note(tx, by, (&tenant.entry.id, tenant.version), "import", Some(&before), Some(&after))?;
    if view.differences.len() < LISTED_MAX {
        view.differences.push(DifferenceView { tenant: tenant.entry.id, before, after });
    }
    Ok(())
}
