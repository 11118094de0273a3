//! Applies a difference to a directory.
//!
//! A changed tenant is complete in the difference: its old row and keys are removed, new ones added. Removed rows
//! stay in memory unreferenced, so that nothing is copied; once there are many, the next state is taken in whole
//! instead. Everything is checked before anything changes: a difference applies completely or not at all.
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};
use weir_contract::TenantId;
use weir_contract::directory::{DIFFERENCE_MAX_ROWS, KEYS_MAX, KeyHash, Revoked, TENANTS_MAX, Tenant, Totals};
use weir_contract::flags::Flags;

use super::{Directory, DirectoryError, spread, widen};
use crate::vault::OwnKeys;

/// The difference to another state.
#[derive(Debug, Default)]
pub struct Delta {
    /// New and changed tenants, complete.
    pub tenants: Vec<Tenant>,
    /// Their own keys at providers, in the same order; fewer where the last ones have none.
    pub own_keys: Vec<Option<Rc<OwnKeys>>>,
    /// Removed tenants. Removing an unknown one is not an error.
    pub removed: Vec<TenantId>,
    /// All revocations.
    pub revoked: Revoked,
    /// All feature flags.
    pub flags: Flags,
    /// How much the directory holds after it.
    pub totals: Option<Totals>,
}

/// Tolerated dead rows beyond an eighth of those in use. Fewer do not justify a fetch of the whole state.
const DEAD_ROWS_MIN: usize = 1_000;

/// How many names a key has: plan, environment, feature, scopes.
const NAMES_OF_KEY: usize = 4;

/// The largest table that may grow while a difference is applied; growing copies it in one step.
const GROWING_MAX_ROWS: usize = 8_192;

impl Directory {
    /// Returns true if it has so many dead rows that the next state should be fetched whole.
    pub(crate) fn is_worn(&self) -> bool {
        let live = self.totals();
        let worn = |rows: usize, live: usize| rows - live.min(rows) > live / 8 + DEAD_ROWS_MIN;
        worn(self.tenants.len(), live.tenants) || worn(self.keys.len(), live.keys)
    }

    /// Applies a difference completely or not at all.
    ///
    /// # Errors
    /// If it contradicts itself or this state; nothing has changed then.
    pub fn apply(&mut self, delta: Delta) -> Result<(), DirectoryError> {
        self.check(&delta)?;
        self.revoke(delta.revoked)?;
        if delta.flags != *self.flags {
            self.set_flags(delta.flags);
        }
        delta.removed.iter().for_each(|id| self.remove(id.as_str()));
        delta.tenants.iter().for_each(|tenant| self.remove(tenant.id.as_str()));
        let own_keys = delta.own_keys.into_iter().chain(std::iter::repeat(None));
        delta.tenants.iter().zip(own_keys).try_for_each(|(tenant, own_keys)| self.put(tenant, own_keys))
    }

    /// Checks everything that could make [`Directory::put`] fail halfway.
    fn check(&self, delta: &Delta) -> Result<(), DirectoryError> {
        let keys: usize = delta.tenants.iter().map(|tenant| tenant.keys.len()).sum();
        if delta.removed.len() + delta.tenants.len() + keys > DIFFERENCE_MAX_ROWS {
            return Err(DirectoryError::Worn);
        }
        let mut changed: HashSet<&str, _> = HashSet::with_hasher(self.keyed);
        let named = delta.removed.iter().chain(delta.tenants.iter().map(|tenant| &tenant.id));
        let (mut gone, mut new) = (Totals::default(), Totals::default());
        for id in named {
            if !changed.insert(id.as_str()) {
                return Err(DirectoryError::Tenant(id.to_string()));
            }
            if let Some(row) = self.find(id.as_str()).and_then(|at| self.tenants.get(at)) {
                gone = Totals { tenants: gone.tenants + 1, keys: gone.keys + row.keys as usize };
            }
        }
        let mut hashes: HashMap<KeyHash, (), _> = HashMap::with_hasher(self.keyed);
        for tenant in &delta.tenants {
            new = Totals { tenants: new.tenants + 1, keys: new.keys + tenant.keys.len() };
            for key in &tenant.keys {
                let owner = self.owner(&key.sha256);
                if owner.is_some_and(|owner| !changed.contains(owner)) || hashes.insert(key.sha256, ()).is_some() {
                    return Err(DirectoryError::Key { tenant: tenant.id.to_string(), key: key.id.clone() });
                }
            }
        }
        let current = self.totals();
        let after =
            Totals { tenants: current.tenants - gone.tenants + new.tenants, keys: current.keys - gone.keys + new.keys };
        if !delta.revoked.fits() {
            return Err(DirectoryError::Revoked);
        }
        if after.tenants > TENANTS_MAX || after.keys > KEYS_MAX {
            return Err(DirectoryError::TooLarge);
        }
        if delta.totals.is_some_and(|totals| totals != after) {
            return Err(DirectoryError::Totals);
        }
        let grows = |len: usize, new: usize, room: usize| len + new > room && len > GROWING_MAX_ROWS;
        let grows = grows(current.tenants, new.tenants, self.by_id.capacity())
            || grows(current.keys, new.keys, self.by_hash.capacity());
        if grows || self.is_worn() || new.tenants + NAMES_OF_KEY * new.keys > self.names.room() {
            return Err(DirectoryError::Worn);
        }
        Ok(())
    }

    /// Removes a tenant and its keys; their rows stay unreferenced.
    fn remove(&mut self, id: &str) {
        let Some(at) = self.find(id) else { return };
        let Some(row) = self.tenants.get(at).copied() else { return };
        if let Some(mut known) = self.identifiers.as_ref().and_then(|known| known.try_borrow_mut().ok()) {
            known.remove(id);
        }
        if let Ok(entry) = self.by_id.find_entry(widen(row.hash), |found| *found == at) {
            entry.remove();
        }
        for key in row.first_key..row.first_key.saturating_add(row.keys) {
            let Some(hash) = self.keys.get(key).map(|key| spread(&key.sha256)) else { continue };
            if let Ok(entry) = self.by_hash.find_entry(hash, |found| *found == key) {
                entry.remove();
            }
        }
    }
}
