//! Tenants and keys in a database, changed one at a time.
//!
//! A database of its own beside the ledger: the file `tenants.sqlite`, or a schema of the PostgreSQL that has the ledger. The
//! ledger can be counted again from the log and its thread is busy with that log; tenants can come from nowhere else, and a
//! change of them must be synced and in force at once. So a change is one short transaction here: the tenant, its line in the
//! history, and the answer under its `Idempotency-Key`. Only after the commit does the [`Directory`] have it, under the same
//! lock, so that gateways never know more than the disk.
//!
//! | table | |
//! |---|---|
//! | `tenant` | each tenant; `version` counts its changes and is its ETag |
//! | `key` | each key ever made; only hashes |
//! | `revoked` | tokens and signing keys that gateways refuse |
//! | `history` | who changed what and when; it only grows |
//! | `flag`, `flag_history` | rules of feature flags that were set at run time ([`flags`]) |
//! | `token` | tokens of the API, only hashes |
//! | `vault_tenant`, `vault_secret`, `vault_root` | tenants' keys at providers, sealed ([`crate::vault`]) |
//! | `provisioning`, `provisioning_journal` | tenants on their way in or out |
//! | `alert_address`, `alert_codes` | where tenants are told of their own budgets ([`addresses`]) |
//! | `answered` | answers under an `Idempotency-Key`, without secrets, for [`ANSWERS_KEPT_MS`] |
//!
//! A damaged file is not opened: `weir restore` brings back one of a backup.
//!
//! In PostgreSQL a change is committed only for as long as this process may write the ledger ([`Fence`]). Where the connection is lost
//! while it commits, nobody knows whether the change took effect; the directory is read anew before the database is used again.
pub mod addresses;
pub mod change;
mod edit;
pub mod flags;
mod import;
mod keys;
pub mod moving;
mod once;
pub mod provisioning;
mod read;
mod rows;
mod schema;
mod secrets;
pub mod tokens;
pub mod vault;
pub mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use weir_contract::Timestamp;
use weir_database::{Connection, Failure, Fence, Place, Transaction};

use crate::{Directory, DirectoryError};
use addresses::ProvenAddresses;
use change::ChangeError;
pub use import::{DifferenceView, ImportError, ImportView};
pub use once::Outcome;
use schema::VERSION;

/// How long an answer under an `Idempotency-Key` is repeated, in milliseconds.
pub(crate) const ANSWERS_KEPT_MS: u64 = 24 * 3_600 * 1_000;
/// The longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("{place}: {source}")]
    Database {
        /// Where it is.
        place: String,
        /// Its error.
        source: weir_database::Error,
    },
    /// A later weir made it.
    #[error("{place}: made by a later version of weir (tables {found}, known are {VERSION})")]
    Version {
        /// Where it is.
        place: String,
        /// Its version.
        found: i64,
    },
    /// Its tenants contradict each other.
    #[error(transparent)]
    Content(#[from] DirectoryError),
}

/// The database, and the directory that follows it.
#[derive(Debug)]
pub struct TenantStore {
    place: Place,
    db: Mutex<Connection>,
    directory: Directory,
    /// Addresses that messages go to, as the database has them.
    proven: RwLock<Arc<ProvenAddresses>>,
    /// When a change was committed of which nobody knows whether it took effect.
    unsure: Mutex<Option<Timestamp>>,
}

impl TenantStore {
    /// Opens or makes the database at `place`, and puts its tenants in force. It is changed only for as long as the owner of `fence`
    /// may write.
    pub fn open(place: impl Into<Place>, fence: &Fence, now: Timestamp) -> Result<Self, StoreError> {
        let place = place.into();
        let db = Self::open_to_write(&place, fence)?;
        let directory = read::load(&db, &place, now)?;
        let proven =
            addresses::proven_of(&db).map_err(|source| StoreError::Database { place: place.label(), source })?;
        Ok(TenantStore {
            place,
            db: Mutex::new(db),
            directory,
            proven: RwLock::new(proven.into()),
            unsure: Mutex::default(),
        })
    }

    fn open_to_write(place: &Place, fence: &Fence) -> Result<Connection, StoreError> {
        let failed = |source| StoreError::Database { place: place.label(), source };
        let db = Connection::open(place).map_err(failed)?;
        db.obey(fence);
        let found = db.schema_version().map_err(failed)?;
        if found > VERSION {
            return Err(StoreError::Version { place: place.label(), found });
        }
        schema::prepare(&db, found).map_err(failed)?;
        Ok(db)
    }

    /// The tenants of the database at `place`, which another process may have open.
    pub fn look(place: &Place, now: Timestamp) -> Result<Directory, StoreError> {
        let db = Connection::open_read_only(place)
            .map_err(|source| StoreError::Database { place: place.label(), source })?;
        read::load(&db, place, now)
    }

    /// The tenants in force.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The database. What is in force is as the database has it.
    fn db(&self) -> MutexGuard<'_, Connection> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let unsure = *self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        if unsure.is_some_and(|at| self.read_again(&db, at).is_ok()) {
            *self.unsure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        db
    }

    /// Puts in force what the database has.
    fn read_again(&self, db: &Connection, now: Timestamp) -> Result<(), StoreError> {
        let failed = |source| StoreError::Database { place: self.place.label(), source };
        let proven = addresses::proven_of(db).map_err(failed)?;
        let snapshot = read::snapshot(db, &self.place, now)?;
        self.directory.replace(snapshot).map_err(DirectoryError::from)?;
        *self.proven.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(proven);
        Ok(())
    }

    /// Makes a change of the moment `now` last.
    fn commit(&self, tx: Transaction<'_>, now: Timestamp) -> Result<(), ChangeError> {
        let committed = tx.commit();
        if committed.as_ref().is_err_and(|error| error.failure() == Failure::Lost) {
            *self.unsure.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        Ok(committed?)
    }
}

#[cfg(test)]
mod tests;
