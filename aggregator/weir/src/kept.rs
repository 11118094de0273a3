//! What is kept beside the ledger: opened where it is, and moved there from the files of a version before.
use std::ffi::OsString;
use std::path::Path;

use weir_contract::Timestamp;
use weir_database::{Connection, Fence, Place};
use weir_ledger::LedgerError;
use weir_tenants::store::TenantStore;
use weir_tenants::store::moving::Moved;

use crate::store::{DataDir, Lock, StoreError};

/// The right of a command to change what is kept, while no server has it.
#[derive(Debug)]
pub(crate) struct Right {
    /// What connections of this command obey.
    pub(crate) fence: Fence,
    /// Has the right to write a ledger in a PostgreSQL.
    _owner: Option<Connection>,
    _lock: Lock,
}

impl DataDir {
    /// Takes the right to change what is kept: the lock of the directory, and of a ledger elsewhere the right to write, which another
    /// machine's server may have.
    pub(crate) fn take_right(&self) -> Result<Right, StoreError> {
        let lock = self.take_lock()?;
        self.make_private()?;
        let owner = match self.ledger() {
            Place::Sqlite(_) => None,
            place => Some(owner_of(place).map_err(LedgerError::from)?),
        };
        let fence = owner.as_ref().map(Connection::fence).unwrap_or_default();
        Ok(Right { fence, _owner: owner, _lock: lock })
    }

    /// Opens the database of tenants, for as long as the owner of `fence` may write. What a version before kept in a file, though the
    /// ledger is elsewhere, moves there first.
    pub(crate) fn open_tenants(&self, fence: &Fence, now: Timestamp) -> Result<TenantStore, StoreError> {
        self.move_in(fence)?;
        Ok(TenantStore::open(self.tenants(), fence, now)?)
    }

    /// Moves tenants from the directory to where the ledger is. Not before there is a ledger: who named a PostgreSQL by mistake, and takes
    /// that back, finds them where they were.
    pub(crate) fn move_in(&self, fence: &Fence) -> Result<(), StoreError> {
        let file = self.tenants_file();
        if self.tenants().file().is_some() || !file.exists() {
            return Ok(());
        }
        if !self.has_ledger()? {
            return Err(StoreError::Unmoved { file, ledger: self.ledger().label() });
        }
        let moved = TenantStore::transfer((&Place::Sqlite(file.clone()), &Fence::default()), (self.tenants(), fence))?;
        let aside = file.with_extension("moved.sqlite");
        put_aside(&file, &aside).map_err(|source| StoreError::Io { path: file, source })?;
        let (to, aside) = (self.tenants().label(), aside.display());
        match moved {
            Moved::Copied(rows) => {
                tracing::info!(rows, %to, %aside, "tenants moved from a file to where the ledger is; the file is put aside");
            }
            Moved::Same => tracing::info!(%to, %aside, "tenants are where the ledger is; their file is put aside"),
            Moved::Nothing => {}
        }
        Ok(())
    }

    /// Where tenants are for who only reads them: a file that no server has moved to the ledger yet comes first. None before there are any.
    pub(crate) fn tenants_to_read(&self) -> Option<Place> {
        let file = self.tenants_file();
        if file.exists() {
            return Some(Place::Sqlite(file));
        }
        Some(self.tenants().clone()).filter(|place| place.file().is_none())
    }
}

/// A connection that may write the ledger at `place`, whether there is one yet or not.
pub(crate) fn owner_of(place: &Place) -> Result<Connection, weir_database::Error> {
    let owner = Connection::open(place)?;
    owner.take_over()?;
    Ok(owner)
}

/// Moves the file of a SQLite database, with those beside it.
pub(crate) fn put_aside(path: &Path, aside: &Path) -> std::io::Result<()> {
    for part in ["", "-wal", "-shm"] {
        let named = |path: &Path| {
            let mut name: OsString = path.as_os_str().to_owned();
            name.push(part);
            name
        };
        match std::fs::rename(named(path), named(aside)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
    }
    Ok(())
}
