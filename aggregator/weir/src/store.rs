//! A data directory: the event log, the ledger, the lock that admits one process, and the note that leads commands to
//! the running server.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

use crate::config::Config;
use weir_clock::Clock;
use weir_event_log::writer::{LogWriter, WriterThread};
use weir_event_log::{EventLog, LogError, Position};
use weir_ledger::files::{Files, FilesError, Options};
use weir_ledger::intake::Intake;
use weir_ledger::meters::Meters;
use weir_ledger::query::LedgerReader;
use weir_ledger::thread::{LedgerHandle, LedgerThread};
use weir_ledger::{LedgerError, ValidatedBody};

/// The paths of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    dir: PathBuf,
    log_max_bytes: Option<u64>,
}

impl DataDir {
    /// The data directory at `path`.
    pub fn at(path: &Path) -> Self {
        DataDir { dir: path.to_owned(), log_max_bytes: None }
    }

    /// The data directory of `config`, with its bounds.
    pub fn of(config: &Config) -> Self {
        DataDir { dir: config.data.clone(), log_max_bytes: config.log_max_bytes }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The event log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log.sqlite")
    }

    /// The ledger and the outbox.
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.sqlite")
    }

    /// Identifies the ledger's file by its place on disk, which a copy cannot share.
    pub fn ledger_file(&self) -> Result<String, StoreError> {
        let path = self.ledger();
        let of = std::fs::metadata(&path).map_err(|source| StoreError::Io { path, source })?;
        Ok(format!("inode {}", of.ino()))
    }

    fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    fn note(&self) -> PathBuf {
        self.dir.join("server.json")
    }

    /// Takes the lock; creates the directory if necessary.
    pub fn take_lock(&self) -> Result<Lock, StoreError> {
        let io = |source| StoreError::Io { path: self.lock(), source };
        std::fs::create_dir_all(&self.dir).map_err(|source| StoreError::Io { path: self.dir.clone(), source })?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.lock()).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(self.dir.clone())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Writes the note about the running server, readable by the owner only, because its token has every scope.
    pub fn write_note(&self, note: &ServerNote) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { path: self.note(), source };
        let temporary = self.dir.join("server.json.new");
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary).map_err(io)?;
        let text = serde_json::to_string(note).map_err(|error| io(error.into()))?;
        file.write_all(text.as_bytes()).map_err(io)?;
        std::fs::rename(&temporary, self.note()).map_err(io)
    }

    /// Reads the note. Its server may be gone; the lock tells.
    pub fn read_note(&self) -> Option<ServerNote> {
        serde_json::from_str(&std::fs::read_to_string(self.note()).ok()?).ok()
    }

    /// Removes the note.
    pub fn remove_note(&self) {
        let _ = std::fs::remove_file(self.note());
    }
}

/// The running server's address and a token for it.
#[derive(Clone, Serialize, Deserialize)]
pub struct ServerNote {
    /// Its address.
    pub address: SocketAddr,
    /// A token with every scope, random at each start.
    pub token: String,
}

impl std::fmt::Debug for ServerNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Note({})", self.address)
    }
}

/// The right to write into a data directory, until this value or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Unlocks explicitly. Closing the file is not enough: a forked process that has not yet executed another program
    /// also has it open.
    fn drop(&mut self) {
        // If unlocking fails, the lock ends when its last holder closes the file.
        let _left_to_closing = self.file.unlock();
    }
}

/// An open data directory: log and ledger, with their threads.
#[derive(Debug)]
pub struct Store {
    /// Where it is.
    pub home: DataDir,
    /// The writer of the log.
    pub log: LogWriter<ValidatedBody>,
    /// The intake for batches.
    pub intake: Intake,
    /// The handle to the ledger's thread.
    pub ledger: LedgerHandle,
    /// The ledger's name.
    pub ledger_id: String,
    /// The meters.
    pub meters: Arc<Meters>,
    threads: Threads,
}

#[derive(Debug)]
struct Threads {
    writer: WriterThread,
    ledger: LedgerThread,
    _lock: Lock,
}

/// The threads that must end, in order, once no [`LogWriter`] is left.
#[derive(Debug)]
pub struct Closing(Threads);

impl Store {
    /// Opens the directory `home` under its lock.
    pub fn open(home: DataDir, meters: Meters, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let lock = home.take_lock()?;
        let counted = Arc::new(meters.clone());
        let Files { log, reader, ledger } = Files::open(&home.log(), &home.ledger(), meters, Options::default())?;
        if let Some(bytes) = home.log_max_bytes {
            log.bound(bytes)?;
        }
        let forgotten_before = log.end().forgotten_before;
        let ledger_id = ledger.id().to_owned();
        let thread = |source| StoreError::Io { path: home.dir().to_owned(), source };
        let (handle, ledger) = LedgerHandle::start(ledger, Box::new(reader), Arc::clone(&clock)).map_err(thread)?;
        let follower = handle.clone();
        let appended = move |batches| follower.hand_over(batches);
        let (log, writer) = LogWriter::start(Box::new(log), clock, appended).map_err(thread)?;
        let intake = Intake::new(log.clone(), forgotten_before, *handle.hasher());
        handle.wake();
        let threads = Threads { writer, ledger, _lock: lock };
        Ok(Store { home, log, intake, ledger: handle, ledger_id, meters: counted, threads })
    }

    /// A reader of the ledger.
    pub fn reader(&self) -> Result<LedgerReader, LedgerError> {
        LedgerReader::open(&self.home.ledger())
    }

    /// Waits until the whole log is counted.
    pub async fn catch_up(&self) -> Result<(), LedgerError> {
        self.ledger.reach(self.log_end()).await
    }

    /// The position of the log's last record.
    pub fn log_end(&self) -> Position {
        self.log.progress().last()
    }

    /// Drops the writers; [`Closing::finish`] then waits for the threads.
    pub fn close(self) -> Closing {
        Closing(self.threads)
    }
}

impl Closing {
    /// Waits until all submitted records are synced and counted. Blocks.
    pub fn finish(self) {
        let Threads { writer, ledger, _lock } = self.0;
        writer.join();
        ledger.stop();
    }
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// Another process has locked it.
    #[error("{}: in use by another weir; stop it, or choose another `data` directory", .0.display())]
    Locked(PathBuf),
    /// The event log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<FilesError> for StoreError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Log(error) => StoreError::Log(error),
            FilesError::Ledger(error) => StoreError::Ledger(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_value_whoever_has_inherited_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = DataDir::at(dir.path());
        let lock = home.take_lock().expect("free");
        assert!(matches!(home.take_lock(), Err(StoreError::Locked(_))));
        let inherited = lock.file.try_clone().expect("as a forked process has it");
        drop(lock);
        assert!(home.take_lock().is_ok());
        drop(inherited);
    }

    /// Checks the settings of `.cargo/config.toml`: two databases of one process share no cache, lock or counter.
    #[test]
    fn sqlite_is_built_as_this_workspace_asks() {
        let db = rusqlite::Connection::open_in_memory().expect("opened");
        let mut asked = db.prepare("PRAGMA compile_options").expect("prepared");
        let options: Vec<String> =
            asked.query_map([], |row| row.get(0)).expect("asked").map(|option| option.expect("read")).collect();
        assert!(options.iter().any(|option| option == "THREADSAFE=1"), "{options:?}");
        assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
        for unwanted in ["ENABLE_MEMORY_MANAGEMENT", "ENABLE_API_ARMOR"] {
            assert!(!options.iter().any(|option| option == unwanted), "{options:?}");
        }
    }
}
