//! Where tenants are kept: in a file that people edit, or in the database that commands and the API change.
use std::collections::HashMap;
use std::path::PathBuf;

use weir_tenants::Snapshot;

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

impl TenantsHome {
    /// The tenants file, if it is the home.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            TenantsHome::File(path) => Some(path.clone()),
            TenantsHome::Nowhere | TenantsHome::Database => None,
        }
    }

    /// The plan of each tenant; None where nothing says which tenants there are.
    pub(crate) fn plans<'a>(&self, tenants: &'a Snapshot) -> Option<&'a HashMap<String, String>> {
        (*self != TenantsHome::Nowhere).then(|| tenants.plans())
    }
}
