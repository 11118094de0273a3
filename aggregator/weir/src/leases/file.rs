//! `leases.sqlite`: one row for each limit, and one for the center's epoch and time.
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Transaction};
use weir_contract::lease::Key;
use weir_leases::{Center, Checkpoint, Limit};

use crate::store::private;

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS center (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS limits (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// The open file.
#[derive(Debug)]
pub(crate) struct LeaseFile {
    connection: Connection,
}

/// Why a row cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// SQLite fails.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A row is damaged.
    #[error(transparent)]
    Row(#[from] serde_json::Error),
}

impl LeaseFile {
    /// Opens the file, and reads what it keeps; None if it is new. A damaged file is put aside, and a new one started.
    pub(crate) fn open(path: &Path) -> std::io::Result<(Self, Option<Checkpoint>)> {
        private(path)?;
        match Self::read(path) {
            Ok(found) => Ok(found),
            Err(error) => {
                let aside = aside(path);
                tracing::error!(%error, aside = %aside.display(), "the leases cannot be read and are put aside");
                std::fs::rename(path, &aside)?;
                for suffix in ["-wal", "-shm"] {
                    let beside = PathBuf::from(format!("{}{suffix}", path.display()));
                    if beside.exists() {
                        std::fs::remove_file(beside)?;
                    }
                }
                private(path)?;
                Self::read(path).map_err(std::io::Error::other)
            }
        }
    }

    fn read(path: &Path) -> Result<(Self, Option<Checkpoint>), FileError> {
        let connection = Connection::open(path)?;
        connection.execute_batch(TABLES)?;
        let kept = checkpoint(&connection)?;
        Ok((LeaseFile { connection }, kept))
    }

    /// Reads what the file keeps without a change to it, for commands while no server runs; None without a file.
    pub(crate) fn peek(path: &Path) -> Result<Option<Checkpoint>, FileError> {
        if !path.exists() {
            return Ok(None);
        }
        checkpoint(&Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
    }

    /// Stores what changed in the center, in one transaction that is on disk afterwards.
    pub(crate) fn save(&mut self, center: &mut Center) -> Result<(), FileError> {
        let transaction = self.connection.transaction()?;
        for (key, limit) in center.changes() {
            put(&transaction, key, limit)?;
        }
        let head = serde_json::to_string(&center.head())?;
        transaction.execute("INSERT OR REPLACE INTO center (id, body) VALUES (1, ?1)", [head])?;
        transaction.commit()?;
        center.saved();
        Ok(())
    }
}

fn put(transaction: &Transaction<'_>, key: &Key, limit: Option<&Limit>) -> Result<(), FileError> {
    let key = serde_json::to_string(key)?;
    match limit {
        Some(limit) => {
            let body = serde_json::to_string(limit)?;
            let mut statement =
                transaction.prepare_cached("INSERT OR REPLACE INTO limits (key, body) VALUES (?1, ?2)")?;
            statement.execute([key, body])?;
        }
        None => {
            transaction.prepare_cached("DELETE FROM limits WHERE key = ?1")?.execute([key])?;
        }
    }
    Ok(())
}

fn checkpoint(connection: &Connection) -> Result<Option<Checkpoint>, FileError> {
    let mut heads = connection.prepare("SELECT body FROM center")?;
    let Some(head) = heads.query_map([], |row| row.get::<_, String>(0))?.next().transpose()? else {
        return Ok(None);
    };
    let mut kept: Checkpoint = serde_json::from_str(&head)?;
    let mut limits = connection.prepare("SELECT key, body FROM limits")?;
    for row in limits.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
        let (key, body) = row?;
        kept.with(serde_json::from_str(&key)?, serde_json::from_str(&body)?);
    }
    Ok(Some(kept))
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("damaged.sqlite")
}
