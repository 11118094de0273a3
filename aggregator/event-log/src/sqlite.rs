//! The embedded event log: a separate SQLite database with one row per accepted body.
//!
//! It is separate from the ledger so that a commit syncs the log only, and so that the ledger may lag, be locked or be rebuilt
//! meanwhile. SQLite brings recovery from torn writes, backup, and tools that read the file. `cargo bench -p weir log` measures
//! the cost, in events per second, on a plain virtual disk that also does other work:
//!
//! | one sync per | SQLite, compressed | segment file, compressed | segment file, plain |
//! |---|---|---|---|
//! | body of 100 | 11,700 | 14,700 | 20,300 |
//! | 16 bodies of 100 | 222,000 | 215,000 | 75,000 |
//! | 8 bodies of 1,000 | 578,000 | 731,000 | 109,000 |
//!
//! Compression matters most and the file format hardly at all: SQLite writes each byte twice, but of few bytes.
use std::path::{Path, PathBuf};
use weir_fault::{self as fault, Point};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};
use weir_contract::Timestamp;

use super::record::{checksum, unpack};
use super::redact::{self, Redacted, Users};
use super::{
    AppendError, Checkpoint, End, EventLog, Format, LogError, LogReader, NewRecord, PRUNE_STEP, Placement, Position,
    Record, Redaction, Retention, Unsupported,
};

/// `user_version` of the file: the number of applied [`MIGRATIONS`].
const VERSION: i64 = MIGRATIONS.len() as i64;
/// The steps from an empty file to the latest version. A released migration never changes; new ones follow it.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/1_log.sql"),
    include_str!("migrations/2_forgotten_before.sql"),
    // `format` gains values. The version number keeps an earlier weir from opening a file whose values it does not know.
    "",
];
/// Bytes of bodies after which the write-ahead log moves into the database. Bounds the time that batches wait for it. weir
/// starts this itself, because SQLite's automatic checkpoint hides a failed sync.
const CHECKPOINT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a page.
const PAGE_BYTES: u64 = 16_384;
/// Sizes with production defaults, which the simulator sets small.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes of bodies after which the write-ahead log moves into the database.
    pub checkpoint_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { checkpoint_bytes: CHECKPOINT_BYTES }
    }
}

/// The writing end.
#[derive(Debug)]
pub struct SqliteLog {
    db: Connection,
    end: End,
    /// Bytes of bodies in the write-ahead log.
    uncheckpointed_bytes: usize,
    options: LogOptions,
}

/// A reading end.
#[derive(Debug)]
pub struct SqliteLogReader {
    db: Connection,
    path: PathBuf,
}

impl SqliteLog {
    /// Opens the log at `path`, or creates it.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Self::open_with(path, LogOptions::default())
    }

    /// Opens the log at `path`, or creates it, with sizes that differ from the defaults.
    pub fn open_with(path: &Path, options: LogOptions) -> Result<Self, LogError> {
        let sqlite = |source| LogError::Sqlite { path: path.to_owned(), source };
        let db = Connection::open(path).map_err(sqlite)?;
        prepare(&db).map_err(sqlite)?;
        let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
        if found > VERSION {
            return Err(LogError::Version { path: path.to_owned(), found, known: VERSION });
        }
        migrate(&db, found).map_err(sqlite)?;
        // Pages that an earlier process failed to sync may exist in memory only, so this writes and syncs everything again.
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(sqlite)?;
        let newest = "SELECT position, forgotten_before FROM record ORDER BY position DESC LIMIT 1";
        let end = |row: &Row<'_>| Ok(End { position: row.get(0)?, forgotten_before: row.get(1)? });
        let end = db.query_row(newest, [], end).optional().map_err(sqlite)?.unwrap_or_default();
        Ok(SqliteLog { db, end, uncheckpointed_bytes: 0, options })
    }

    /// Limits the file to `bytes`. An append beyond that is [`AppendError::Full`].
    pub fn bound(&self, bytes: u64) -> Result<(), LogError> {
        let pages = (bytes / PAGE_BYTES).max(1);
        let bounded = self.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
        bounded.map_err(|source| LogError::Sqlite { path: self.db.path().unwrap_or_default().into(), source })
    }

    /// Makes a log at `path` as the copy of another one: under that one's name, with `first` as its first position.
    pub fn create_as(path: &Path, id: &str, first: Position) -> Result<Self, LogError> {
        let mut log = Self::open(path)?;
        let named = log.db.execute("UPDATE log SET id = ?1", [id]);
        named.map_err(|source| LogError::Sqlite { path: path.to_owned(), source })?;
        log.end.position = first.saturating_sub(1);
        Ok(log)
    }

    /// The log's name: 32 random hex digits, drawn when the log was created. A ledger belongs to one log.
    pub fn id(&self) -> Result<String, rusqlite::Error> {
        self.db.query_row("SELECT id FROM log", [], |row| row.get(0))
    }

    fn insert(&mut self, records: &[NewRecord]) -> Result<Vec<Placement>, rusqlite::Error> {
        let tx = self.db.transaction()?;
        let (mut position, mut placements) = (self.end.position, Vec::with_capacity(records.len()));
        {
            let mut insert = tx.prepare_cached(
                "INSERT INTO record(position, received_at, format, gateway, checksum, body, forgotten_before)
                 VALUES (?1,?2,?3,?4,?5,?6,?7)",
            )?;
            for record in records {
                placements.push(Placement { position: position + 1, follows: Some(position) });
                position += 1;
                insert.execute(params![
                    position,
                    record.received_at.as_millis(),
                    record.format.code(),
                    record.gateway.as_deref(),
                    checksum(&record.packed),
                    record.packed,
                    record.forgotten_before,
                ])?;
            }
        }
        tx.commit()?;
        Ok(placements)
    }
}

impl EventLog for SqliteLog {
    fn end(&self) -> End {
        self.end
    }

    fn append(&mut self, records: &[NewRecord]) -> Result<Vec<Placement>, AppendError> {
        let placements = self.insert(records).map_err(failed)?;
        if let (Some(placement), Some(record)) = (placements.last(), records.last()) {
            assert!(placement.position > self.end.position, "positions increase");
            self.end = End { position: placement.position, forgotten_before: record.forgotten_before };
        }
        self.uncheckpointed_bytes += records.iter().map(NewRecord::packed_bytes).sum::<usize>();
        Ok(placements)
    }

    fn retention(&mut self) -> Result<&mut dyn Retention, Unsupported> {
        Ok(self)
    }

    fn redaction(&mut self) -> Result<&mut dyn Redaction, Unsupported> {
        Ok(self)
    }

    fn checkpoint(&mut self) -> Result<&mut dyn Checkpoint, Unsupported> {
        Ok(self)
    }
}

impl Redaction for SqliteLog {
    fn redact(&mut self, after: Position, until: Position, users: &Users) -> Result<Redacted, AppendError> {
        redact::step(&mut self.db, after, until, users).map_err(failed)
    }
}

impl Checkpoint for SqliteLog {
    fn checkpoint(&mut self) -> Result<(), AppendError> {
        if self.uncheckpointed_bytes < self.options.checkpoint_bytes {
            return Ok(());
        }
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(failed)?;
        self.uncheckpointed_bytes = 0;
        Ok(())
    }
}

impl Retention for SqliteLog {
    fn prune(&mut self, through: Position, before: Timestamp) -> Result<usize, AppendError> {
        let through = through.min(self.end.position.saturating_sub(1));
        // After a clock jump a later record may have an earlier time of receipt. The first record that must stay also keeps
        // all records behind it.
        let kept: Option<Position> = self
            .db
            .query_row(
                "SELECT position FROM record WHERE received_at >= ?1 ORDER BY position LIMIT 1",
                [before.as_millis()],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed)?;
        let through = kept.map_or(through, |kept| through.min(kept - 1));
        let sql = "DELETE FROM record WHERE position IN
                     (SELECT position FROM record WHERE position <= ?1 ORDER BY position LIMIT ?2)";
        self.db.execute(sql, params![through, PRUNE_STEP]).map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> AppendError {
    match error.sqlite_error_code() {
        // SQLite ran out of space while writing and rolled back, without a sync.
        Some(ErrorCode::DiskFull) => AppendError::Full(error.to_string()),
        // SQLite failed before it wrote.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::ReadOnly) => {
            AppendError::Locked(error.to_string())
        }
        _ => AppendError::Broken(error.to_string()),
    }
}

impl SqliteLogReader {
    /// Opens the log at `path` for reading.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let db = Connection::open_with_flags(path, flags)
            .map_err(|source| LogError::Sqlite { path: path.to_owned(), source })?;
        Ok(SqliteLogReader { db, path: path.to_owned() })
    }

    /// The log's name, and its first and last position; the last one is before the first one in an empty log. None for a file in which
    /// no log was made yet.
    pub fn facts(&self) -> Result<Option<(String, Position, Position)>, LogError> {
        self.find_facts().map_err(|source| self.sqlite(source))
    }

    fn find_facts(&self) -> Result<Option<(String, Position, Position)>, rusqlite::Error> {
        let version: i64 = self.db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            return Ok(None);
        }
        self.db.query_row(&format!("SELECT id, {ENDS} FROM log"), [], |row| {
            Ok(Some((row.get(0)?, row.get(1)?, row.get(2)?)))
        })
    }

    fn sqlite(&self, source: rusqlite::Error) -> LogError {
        LogError::Sqlite { path: self.path.clone(), source }
    }

    fn damaged(&self, position: Position, what: impl Into<std::borrow::Cow<'static, str>>) -> LogError {
        LogError::Damaged { log: self.path.display().to_string(), position, what: what.into() }
    }

    fn unpack(&self, stored: Stored) -> Result<Record, LogError> {
        let position = stored.position;
        if checksum(&stored.packed) != stored.checksum {
            return Err(self.damaged(position, "its checksum does not match"));
        }
        let format = Format::from_code(stored.format).ok_or_else(|| self.damaged(position, "its format is unknown"))?;
        let body = unpack(&stored.packed).map_err(|what| self.damaged(position, what))?;
        let Stored { received_at, gateway, forgotten_before, .. } = stored;
        // This log numbers its records without gaps.
        let follows = position - 1;
        Ok(Record { position, follows, received_at, format, gateway, forgotten_before, body })
    }
}

/// The first and the last position. Each by itself: asked for both at once, SQLite goes through all records.
const ENDS: &str = "coalesce((SELECT min(position) FROM record), 1), coalesce((SELECT max(position) FROM record), 0)";

impl SqliteLogReader {
    fn find_before(&self, moment: Timestamp) -> Result<Position, rusqlite::Error> {
        let ends = format!("SELECT {ENDS}");
        let (mut low, mut high): (i64, i64) = self.db.query_row(&ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut received = self.db.prepare_cached("SELECT received_at FROM record WHERE position = ?1")?;
        let mut last = low - 1;
        while low <= high {
            let middle = low + (high - low) / 2;
            let at: u64 = received.query_row([middle], |row| row.get(0))?;
            if at < moment.as_millis() {
                (last, low) = (middle, middle + 1);
            } else {
                high = middle - 1;
            }
        }
        Ok(last.unsigned_abs())
    }
}

impl LogReader for SqliteLogReader {
    fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let mut select = self
            .db
            .prepare_cached(
                "SELECT position, received_at, format, gateway, checksum, body, forgotten_before FROM record
                 WHERE position > ?1 ORDER BY position",
            )
            .map_err(|e| self.sqlite(e))?;
        let mut rows = select.query([after]).map_err(|e| self.sqlite(e))?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes
            && let Some(row) = rows.next().map_err(|e| self.sqlite(e))?
        {
            let record = self.unpack(Stored::read(row).map_err(|e| self.sqlite(e))?)?;
            bytes += record.body.len();
            records.push(record);
        }
        Ok(records)
    }

    fn before(&mut self, moment: Timestamp) -> Result<Position, LogError> {
        self.find_before(moment).map_err(|source| self.sqlite(source))
    }

    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError> {
        let sql = "SELECT position, received_at, format, gateway, checksum, body, forgotten_before FROM record WHERE position = ?1";
        let stored = self.db.query_row(sql, [position], Stored::read).optional();
        stored.map_err(|e| self.sqlite(e))?.map(|stored| self.unpack(stored)).transpose()
    }
}

/// A row of `record`, still compressed.
struct Stored {
    position: Position,
    received_at: Timestamp,
    format: i64,
    gateway: Option<Box<str>>,
    checksum: i64,
    packed: Vec<u8>,
    forgotten_before: u64,
}

impl Stored {
    fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Stored {
            position: row.get(0)?,
            received_at: Timestamp::from_millis(row.get::<_, u64>(1)?),
            format: row.get(2)?,
            gateway: row.get(3)?,
            checksum: row.get(4)?,
            packed: row.get(5)?,
            forgotten_before: row.get::<_, u64>(6)?,
        })
    }
}

fn prepare(db: &Connection) -> Result<(), rusqlite::Error> {
    // Compressed bodies have tens of kilobytes, and larger pages mean fewer overflow pages. SQLite accepts the size only before
    // the first table exists.
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    // FULL syncs the write-ahead log at every commit. Acknowledgements rely on it.
    db.pragma_update(None, "synchronous", "full")?;
    if fault::hit(Point::AckBeforeSync) {
        db.pragma_update(None, "synchronous", "normal")?;
    }
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)
}

/// Migrates a file from version `found` to the latest in one transaction. 0 is a new file.
fn migrate(db: &Connection, found: i64) -> Result<(), rusqlite::Error> {
    let tx = db.unchecked_transaction()?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Admission;
    use crate::conformance::{Bench, conformance};

    impl Bench for tempfile::TempDir {
        type Log = SqliteLog;
        type Reader = SqliteLogReader;

        fn fresh() -> Self {
            tempfile::tempdir().expect("a directory")
        }

        fn open(&self) -> (SqliteLog, SqliteLogReader) {
            let path = self.path().join("log.sqlite");
            let log = SqliteLog::open_with(&path, LogOptions { checkpoint_bytes: 1 }).expect("a log");
            (log, SqliteLogReader::open(&path).expect("a reader"))
        }
    }

    conformance!(tempfile::TempDir);

    fn record(second: u64, body: &[u8]) -> NewRecord {
        let admission =
            Admission { received_at: Timestamp::from_secs(second), gateway: None, forgotten_before: second };
        NewRecord::new(admission, Format::Batch, body)
    }

    fn open(dir: &tempfile::TempDir) -> (SqliteLog, SqliteLogReader) {
        let path = dir.path().join("log.sqlite");
        let log = SqliteLog::open(&path).expect("a log");
        (log, SqliteLogReader::open(&path).expect("a reader"))
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, mut reader) = open(&dir);
        log.append(&[record(1, b"[1]"), record(2, b"[2]")]).expect("appended");
        log.db.execute("UPDATE record SET body = x'0300000030' WHERE position = 2", []).expect("damaged");
        let error = reader.read_after(0, usize::MAX).expect_err("damaged").to_string();
        assert!(error.contains("record 2 is damaged"), "{error}");
    }

    #[test]
    fn a_log_of_version_1_is_taken_over_with_all_it_has() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log.sqlite");
        let packed = lz4_flex::compress_prepend_size(b"[1]");
        let db = Connection::open(&path).expect("a file");
        db.execute_batch(
            "CREATE TABLE log(id TEXT NOT NULL);
             INSERT INTO log(id) VALUES ('a log');
             CREATE TABLE record(position INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, format INTEGER NOT NULL,
                                 gateway TEXT, checksum INTEGER NOT NULL, body BLOB NOT NULL);
             PRAGMA user_version = 1",
        )
        .expect("version 1");
        db.execute("INSERT INTO record VALUES (7, 1000, 1, 'gw-1', ?1, ?2)", params![checksum(&packed), packed])
            .expect("a record");
        drop(db);
        let (mut log, mut reader) = open(&dir);
        assert_eq!((log.id(), log.end()), (Ok("a log".to_owned()), End { position: 7, forgotten_before: 0 }));
        let placed = log.append(&[record(2, b"[2]")]);
        assert_eq!(placed, Ok(vec![Placement { position: 8, follows: Some(7) }]));
        let records = reader.read_after(0, usize::MAX).expect("read");
        let found: Vec<_> = records.iter().map(|r| (r.position, r.body.as_slice(), r.gateway.as_deref())).collect();
        assert_eq!(found, [(7, b"[1]".as_slice(), Some("gw-1")), (8, b"[2]", None)]);
    }

    #[test]
    fn a_bounded_log_refuses_what_finds_no_room_and_takes_it_once_there_is_some() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut log, _) = open(&dir);
        log.bound(64 * PAGE_BYTES).expect("bounded");
        // Noise does not compress.
        let mut rng = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = (0..40_000).map(|_| rng.u8(..)).collect();
        let mut last = 0;
        let refused = loop {
            match log.append(&[record(1, &noise)]) {
                Ok(placed) => last = placed[0].position,
                Err(error) => break error,
            }
            assert!(last < 100, "it is never full");
        };
        assert!(matches!(refused, AppendError::Full(_)), "{refused}");
        assert_eq!(log.prune(last, Timestamp::from_secs(2)), Ok(last as usize - 1));
        let placed = log.append(&[record(1, &noise)]);
        let next = Placement { position: last + 1, follows: Some(last) };
        assert_eq!(placed, Ok(vec![next]), "nothing of what was refused is there");
    }

    #[test]
    fn a_log_of_a_later_version_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, _) = open(&dir);
        log.db.pragma_update(None, "user_version", VERSION + 1).expect("set");
        drop(log);
        let error = SqliteLog::open(&dir.path().join("log.sqlite")).expect_err("refused");
        assert!(matches!(error, LogError::Version { .. }));
    }
}
