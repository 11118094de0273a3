//! A data directory: the event log and the ledger unless they are elsewhere, the lock that one process at a time holds, and the note that
//! tells commands where the running server is.
mod lost;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use tokio::time::timeout;

use crate::config::Config;
use crate::config::ledger::LedgerPlace;
use crate::config::tokens::random_token;
use crate::forgotten::{Forgotten, ForgottenError};
use weir_clock::Clock;
use weir_database::Place;
use weir_event_log::place::{LogPlace, Opening};
use weir_event_log::writer::{LogWriter, WriterThread};
use weir_event_log::{Create, LogError, Position, Taking};
use weir_ledger::cost::Rules;
use weir_ledger::files::{Files, FilesError};
use weir_ledger::intake::Intake;
use weir_ledger::meters::Meters;
use weir_ledger::query::LedgerReader;
use weir_ledger::thread::{LedgerHandle, LedgerThread};
use weir_ledger::{LedgerError, LedgerOptions, SqliteLedger, ValidatedBody};
use weir_tenants::store::moving::MoveError;

/// How long a page waits until what was sent before is counted. Under load there is always something that is not.
const PAGE_WAITS: Duration = Duration::from_millis(25);

/// The names of what is kept beside the ledger.
const TENANTS: &str = "tenants";
const LEASES: &str = "leases";

/// The paths of a data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    dir: PathBuf,
    log: LogPlace,
    ledger: Place,
    tenants: Place,
    leases: Place,
    log_max_bytes: Option<u64>,
    /// Whether other nodes share log and ledger.
    is_node: bool,
}

impl DataDir {
    /// The data directory at `path`, with event log and ledger in it.
    pub fn at(path: &Path) -> Self {
        Self::with(path, LogPlace::Sqlite(embedded(path)), Place::Sqlite(ledger_in(path)))
    }

    /// The data directory of `config`, with its bounds, and event log and ledger where the configuration says.
    pub fn of(config: &Config) -> Self {
        let here = Self::at(&config.data);
        let log = config.log.clone().unwrap_or(here.log);
        let ledger = config.ledger.as_ref().map_or(here.ledger, LedgerPlace::place);
        let is_node = config.node.is_some();
        DataDir { log_max_bytes: config.log_max_bytes, is_node, ..Self::with(&config.data, log, ledger) }
    }

    /// The same with the ledger at another place, and what is kept beside it.
    pub(crate) fn with_ledger(&self, ledger: Place) -> Self {
        DataDir {
            log_max_bytes: self.log_max_bytes,
            is_node: self.is_node,
            ..Self::with(&self.dir, self.log.clone(), ledger)
        }
    }

    /// What is kept beside the ledger is where the ledger is: in files of the directory, or each in a schema of its own beside the ledger's.
    fn with(dir: &Path, log: LogPlace, ledger: Place) -> Self {
        let kept = |name: &str| match &ledger {
            Place::Sqlite(_) => Place::Sqlite(in_file(dir, name)),
            place => place.beside(name),
        };
        let (tenants, leases) = (kept(TENANTS), kept(LEASES));
        DataDir { dir: dir.to_owned(), log, ledger, tenants, leases, log_max_bytes: None, is_node: false }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the event log is.
    pub fn log_place(&self) -> &LogPlace {
        &self.log
    }

    /// The event log's file, where the log is in the directory.
    pub fn log(&self) -> PathBuf {
        embedded(&self.dir)
    }

    /// The ledger and the outbox.
    pub fn ledger(&self) -> &Place {
        &self.ledger
    }

    /// The file of a ledger in the directory.
    pub fn ledger_file(&self) -> PathBuf {
        ledger_in(&self.dir)
    }

    /// Whether there is a ledger.
    pub(crate) fn has_ledger(&self) -> Result<bool, StoreError> {
        match &self.ledger {
            Place::Sqlite(path) => Ok(path.exists() && LedgerReader::open(&self.ledger)?.is_made()?),
            place => Ok(LedgerReader::open(place)?.log_id()?.is_some()),
        }
    }

    /// Tells a ledger from its copies: a file by its place on disk, a schema by its place in its server.
    pub fn ledger_identity(&self) -> Result<String, StoreError> {
        match &self.ledger {
            Place::Sqlite(path) => {
                let of = std::fs::metadata(path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
                Ok(format!("inode {}", of.ino()))
            }
            place => Ok(LedgerReader::open(place)?.place_in_server()?),
        }
    }

    /// Makes the databases readable to the owner only, before SQLite opens them: they hold what tenants did and who pays. SQLite gives
    /// the files beside them the same rights.
    pub(crate) fn make_private(&self) -> Result<(), StoreError> {
        let log = (!self.log_is_elsewhere()).then(|| self.log());
        let ledger = self.ledger.file().map(Path::to_owned);
        let tenants = self.tenants.file().map(Path::to_owned);
        for path in log.into_iter().chain(ledger).chain(tenants) {
            private(&path).map_err(|source| StoreError::Io { path, source })?;
        }
        Ok(())
    }

    /// Whether weir ever kept something here. A log or a ledger elsewhere that cannot be asked counts: opening it says why.
    pub fn exists(&self) -> bool {
        self.has_files()
            || (self.log_is_elsewhere() && self.log.facts().map_or(true, |log| log.is_some()))
            || (self.ledger.file().is_none() && self.has_ledger().unwrap_or(true))
    }

    /// Whether there is a log or a ledger in the directory.
    pub(crate) fn has_files(&self) -> bool {
        // A command that makes tenants before the first start, or a start that was cut off, leaves empty files.
        let has_content = |path: PathBuf| std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        has_content(self.log()) || has_content(self.ledger_file())
    }

    fn log_is_elsewhere(&self) -> bool {
        !matches!(self.log, LogPlace::Sqlite(_))
    }

    /// A log with records and without a ledger lost it: counting anew would report everything a second time.
    fn check_ledger_is_there(&self) -> Result<(), StoreError> {
        if self.has_ledger()? || self.log.facts()?.is_none_or(|log| log.last == 0) {
            return Ok(());
        }
        let restore = if self.ledger.file().is_some() { "weir restore" } else { "pg_restore" };
        Err(StoreError::LedgerMissing(self.ledger.label(), restore))
    }

    /// The leases of fleet-wide limits.
    pub(crate) fn leases(&self) -> &Place {
        &self.leases
    }

    /// The file of leases in the directory.
    pub(crate) fn leases_file(&self) -> PathBuf {
        in_file(&self.dir, LEASES)
    }

    /// Says that this directory had leases in a Redis, and in which.
    pub(crate) fn shared_leases(&self) -> PathBuf {
        self.dir.join("leases.shared")
    }

    /// The tenants, keys and tokens that are kept in a database.
    pub(crate) fn tenants(&self) -> &Place {
        &self.tenants
    }

    /// The file of tenants in the directory.
    pub(crate) fn tenants_file(&self) -> PathBuf {
        in_file(&self.dir, TENANTS)
    }

    /// The users to forget.
    pub fn forgotten(&self) -> PathBuf {
        self.dir.join("forgotten.json")
    }

    /// How the event log is opened: who writes, and which one is expected.
    fn opening(&self, clock: Arc<dyn Clock>) -> Result<Opening, StoreError> {
        let embedded = Opening { max_bytes: self.log_max_bytes, ..Opening::embedded(clock) };
        if !self.log_is_elsewhere() {
            return Ok(embedded);
        }
        let known = if self.has_ledger()? { LedgerReader::open(&self.ledger)?.log_id()? } else { None };
        let create = known.map_or(Create::IfMissing, Create::Never);
        let mut taking = self.taking(create)?;
        if self.is_node {
            // A node takes the log only while it has the right to write the ledger, so it need not wait for another node's to end.
            taking.owner = format!("nodes of {}", self.ledger.label());
        }
        Ok(Opening { taking, ..embedded })
    }

    /// Who writes to a shared event log from this directory.
    pub(crate) fn taking(&self, create: Create) -> Result<Taking, StoreError> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let holder = format!("weir with {} on {}, process {}", self.dir.display(), host.trim(), std::process::id());
        Ok(Taking { owner: self.owner()?, holder, create })
    }

    /// The directory's own secret, the same at each start: a restarted weir need not wait until its own right to write ends.
    pub(crate) fn owner(&self) -> Result<String, StoreError> {
        let path = self.dir.join("writer");
        let io = |source| StoreError::Io { path: path.clone(), source };
        match std::fs::read_to_string(&path) {
            Ok(owner) if !owner.is_empty() => return Ok(owner),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let owner = random_token().map_err(|error| io(std::io::Error::other(error)))?;
        private(&path).and_then(|mut file| file.write_all(owner.as_bytes())).map_err(io)?;
        Ok(owner)
    }

    fn open_files(&self, opening: Opening, meters: Meters) -> Result<Files, FilesError> {
        let options = LedgerOptions::default();
        match self.is_node {
            true => Files::open_by_right(&self.log, opening, &self.ledger, meters, options),
            false => Files::open(&self.log, opening, &self.ledger, meters, options),
        }
    }

    fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    fn note(&self) -> PathBuf {
        self.dir.join("server.json")
    }

    /// Takes the lock; creates the directory if necessary.
    pub(crate) fn take_lock(&self) -> Result<Lock, StoreError> {
        let io = |source| StoreError::Io { path: self.lock(), source };
        let dir = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        dir.map_err(|source| StoreError::Io { path: self.dir.clone(), source })?;
        let file = private(&self.lock()).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(self.dir.clone())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Writes the note about the running server, readable by the owner only, because its token has every scope.
    pub(crate) fn write_note(&self, note: &ServerNote) -> Result<(), StoreError> {
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
    /// The users to forget.
    pub forgotten: tokio::sync::Mutex<Forgotten>,
    /// Device and number of an embedded log's file, by which a deleted or replaced one is known.
    log_file: Option<(u64, u64)>,
    threads: Threads,
}

#[derive(Debug)]
struct Threads {
    writer: WriterThread,
    ledger: LedgerThread,
    _lock: Arc<Lock>,
}

/// The threads that must end, in order, once no [`LogWriter`] is left.
#[derive(Debug)]
pub struct Closing(Threads);

impl Store {
    /// Opens the directory `home` under its lock.
    pub fn open(home: DataDir, rules: impl Into<Rules>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let lock = Arc::new(home.take_lock()?);
        Ok(Self::open_with(home, lock, rules, clock, |_| Ok(()))?.0)
    }

    /// As [`Store::open`] under a lock that is there; `prepare` works on the ledger before it counts anything.
    pub(crate) fn open_with<T>(
        home: DataDir,
        lock: Arc<Lock>,
        rules: impl Into<Rules>,
        clock: Arc<dyn Clock>,
        prepare: impl FnOnce(&mut SqliteLedger) -> Result<T, StoreError>,
    ) -> Result<(Self, T), StoreError> {
        home.check_nothing_is_lost()?;
        home.check_ledger_is_there()?;
        home.make_private()?;
        let mut forgotten = Forgotten::read(&home.forgotten())?;
        let Rules { meters, prices } = rules.into();
        let counted = Arc::new(meters.clone());
        let opening = home.opening(Arc::clone(&clock))?;
        let Files { log, reader, mut ledger } = home.open_files(opening, meters)?;
        if let Some(prices) = prices {
            ledger.set_prices(prices, clock.now())?;
        }
        let prepared = prepare(&mut ledger)?;
        let (users, through) = home.log.forgotten()?;
        forgotten.learn(&users, through, clock.now());
        let forgotten_before = log.end().forgotten_before;
        let log_file = (!home.log_is_elsewhere()).then(|| file_number(&home.log())).transpose()?;
        let ledger_id = ledger.id().to_owned();
        let thread = |source| StoreError::Io { path: home.dir().to_owned(), source };
        let (handle, ledger) = LedgerHandle::start(ledger, reader, Arc::clone(&clock)).map_err(thread)?;
        let follower = handle.clone();
        let appended = move |batches| follower.hand_over(batches);
        let marked = home.clone();
        let (log, writer) = LogWriter::start(log, clock, appended, move |why| marked.mark_lost(why)).map_err(thread)?;
        let intake = Intake::new(log.clone(), forgotten_before, *handle.hasher());
        handle.wake();
        let threads = Threads { writer, ledger, _lock: lock };
        let (ledger, meters, forgotten) = (handle, counted, tokio::sync::Mutex::new(forgotten));
        Ok((Store { home, log, intake, ledger, ledger_id, meters, forgotten, log_file, threads }, prepared))
    }

    /// Checks that what the log takes will be counted: no other weir has taken over the ledger, and an embedded log's file is still the
    /// one that was opened, since what is written into a deleted one is gone. A shared log is checked at every write.
    pub(crate) fn check_in_place(&self) -> Result<(), StoreError> {
        if self.ledger.progress().is_taken_over() {
            return Err(StoreError::TakenOver);
        }
        let Some(opened) = self.log_file else { return Ok(()) };
        match file_number(&self.home.log()) {
            Ok(number) if number == opened => Ok(()),
            _ => Err(StoreError::Gone(self.home.log())),
        }
    }

    /// A reader of the ledger.
    pub fn reader(&self) -> Result<LedgerReader, LedgerError> {
        LedgerReader::open(self.home.ledger())
    }

    /// Waits until the whole log is counted.
    pub async fn catch_up(&self) -> Result<(), LedgerError> {
        self.ledger.reach(self.log_end()).await
    }

    /// Waits until the whole log is counted, or for as long as a page may: it then says up to where.
    pub(crate) async fn catch_up_for_page(&self) -> Result<(), LedgerError> {
        timeout(PAGE_WAITS, self.catch_up()).await.unwrap_or(Ok(()))
    }

    /// The position of the log's last record.
    pub(crate) fn log_end(&self) -> Position {
        self.log.progress().last()
    }

    /// Drops the writers; [`Closing::finish`] then waits for the threads.
    pub fn close(self) -> Closing {
        Closing(self.threads)
    }
}

/// The event log's file in a data directory.
fn embedded(dir: &Path) -> PathBuf {
    dir.join("log.sqlite")
}

/// The file of what is kept under a name in a data directory.
fn in_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.sqlite"))
}

/// The ledger's file in a data directory.
fn ledger_in(dir: &Path) -> PathBuf {
    dir.join("ledger.sqlite")
}

/// Opens a file that only its owner may read, making it if need be.
pub(crate) fn private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    // One that an earlier version made may be readable to others.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn file_number(path: &Path) -> Result<(u64, u64), StoreError> {
    let of = std::fs::metadata(path).map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
    Ok((of.dev(), of.ino()))
}

impl Closing {
    /// Waits until all submitted records are synced and counted. Blocks.
    pub fn finish(self) {
        let Threads { writer, ledger, _lock } = self.0;
        writer.join();
        ledger.stop();
    }
}

impl StoreError {
    /// Whether another process uses the directory, or writes the ledger.
    pub(crate) fn is_in_use(&self) -> bool {
        use weir_database::Error::Owned;
        matches!(self, StoreError::Locked(_) | StoreError::Ledger(LedgerError::Database(Owned(_))))
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
    /// There is an event log and no ledger.
    #[error(
        "{0}: missing, though the event log has records; put it back (`{1}`), or count the log anew: `weir ledger rebuild --replace`"
    )]
    LedgerMissing(String, &'static str),
    /// The event log lost what was acknowledged.
    #[error(
        "the event log lost events that were acknowledged: {why}. Put the log back from where it is whole (`weir restore`), or have what gateways \
         keep sent again (`weir replay`) and delete {} to go on without the rest", path.display()
    )]
    Lost {
        /// The file that says so.
        path: PathBuf,
        /// What the writer found.
        why: String,
    },
    /// The list of forgotten users.
    #[error(transparent)]
    Forgotten(#[from] ForgottenError),
    /// The database of tenants cannot be used.
    #[error(transparent)]
    Tenants(#[from] weir_tenants::store::StoreError),
    /// Tenants are in the directory, and there is no ledger yet where they would move.
    #[error(
        "{}: tenants are in this file, and there is no ledger yet in {ledger}: `weir migrate` moves both there, the start of a new server the tenants",
        file.display()
    )]
    Unmoved {
        /// The file.
        file: PathBuf,
        /// Where the ledger would be.
        ledger: String,
    },
    /// Tenants in the directory do not move to where the ledger is.
    #[error(transparent)]
    Moving(#[from] MoveError),
    /// A file was deleted or replaced under the running server.
    #[error("{}: deleted or replaced while the server runs; stop it, put the data directory back and start again", .0.display())]
    Gone(PathBuf),
    /// Another process writes the ledger.
    #[error("another weir has taken over the ledger, and this one writes nothing more")]
    TakenOver,
    /// The event log.
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
