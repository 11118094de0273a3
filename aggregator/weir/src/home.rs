//! Reads the tenants for a command, wherever they are kept.
use weir_contract::Timestamp;
use weir_tenants::store::{StoreError, TenantStore};
use weir_tenants::{Directory, DirectoryError};

use crate::config::Config;
use crate::config::home::TenantsHome;
use crate::store::DataDir;

/// Why tenants cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] DirectoryError),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] StoreError),
}

impl Config {
    /// Reads the tenants, for a command; the server may run.
    pub fn directory(&self, now: Timestamp) -> Result<Directory, HomeError> {
        if self.tenants == TenantsHome::Database
            && let Some(database) = DataDir::of(self).tenants_to_read()
        {
            return Ok(TenantStore::look(&database, now)?);
        }
        Ok(Directory::open(self.tenants.file())?)
    }
}
