//! The tenants that a worker knows, and how it looks them up.
//!
//! Every worker holds up to a hundred thousand tenants with two keys each, and two copies while it takes in a new
//! state. To keep that small, they are rows of plain numbers ([`rows`]) that point into one text ([`arena`]), and
//! repeated names (plans, environments, features, lists of scopes) are stored once. Nothing grows by being copied, so no tick takes
//! long.
//!
//! A key is looked up by the SHA-256 of what the client sent. How long a look-up takes depends on a hash that nobody
//! can steer towards a stored one, so it reveals nothing about the keys that exist.
pub mod arena;
pub mod delta;
pub mod page;
mod parts;
pub mod poll;
pub mod rows;
mod wait;

use std::rc::Rc;

use std::cell::RefCell;

use hashbrown::HashTable;
use weir_contract::directory::{ApiKey, KEYS_MAX, KeyHash, Revoked, TENANTS_MAX, Tenant, TenantState, Totals};
use weir_contract::flags::Flags;
use weir_contract::placement::Placement;
use weir_contract::scopes::Scopes;
use weir_contract::stage::{BudgetStage, FURTHER_STAGES_MAX, STAGES_MAX};
use weir_contract::{TenantId, Timestamp};

use weir_redaction::{Identifiers, SharedIdentifiers};

use crate::hash::Keyed;
use crate::limit::{Limit, hard};
use crate::vault::OwnKeys;
use arena::{Arena, Names, Span};
use rows::Rows;

/// Tenants by id, keys by hash.
#[derive(Debug)]
pub struct Directory {
    keyed: Keyed,
    texts: Arena,
    names: Names,
    tenants: Rows<TenantRow>,
    keys: Rows<KeyRow>,
    by_id: HashTable<u32>,
    by_hash: HashTable<u32>,
    revoked: Rc<Revoked>,
    flags: Rc<Flags>,
    /// State that few tenants have; a [`TenantRow`] names its place.
    extras: Rows<Extras>,
    /// Whether some key of a tenant's own was not handed over.
    lacks_keys: bool,
    /// What all tenants are known by, where answers are redacted.
    identifiers: Option<SharedIdentifiers>,
}

#[derive(Clone, Copy, Debug)]
struct TenantRow {
    id: Span,
    /// The hash of the id, kept so that a growing table need not compute it again.
    hash: u32,
    plan: u16,
    state: TenantState,
    /// Its keys are consecutive rows.
    first_key: u32,
    keys: u32,
    /// One more than the place of its extras; 0 for none.
    extras: u32,
}

/// State that few tenants have.
#[derive(Debug)]
struct Extras {
    stages: Option<Rc<[BudgetStage]>>,
    hard_budgets: Option<Rc<[Limit]>>,
    own_keys: Option<Rc<OwnKeys>>,
    placement: Option<Rc<Placement>>,
}

#[derive(Clone, Copy, Debug)]
struct KeyRow {
    sha256: KeyHash,
    id: Span,
    tenant: u32,
    plan: u16,
    environment: u16,
    feature: u16,
    scopes: u16,
    /// Milliseconds since the epoch; 0 is never.
    expires: u64,
}

/// One tenant of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantEntry<'d> {
    /// The budgets that are not within their first stage, if there are any.
    pub stages: Option<&'d Rc<[BudgetStage]>>,
    /// Its hard budgets, if it has some.
    pub hard_budgets: Option<&'d Rc<[Limit]>>,
    /// Its own keys at providers, if it has some.
    pub own_keys: Option<&'d Rc<OwnKeys>>,
    /// Where it is kept apart from others, if it is.
    pub placement: Option<&'d Rc<Placement>>,
    /// Its id.
    pub id: &'d str,
    /// Its plan's name.
    pub plan: &'d str,
    /// Whether it may use the service.
    pub state: TenantState,
}

/// One key of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEntry<'d> {
    /// The tenant that owns it.
    pub member: TenantEntry<'d>,
    /// Its public name.
    pub id: &'d str,
    /// Overrides the tenant's plan.
    pub plan: Option<&'d Rc<str>>,
    /// The environment of usage under it.
    pub environment: Option<&'d Rc<str>>,
    /// The product feature it belongs to.
    pub feature: Option<&'d Rc<str>>,
    /// What it may be used for ([`weir_contract::scopes`]); None for everything.
    pub scopes: Option<&'d Rc<str>>,
    /// When it expires.
    pub expires: Option<Timestamp>,
}

/// Why a list of tenants cannot become a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// An id appears twice.
    #[error("tenant {0:?} stands twice")]
    Tenant(String),
    /// A key appears twice: it would belong to two tenants.
    #[error("key {key:?} of tenant {tenant:?} has the same sha256 as another key")]
    Key {
        /// The tenant whose key it is.
        tenant: String,
        /// The key's id.
        key: String,
    },
    /// It holds more than a worker takes.
    #[error(
        "a directory has at most {TENANTS_MAX} tenants and {KEYS_MAX} keys, and 65,000 different names of plans, environments, features and lists of scopes"
    )]
    TooLarge,
    /// Its totals differ from those that its sender announced.
    #[error("it does not have as many tenants and keys as it says")]
    Totals,
    /// The difference may be valid, but cannot be applied to this state; the whole state can be taken instead.
    #[error("too much has changed since the state was taken in whole")]
    Worn,
    /// Too many revocations, or too long ones.
    #[error("at most 1,000 tokens and keys are revoked at a time, each with a name of 1 to 128 bytes")]
    Revoked,
}

impl Directory {
    /// An empty directory. `redaction`: the least length of the identifiers that answers are searched for, if they are.
    pub fn empty(keyed: Keyed, redaction: Option<usize>) -> Self {
        Directory {
            keyed,
            texts: Arena::default(),
            names: Names::new(keyed),
            tenants: Rows::default(),
            keys: Rows::default(),
            by_id: HashTable::new(),
            by_hash: HashTable::new(),
            revoked: Rc::default(),
            flags: Rc::default(),
            extras: Rows::default(),
            lacks_keys: false,
            identifiers: redaction.map(|least| Rc::new(RefCell::new(Identifiers::new(least)))),
        }
    }

    /// Builds a directory from a whole list. Nothing of an invalid list is used.
    pub fn new(
        tenants: &[Tenant],
        revoked: Revoked,
        redaction: Option<usize>,
        keyed: Keyed,
    ) -> Result<Self, DirectoryError> {
        let mut directory = Directory::empty(keyed, redaction);
        directory.revoke(revoked)?;
        tenants.iter().try_for_each(|tenant| directory.add(tenant))?;
        Ok(directory)
    }

    /// Adds one tenant and its keys. After an error the directory must be dropped.
    pub fn add(&mut self, tenant: &Tenant) -> Result<(), DirectoryError> {
        self.add_with(tenant, None)
    }

    /// Adds one tenant, its keys, and its own keys at providers. After an error the directory must be dropped.
    pub(crate) fn add_with(&mut self, tenant: &Tenant, own_keys: Option<Rc<OwnKeys>>) -> Result<(), DirectoryError> {
        let id = tenant.id.as_str();
        if self.find(id).is_some() {
            return Err(DirectoryError::Tenant(id.to_owned()));
        }
        let held = self.totals();
        if held.tenants >= TENANTS_MAX || held.keys + tenant.keys.len() > KEYS_MAX {
            return Err(DirectoryError::TooLarge);
        }
        self.put(tenant, own_keys)
    }

    /// Adds a tenant that is not there yet. After an error the directory must be dropped.
    fn put(&mut self, tenant: &Tenant, own_keys: Option<Rc<OwnKeys>>) -> Result<(), DirectoryError> {
        let id = tenant.id.as_str();
        let row_of = |rows: usize| u32::try_from(rows).map_err(|_| DirectoryError::TooLarge);
        let (at, first_key) = (row_of(self.tenants.len())?, row_of(self.keys.len())?);
        self.put_identifiers(tenant);
        let (hash, plan, keys) = (self.hash(id), self.name(Some(&tenant.plan))?, row_of(tenant.keys.len())?);
        let extras = self.put_extras(tenant, own_keys)?;
        let id = self.texts.push(id);
        self.tenants.push(TenantRow { id, hash, plan, state: tenant.state, first_key, keys, extras });
        let tenants = &self.tenants;
        self.by_id.insert_unique(widen(hash), at, |row| tenants.get(*row).map_or(0, |row| widen(row.hash)));
        tenant.keys.iter().zip(first_key..).try_for_each(|(key, row)| self.put_key(tenant, at, key, row))
    }

    /// Keeps a tenant's extras, and returns their place for its row.
    fn put_extras(&mut self, tenant: &Tenant, own_keys: Option<Rc<OwnKeys>>) -> Result<u32, DirectoryError> {
        self.lacks_keys |= own_keys.as_ref().is_some_and(|keys| keys.lacks_some());
        let Tenant { stages, further_stages, hard_budgets, .. } = tenant;
        let placement = tenant.placement.as_ref().filter(|placement| !placement.is_empty());
        let has_stages = !stages.is_empty() || !further_stages.is_empty();
        if !has_stages && hard_budgets.is_empty() && own_keys.is_none() && placement.is_none() {
            return Ok(0);
        }
        let further = further_stages.iter().take(FURTHER_STAGES_MAX);
        let stages = has_stages.then(|| stages.iter().take(STAGES_MAX).chain(further).cloned().collect());
        let hard_budgets = (!hard_budgets.is_empty()).then(|| hard::compile(&tenant.id, hard_budgets));
        let placement = placement.map(|placement| Rc::new((**placement).clone()));
        self.extras.push(Extras { stages, hard_budgets, own_keys, placement });
        u32::try_from(self.extras.len()).map_err(|_| DirectoryError::TooLarge)
    }

    /// Whether some key of a tenant's own was not handed over, to this state or to one before it.
    pub(crate) fn lacks_keys(&self) -> bool {
        self.lacks_keys
    }

    /// What cannot be looked for is counted ([`Directory::identifiers_left_out`]), and no reason to refuse a tenant.
    fn put_identifiers(&mut self, tenant: &Tenant) {
        let Some(mut known) = self.identifiers.as_ref().and_then(|known| known.try_borrow_mut().ok()) else { return };
        let id = tenant.id.as_str();
        for identifier in std::iter::once(id).chain(tenant.identifiers.iter().map(String::as_str)) {
            known.add(id, identifier);
        }
    }

    /// What all tenants are known by, where answers are redacted.
    pub fn identifiers(&self) -> Option<&SharedIdentifiers> {
        self.identifiers.as_ref()
    }

    /// How many names of tenants answers are not searched for, where they are searched.
    pub fn identifiers_left_out(&self) -> usize {
        let known = self.identifiers.as_ref().and_then(|known| known.try_borrow().ok());
        known.map_or(0, |known| known.left_out())
    }

    fn put_key(&mut self, of: &Tenant, tenant: u32, key: &ApiKey, at: u32) -> Result<(), DirectoryError> {
        if self.find_key(&key.sha256).is_some() {
            return Err(DirectoryError::Key { tenant: of.id.to_string(), key: key.id.clone() });
        }
        let row = KeyRow {
            sha256: key.sha256,
            id: self.texts.push(&key.id),
            tenant,
            plan: self.name(key.plan.as_deref())?,
            environment: self.name(key.environment.as_deref())?,
            feature: self.name(key.feature.as_deref())?,
            scopes: self.name(key.scopes.as_ref().map(Scopes::as_str))?,
            expires: key.expires.map_or(0, |expires| expires.as_millis().max(1)),
        };
        self.keys.push(row);
        let keys = &self.keys;
        self.by_hash.insert_unique(spread(&key.sha256), at, |row| keys.get(*row).map_or(0, |row| spread(&row.sha256)));
        Ok(())
    }

    /// Reserves room for the largest directory: a table that grows while one is taken in would copy itself in one
    /// step.
    pub fn reserve(&mut self) {
        let (tenants, keys) = (&self.tenants, &self.keys);
        self.by_id.reserve(TENANTS_MAX, |row| tenants.get(*row).map_or(0, |row| widen(row.hash)));
        self.by_hash.reserve(KEYS_MAX, |row| keys.get(*row).map_or(0, |row| spread(&row.sha256)));
    }

    /// How many tenants and keys it holds.
    pub fn totals(&self) -> Totals {
        Totals { tenants: self.by_id.len(), keys: self.by_hash.len() }
    }

    /// Sets what is revoked.
    pub fn revoke(&mut self, revoked: Revoked) -> Result<(), DirectoryError> {
        if !revoked.fits() {
            return Err(DirectoryError::Revoked);
        }
        self.revoked = Rc::new(revoked);
        Ok(())
    }

    /// What is revoked.
    pub fn revoked(&self) -> &Rc<Revoked> {
        &self.revoked
    }

    /// Sets the feature flags, which the caller has checked.
    pub(crate) fn set_flags(&mut self, flags: Flags) {
        self.flags = Rc::new(flags);
    }

    /// The feature flags of the server.
    pub(crate) fn flags(&self) -> &Rc<Flags> {
        &self.flags
    }

    /// The tenant of that name.
    pub fn tenant(&self, id: &str) -> Option<TenantEntry<'_>> {
        self.member(self.find(id)?)
    }

    /// The key that hashes to `hash`.
    pub fn key(&self, hash: &KeyHash) -> Option<KeyEntry<'_>> {
        let row = self.keys.get(self.find_key(hash)?)?;
        Some(KeyEntry {
            member: self.member(row.tenant)?,
            id: self.texts.get(row.id)?,
            plan: self.names.get(row.plan),
            environment: self.names.get(row.environment),
            feature: self.names.get(row.feature),
            scopes: self.names.get(row.scopes),
            expires: (row.expires != 0).then(|| Timestamp::from_millis(row.expires)),
        })
    }

    /// The tenant that has a key.
    fn owner(&self, hash: &KeyHash) -> Option<&str> {
        let row = self.keys.get(self.find_key(hash)?)?;
        self.texts.get(self.tenants.get(row.tenant)?.id)
    }

    /// How many tenants there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn member(&self, at: u32) -> Option<TenantEntry<'_>> {
        let row = self.tenants.get(at)?;
        let (id, plan) = (self.texts.get(row.id)?, self.names.get(row.plan)?);
        let extras = row.extras.checked_sub(1).and_then(|at| self.extras.get(at));
        let stages = extras.and_then(|extras| extras.stages.as_ref());
        let hard_budgets = extras.and_then(|extras| extras.hard_budgets.as_ref());
        let own_keys = extras.and_then(|extras| extras.own_keys.as_ref());
        let placement = extras.and_then(|extras| extras.placement.as_ref());
        Some(TenantEntry { stages, hard_budgets, own_keys, placement, id, plan, state: row.state })
    }

    fn find(&self, id: &str) -> Option<u32> {
        let is = |at: &u32| self.tenants.get(*at).is_some_and(|row| self.texts.get(row.id) == Some(id));
        self.by_id.find(widen(self.hash(id)), is).copied()
    }

    fn find_key(&self, hash: &KeyHash) -> Option<u32> {
        let is = |at: &u32| self.keys.get(*at).is_some_and(|row| row.sha256 == *hash);
        self.by_hash.find(spread(hash), is).copied()
    }

    fn hash(&self, id: &str) -> u32 {
        self.keyed.of(id.as_bytes()) as u32
    }

    fn name(&mut self, name: Option<&str>) -> Result<u16, DirectoryError> {
        self.names.number(name).ok_or(DirectoryError::TooLarge)
    }
}

/// The table takes the bucket from a hash's low bits and a tag from its high ones, so both halves get the same
/// number.
fn widen(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// The first eight bytes of a SHA-256 serve as a hash.
fn spread(hash: &KeyHash) -> u64 {
    hash.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The contract's form of a tenant id of the directory; it was validated when it arrived.
pub(crate) fn tenant_id(id: &str) -> Option<TenantId> {
    TenantId::new(id).ok()
}

#[cfg(test)]
mod tests;
