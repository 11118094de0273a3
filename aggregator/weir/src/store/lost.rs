//! What the event log has lost of what it acknowledged, noted for the next start.
//!
//! The ledger knows of what it has counted. What was acknowledged and not counted yet, only the process knew that acknowledged it.
use std::io::ErrorKind;
use std::path::PathBuf;

use super::{DataDir, StoreError};

impl DataDir {
    /// Where it stands that the event log lost what was acknowledged. Once the ledger has not counted it either, no other trace is left.
    fn lost_mark(&self) -> PathBuf {
        self.dir.join("log-lost")
    }

    pub(super) fn mark_lost(&self, why: &str) {
        let mark = self.lost_mark();
        let noted = std::fs::write(&mark, why).and_then(|()| std::fs::File::open(&mark)?.sync_all());
        if let Err(error) = noted.and_then(|()| std::fs::File::open(&self.dir)?.sync_all()) {
            tracing::error!(%error, path = %mark.display(), "what the event log has lost cannot be noted for the next start");
        }
    }

    /// Refuses to go on with an event log that lost what was acknowledged, until a person has decided what becomes of it.
    pub(crate) fn check_nothing_is_lost(&self) -> Result<(), StoreError> {
        let mark = self.lost_mark();
        match std::fs::read_to_string(&mark) {
            Ok(why) => Err(StoreError::Lost { path: mark, why }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StoreError::Io { path: mark, source }),
        }
    }

    /// Forgets what a log has lost, since another one takes its place.
    pub(crate) fn forget_loss(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.lost_mark()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
