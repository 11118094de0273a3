//! Tenants and keys in a database, changed one at a time.
//!
//! A file of its own, `tenants.sqlite`, beside the ledger. The ledger can be counted again from the log and its thread is
//! busy with that log; tenants can come from nowhere else, and a change of them must be synced and in force at once. So a
//! change is one short transaction here: the tenant, its line in the history, and the answer under its `Idempotency-Key`.
//! Only after the commit does the [`Directory`] have it, under the same lock, so that gateways never know more than the disk.
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
pub mod addresses;
pub mod change;
mod edit;
pub mod flags;
mod import;
mod keys;
mod once;
pub mod provisioning;
mod read;
mod rows;
mod secrets;
pub mod tokens;
pub mod vault;
pub mod view;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::{Connection, OpenFlags};
use weir_contract::Timestamp;

use crate::{Directory, DirectoryError};
use addresses::ProvenAddresses;
pub use import::{DifferenceView, ImportError, ImportView};
pub use once::Outcome;

/// How long an answer under an `Idempotency-Key` is repeated, in milliseconds.
pub(crate) const ANSWERS_KEPT_MS: u64 = 24 * 3_600 * 1_000;
/// The longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

const VERSION: i64 = MIGRATIONS.len() as i64;
/// A released migration never changes; a new one follows it.
const MIGRATIONS: [&str; 6] = [
    include_str!("store/migrations/1_tenants.sql"),
    include_str!("store/migrations/2_vault.sql"),
    include_str!("store/migrations/3_flags.sql"),
    include_str!("store/migrations/4_provisioning.sql"),
    include_str!("store/migrations/5_scopes_and_answers.sql"),
    include_str!("store/migrations/6_alert_addresses.sql"),
];

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// A later weir made it.
    #[error("{}: made by a later version of weir (tables {found}, known are {VERSION})", path.display())]
    Version {
        /// The file.
        path: PathBuf,
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
    db: Mutex<Connection>,
    directory: Directory,
    /// Addresses that messages go to, as the database has them.
    proven: RwLock<Arc<ProvenAddresses>>,
}

impl TenantStore {
    /// Opens or makes the database at `path`, and puts its tenants in force.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, StoreError> {
        let db = Self::open_to_write(path)?;
        let directory = read::load(&db, path, now)?;
        let proven =
            addresses::proven_of(&db).map_err(|source| StoreError::Sqlite { path: path.to_owned(), source })?;
        Ok(TenantStore { db: Mutex::new(db), directory, proven: RwLock::new(proven.into()) })
    }

    fn open_to_write(path: &Path) -> Result<Connection, StoreError> {
        let sqlite = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let mut db = Connection::open(path).map_err(sqlite)?;
        let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
        if found > VERSION {
            return Err(StoreError::Version { path: path.to_owned(), found });
        }
        prepare(&mut db, found).map_err(sqlite)?;
        Ok(db)
    }

    /// The tenants of the database at `path`, which another process may have open.
    pub fn look(path: &Path, now: Timestamp) -> Result<Directory, StoreError> {
        read::load(&Self::open_read_only(path)?, path, now)
    }

    fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(path, flags).map_err(|source| StoreError::Sqlite { path: path.to_owned(), source })
    }

    /// The tenants in force.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prepare(db: &mut Connection, found: i64) -> rusqlite::Result<()> {
    db.pragma_update(None, "journal_mode", "wal")?;
    // An answer promises that the change is on disk.
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)?;
    // What is removed from the vault is not left in free pages.
    db.pragma_update(None, "secure_delete", true)?;
    let tx = db.transaction()?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

#[cfg(test)]
mod tests;
