//! The ledger: every acknowledged event counted once.
//!
//! It follows the event log. One call of [`Ledger::apply`] takes the next records and, in one transaction, remembers the ids
//! it has counted, adds to the sums, keeps the books of each source, and moves its position on: so a crash at any moment
//! leaves a ledger that has counted exactly the records up to its position.
pub mod analysis;
mod apply;
mod quarantine;
pub mod query;
pub mod ranges;
pub mod rebuild;
mod schema;
mod seen;
mod sources;
mod sums;
pub mod thread;

use std::hash::Hasher;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use siphasher::sip::SipHasher13;

use crate::billing::Account;
use crate::log::{Position, Record};
use crate::meters::Meters;
use sources::Sources;

/// Counts events.
pub trait Ledger {
    /// The last record that is counted.
    fn position(&self) -> Position;

    /// Counts `records`, which follow [`Ledger::position`] without a gap, wholly or not at all.
    fn apply(&mut self, records: &[Record]) -> Result<Applied, LedgerError>;
}

/// What became of the events of some records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Counted now.
    pub counted: u64,
    /// Counted before: repeats.
    pub duplicates: u64,
    /// Same id or number as another event, with other bytes.
    pub conflicts: u64,
    /// Refused for good, and kept.
    pub quarantined: u64,
    /// Ahead of the clock: waiting until their time has come.
    pub held: u64,
}

/// Why the ledger cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite, or the disk under it, refused.
    #[error("ledger: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// It was written by a later version.
    #[error("ledger {}: written by a later version (format {found}, this one knows {known})", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It follows another log than the one beside it.
    #[error("the ledger does not belong to this event log: restore both from the same backup")]
    ForeignLog,
    /// The log ends before the ledger's position.
    #[error(
        "the event log ends at record {log}, the ledger has counted up to {ledger}: the log is older than the ledger; \
             restore both from the same backup"
    )]
    LogBehind {
        /// The log's last position.
        log: Position,
        /// The ledger's.
        ledger: Position,
    },
    /// A meter says something else about hours that are counted already.
    #[error(
        "meter {0:?} was changed or removed, but hours are counted under its old form: leave it as it was and add a \
             version with the same name and an effective_from in the future"
    )]
    MeterChanged(String),
    /// A new meter would only count the rest of an hour.
    #[error("meter {0:?} is new, but hours are counted already: give it an effective_from in the future")]
    MeterNew(String),
    /// Rows were made for another account or mode.
    #[error(
        "the ledger reports to {pinned}, the configured key is of {configured}: use the key of the former, or another              `data` directory"
    )]
    OtherAccount {
        /// The account of the first report.
        pinned: Account,
        /// The account of the key.
        configured: Account,
    },
    /// Records with a gap before them: a fault in weir.
    #[error("record {found} was given to a ledger that stands at {position}")]
    Gap {
        /// The ledger's position.
        position: Position,
        /// The first record's.
        found: Position,
    },
    /// What is stored contradicts itself.
    #[error("the ledger contradicts itself: {0}; rebuild it from the event log")]
    Inconsistent(String),
    /// The ledger's thread is gone.
    #[error("the ledger is closed")]
    Closed,
}

/// The embedded ledger: one SQLite database, one writing connection.
#[derive(Debug)]
pub struct SqliteLedger {
    db: Connection,
    meters: Meters,
    sources: Sources,
    hasher: SipHasher13,
    position: Position,
    id: String,
}

impl SqliteLedger {
    /// Opens the ledger at `path`, or starts one, that follows the log named `log_id`.
    pub fn open(path: &Path, log_id: &str, meters: Meters) -> Result<Self, LedgerError> {
        let db = Connection::open(path)?;
        schema::open(&db, path, log_id)?;
        schema::admit_meters(&db, &meters)?;
        let (position, id, key) = db.query_row("SELECT position, id, hash_key FROM ledger", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, [u8; 16]>(2)?))
        })?;
        Ok(SqliteLedger {
            db,
            meters,
            sources: Sources::default(),
            hasher: SipHasher13::new_with_key(&key),
            position: position.unsigned_abs(),
            id,
        })
    }

    /// The ledger's name: 32 hex digits, drawn when it was started. Part of every Stripe identifier.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The meters it counts for.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The database, for the outbox: its tables live in the same file, so that a row and the sum it was made from are one
    /// transaction.
    pub(crate) fn db(&mut self) -> &mut Connection {
        &mut self.db
    }

    /// Checks that `last`, the log's end, is not before what is counted.
    pub fn check_log(&self, last: Position) -> Result<(), LedgerError> {
        if last < self.position {
            return Err(LedgerError::LogBehind { log: last, ledger: self.position });
        }
        Ok(())
    }
}

impl Ledger for SqliteLedger {
    fn position(&self) -> Position {
        self.position
    }

    fn apply(&mut self, records: &[Record]) -> Result<Applied, LedgerError> {
        let outcome = apply::run(self, records);
        if outcome.is_err() {
            // The transaction is gone; what memory took from it must go as well.
            self.sources.forget();
        }
        outcome
    }
}

/// An event's bytes as 64 bits under the ledger's secret key, so that nobody can make other bytes look the same.
fn hash(hasher: &SipHasher13, raw: &[u8]) -> i64 {
    let mut hasher = *hasher;
    hasher.write(raw);
    i64::from_ne_bytes(hasher.finish().to_ne_bytes())
}

/// SQLite's integers are signed; what is stored here stays far below their end.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
