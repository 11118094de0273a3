//! Where tenants are kept: in a file that people edit, or in the database that commands and the API change.
use std::path::PathBuf;

use weir_contract::Timestamp;
use weir_tenants::store::{StoreError, TenantStore};
use weir_tenants::{Directory, DirectoryError};

use super::Config;
use crate::store::DataDir;

/// Where tenants are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TenantsHome {
    /// There are none.
    #[default]
    Nowhere,
    /// In a tenants file.
    File(PathBuf),
    /// In the data directory.
    Database,
}

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

impl TenantsHome {
    /// The tenants file, if it is the home.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            TenantsHome::File(path) => Some(path.clone()),
            TenantsHome::Nowhere | TenantsHome::Database => None,
        }
    }
}

impl Config {
    /// Reads the tenants, for a command; the server may run.
    pub fn directory(&self, now: Timestamp) -> Result<Directory, HomeError> {
        let database = DataDir::at(&self.data).tenants();
        if self.tenants == TenantsHome::Database && database.exists() {
            return Ok(TenantStore::look(&database, now)?);
        }
        Ok(Directory::open(self.tenants.file())?)
    }
}
