//! Online backup and restore.
//!
//! A backup is a directory with log, ledger and tenants, copied while the server runs: by SQLite, or record by record where the log is
//! elsewhere. The ledger is copied first. The log may then be ahead of it, as it may at any time; the records between are counted
//! after a restore. A backup can be restored into any kind of log, so this is also the way from one to another.
//!
//! A ledger in a PostgreSQL, and the tenants beside it, are dumped and restored by PostgreSQL's own programs, before the rest: see
//! `docs/fleet.md`.
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::forgotten::{Forgotten, ForgottenError};
use crate::store::{DataDir, Lock, StoreError, private};
use weir_clock::SystemClock;
use weir_database::Place;
use weir_event_log::copy::{CopyError, copy};
use weir_event_log::place::{LogFacts, LogPlace, Opening};
use weir_event_log::redis::move_aside as move_aside_in_redis;
use weir_event_log::sqlite::SqliteLog;
use weir_event_log::{Create, LogError, Position};
use weir_ledger::query::LedgerReader;

/// The directory into which [`restore`] moves the previous files of the data directory.
const REPLACED: &str = "replaced";

/// The content of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Contents {
    /// The position of the log's last record.
    pub log_position: Position,
    /// The position of the last record that the ledger has counted.
    pub position: Position,
}

/// Why a backup or restore fails.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The operating system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The target already exists.
    #[error("{}: exists already; a backup is written into a directory of its own", .0.display())]
    Exists(PathBuf),
    /// The backup cannot be used.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The list of forgotten users.
    #[error(transparent)]
    Forgotten(#[from] ForgottenError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The event log cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError + '_ {
    |source| BackupError::Io { path: path.to_owned(), source }
}

fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> BackupError + '_ {
    |source| BackupError::Sqlite { path: path.to_owned(), source }
}

/// Copies the data directory `home`, in use or not, into the new directory `into`.
pub fn backup(home: &DataDir, into: &Path) -> Result<Contents, BackupError> {
    if into.exists() {
        return Err(BackupError::Exists(into.to_owned()));
    }
    let mut partial = into.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(io(&partial))?;
    }
    std::fs::create_dir_all(&partial).map_err(io(&partial))?;
    let copy = DataDir::at(&partial);
    let elsewhere = match home.ledger() {
        Place::Sqlite(path) => copy_file(path, &copy.ledger_file()).map(|()| None)?,
        place => Some(counted(place)?),
    };
    if home.tenants_file().exists() {
        copy_file(&home.tenants_file(), &copy.tenants_file())?;
    }
    match home.log_place() {
        LogPlace::Sqlite(_) => copy_file(&home.log(), &copy.log())?,
        place => fetch_log(place, &copy.log())?,
    }
    sync(&copy)?;
    Forgotten::read(&home.forgotten())?.write(&copy.forgotten())?;
    let contents = check(&copy, elsewhere)?;
    std::fs::rename(&partial, into).map_err(io(into))?;
    sync_dir(into.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    Ok(contents)
}

/// Copies a database while others use it.
fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let db = read_only(from)?;
    private(to).map_err(io(to))?;
    db.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(sqlite(from))?;
    Ok(())
}

/// Copies a log that is elsewhere into a file, up to where it ends now.
fn fetch_log(place: &LogPlace, to: &Path) -> Result<(), BackupError> {
    let found = place.facts()?.ok_or_else(|| no_log(place))?;
    private(to).map_err(io(to))?;
    let mut log = SqliteLog::create_as(to, &found.id, found.first)?;
    copy(place.reader()?.as_mut(), &mut log, found.last)?;
    Ok(())
}

fn no_log(place: &LogPlace) -> BackupError {
    BackupError::Unusable { path: place.label().into(), problem: "there is no event log".to_owned() }
}

/// What a backup finds where its log belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// No log.
    Nothing,
    /// Its own log, which goes on where the ledger stands: newer than the backup.
    Newer,
    /// Another log, or one that cannot go on.
    Another,
}

/// Looks what is at `place`, which is elsewhere. Changes nothing.
fn look(place: &LogPlace, backup: &DataDir, contents: Contents) -> Result<Found, BackupError> {
    let Some(found) = place.facts()? else { return Ok(Found::Nothing) };
    let from = LogPlace::Sqlite(backup.log());
    let LogFacts { id, .. } = from.facts()?.ok_or_else(|| no_log(&from))?;
    let goes_on = found.first <= contents.position + 1 && contents.position <= found.last;
    Ok(if found.id == id && goes_on { Found::Newer } else { Found::Another })
}

/// Checks that the log of a backup finds its place, or can make room there.
fn check_room(place: &LogPlace, backup: &DataDir, contents: Contents, replace: bool) -> Result<(), BackupError> {
    match place {
        LogPlace::Sqlite(_) => Ok(()),
        _ if look(place, backup, contents)? != Found::Another => Ok(()),
        _ if !replace => Err(BackupError::Exists(place.label().into())),
        LogPlace::Redis(_) => Ok(()),
        LogPlace::Kafka(_) => Err(BackupError::Unusable {
            path: place.label().into(),
            problem: "another log is in this topic, and a topic cannot be moved aside: name a new one in `log`"
                .to_owned(),
        }),
    }
}

/// Puts the log of the backup into `place`, which is elsewhere and has room.
fn put_log(home: &DataDir, place: &LogPlace, backup: &DataDir, contents: Contents) -> Result<(), BackupError> {
    match (look(place, backup, contents)?, place) {
        (Found::Newer, _) => return Ok(()),
        (Found::Another, LogPlace::Redis(place)) => move_aside_in_redis(place)?,
        _ => {}
    }
    let from = LogPlace::Sqlite(backup.log());
    let LogFacts { id, first, last } = from.facts()?.ok_or_else(|| no_log(&from))?;
    let taking = home.taking(Create::As(id, first))?;
    let mut to = place.open(Opening { taking, ..Opening::embedded(SystemClock::start()) })?;
    copy(from.reader()?.as_mut(), to.log.as_mut(), last)?;
    Ok(())
}

/// Puts the backup `from` into the data directory `home`, which no server may be using. With `replace`, moves existing
/// files aside.
pub fn restore(home: &DataDir, from: &Path, replace: bool) -> Result<(Contents, Lock), BackupError> {
    let backup = DataDir::at(from);
    let elsewhere = ledger_elsewhere(home, &backup)?;
    let contents = check(&backup, elsewhere)?;
    let lock = home.take_lock()?;
    // Who asked to be forgotten after the backup was made is in it.
    let forgotten = Forgotten::read(&home.forgotten())?.merge(Forgotten::read(&backup.forgotten())?);
    check_room(home.log_place(), &backup, contents, replace)?;
    if home.has_files() || home.tenants_file().exists() {
        if !replace {
            return Err(BackupError::Exists(home.dir().to_owned()));
        }
        move_aside(home)?;
    }
    match home.log_place() {
        LogPlace::Sqlite(_) => put_file(&backup.log(), &home.log())?,
        place => put_log(home, place, &backup, contents)?,
    }
    if let Place::Sqlite(path) = home.ledger() {
        put_file(&backup.ledger_file(), path)?;
    }
    // A backup of a version before has no tenants; those here were moved aside.
    if backup.tenants_file().exists() {
        put_file(&backup.tenants_file(), &home.tenants_file())?;
    }
    forgotten.write(&home.forgotten())?;
    home.forget_loss().map_err(|source| BackupError::Io { path: home.dir().to_owned(), source })?;
    sync_dir(home.dir())?;
    Ok((contents, lock))
}

/// Which log the ledger counts that is in a PostgreSQL already; None where the backup has it.
fn ledger_elsewhere(home: &DataDir, backup: &DataDir) -> Result<Option<Counted>, BackupError> {
    let in_backup = backup.ledger_file().exists();
    let problem = match home.ledger() {
        Place::Sqlite(_) if in_backup => return Ok(None),
        Place::Sqlite(_) => {
            "the ledger of this backup is a dump of PostgreSQL: set `ledger`, and restore the dump there first"
        }
        place if !in_backup => return counted(place).map(Some),
        _ => "this backup has a ledger of its own, and `ledger` names a PostgreSQL: restore it without `ledger`",
    };
    Err(BackupError::Unusable { path: backup.dir().to_owned(), problem: problem.to_owned() })
}

/// The name of the log that a ledger counts, and how far it is.
type Counted = (String, Position);

/// What the ledger in a PostgreSQL counts.
fn counted(place: &Place) -> Result<Counted, BackupError> {
    let ledger = LedgerReader::open(place).map_err(StoreError::from)?;
    let log = ledger.log_id().map_err(StoreError::from)?.ok_or_else(|| BackupError::Unusable {
        path: place.label().into(),
        problem: "there is no ledger: restore its dump first (`pg_restore`)".to_owned(),
    })?;
    Ok((log, ledger.position().map_err(StoreError::from)?))
}

fn put_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    std::fs::copy(from, to).map_err(io(to))?;
    private(to).map_err(io(to))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(io(to))
}

/// Syncs the files of a new backup.
fn sync(copy: &DataDir) -> Result<(), BackupError> {
    for path in [copy.ledger_file(), copy.log(), copy.tenants_file()].into_iter().filter(|path| path.exists()) {
        File::open(&path).and_then(|file| file.sync_all()).map_err(io(&path))?;
    }
    Ok(())
}

fn move_aside(home: &DataDir) -> Result<(), BackupError> {
    let aside = home.dir().join(REPLACED);
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(io(&aside))?;
    }
    std::fs::create_dir(&aside).map_err(io(&aside))?;
    for file in [home.log(), home.ledger_file(), home.tenants_file()] {
        for part in ["", "-wal", "-shm"] {
            let mut name = file.as_os_str().to_owned();
            name.push(part);
            let path = PathBuf::from(name);
            if let (true, Some(name)) = (path.exists(), path.file_name()) {
                std::fs::rename(&path, aside.join(name)).map_err(io(&path))?;
            }
        }
    }
    sync_dir(&aside)
}

/// Checks that the files are intact and belong together; `elsewhere` tells of a ledger that is in none.
fn check(home: &DataDir, elsewhere: Option<Counted>) -> Result<Contents, BackupError> {
    let unusable = |path: PathBuf, problem: &str| Err(BackupError::Unusable { path, problem: problem.to_owned() });
    let log = intact(&home.log())?;
    if home.tenants_file().exists() {
        intact(&home.tenants_file())?;
    }
    let (follows, position) = match elsewhere {
        Some(counted) => counted,
        None => {
            let path = home.ledger_file();
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
            intact(&path)?.query_row("SELECT log_id, position FROM ledger", [], read).map_err(sqlite(&path))?
        }
    };
    let log_id: String = log.query_row("SELECT id FROM log", [], |row| row.get(0)).map_err(sqlite(&home.log()))?;
    let ends = "SELECT coalesce(min(position), 1), coalesce(max(position), 0) FROM record";
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()));
    let (first, last) = log.query_row(ends, [], read).map_err(sqlite(&home.log()))?;
    if follows != log_id {
        return unusable(home.dir().to_owned(), "log and ledger do not belong together");
    }
    if position > last || position + 1 < first {
        return unusable(home.dir().to_owned(), "the log does not go on where the ledger stands");
    }
    Ok(Contents { log_position: last, position })
}

/// Opens a file of a backup, if it is intact.
fn intact(path: &Path) -> Result<Connection, BackupError> {
    let db = read_only(path)?;
    let found: String = db.query_row("PRAGMA quick_check", [], |row| row.get(0)).map_err(sqlite(path))?;
    if found == "ok" {
        return Ok(db);
    }
    Err(BackupError::Unusable { path: path.to_owned(), problem: format!("damaged: {found}") })
}

fn read_only(path: &Path) -> Result<Connection, BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(sqlite(path))
}

fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir))
}
