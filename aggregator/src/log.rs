//! The event log: what was acknowledged, in the order in which it was.
//!
//! Everything else follows from it: the ledger can be thrown away and rebuilt. One record is one accepted body, as it came;
//! a batch is acknowledged when its record is synced.
pub mod redact;
pub mod sqlite;
pub mod writer;

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::Hasher;
use std::path::PathBuf;

use redact::Redacted;
use siphasher::sip::SipHasher13;
use weir_contract::Timestamp;

use crate::validate::verdicts::ValidatedBatch;
use crate::validate::{Admission, Format};

/// The place of a record in the log, from 1, without a gap. 0 is before the first.
pub type Position = u64;

/// A body on its way into the log.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// When it was received.
    pub received_at: Timestamp,
    /// How it holds its events.
    pub format: Format,
    /// The gateway its token is bound to.
    pub gateway: Option<Box<str>>,
    /// Ids of days before this one are forgotten: days since 1970-01-01.
    pub forgotten_before: u64,
    /// The body, compressed: events repeat their field names, so they shrink to a sixth or less, and the disk is the
    /// slowest part of the whole.
    packed: Vec<u8>,
    /// The body itself with its verdicts, for the ledger; absent where the ledger is to read the log.
    batch: Option<(Vec<u8>, ValidatedBatch)>,
}

/// A synced record on its way from the intake to the ledger, which need not read it from the log then.
#[derive(Clone, Debug)]
pub struct LoggedBatch {
    /// As the log has it.
    pub record: Record,
    /// The verdicts on its events, made of the same bytes under the same circumstances.
    pub validated: ValidatedBatch,
}

impl NewRecord {
    /// Compresses `body`, judged under `admission`, for the log.
    pub fn new(admission: Admission<'_>, format: Format, body: &[u8]) -> Self {
        NewRecord {
            received_at: admission.received_at,
            format,
            gateway: admission.gateway.map(Into::into),
            forgotten_before: admission.forgotten_before,
            packed: packed(body),
            batch: None,
        }
    }

    /// Sends body and verdicts along, for the ledger.
    pub fn with_batch(self, body: Vec<u8>, validated: ValidatedBatch) -> Self {
        NewRecord { batch: Some((body, validated)), ..self }
    }

    /// What the ledger is handed once the record stands at `position`.
    pub(crate) fn into_logged_batch(self, position: Position) -> Option<LoggedBatch> {
        let (body, validated) = self.batch?;
        let NewRecord { received_at, format, gateway, forgotten_before, .. } = self;
        Some(LoggedBatch {
            record: Record { position, received_at, format, gateway, forgotten_before, body },
            validated,
        })
    }

    /// What the record takes in the log, in bytes.
    pub fn packed_bytes(&self) -> usize {
        self.packed.len()
    }
}

/// A body read from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub position: Position,
    /// When it was received.
    pub received_at: Timestamp,
    /// How it holds its events.
    pub format: Format,
    /// The gateway its token was bound to.
    pub gateway: Option<Box<str>>,
    /// Ids of days before this one were forgotten: days since 1970-01-01.
    pub forgotten_before: u64,
    /// The body as it came, uncompressed.
    pub body: Vec<u8>,
}

impl Record {
    /// The circumstances under which its events are judged.
    pub fn admission(&self) -> Admission<'_> {
        let gateway = self.gateway.as_deref();
        Admission { received_at: self.received_at, gateway, forgotten_before: self.forgotten_before }
    }
}

/// The writing end of a log. There is one, and one thread has it.
pub trait EventLog: Send {
    /// What the last record says of forgotten days; 0 when there is none.
    fn forgotten_before(&self) -> u64;

    /// Appends `records` in order and syncs. When this returns, they survive the machine.
    ///
    /// # Errors
    /// [`AppendError::Full`] leaves the log as it was and may be tried again. After [`AppendError::Broken`] nothing is
    /// known about what reached the disk: the log must not be written again before it was opened anew.
    fn append(&mut self, records: &[NewRecord]) -> Result<Position, AppendError>;

    /// Drops some records from the front: at most [`PRUNE_STEP`], none after `through`, none received at or after `before`,
    /// and never the last one, so that positions never start again. Returns how many went; 0 means no more to drop.
    fn prune(&mut self, through: Position, before: Timestamp) -> Result<usize, AppendError>;

    /// Takes a user out of some records after `after`; see [`redact`].
    fn redact(&mut self, after: Position, user: &str) -> Result<Redacted, AppendError>;

    /// Puts what was appended where it finally belongs, when there is enough of it. Nothing rests on when that happens,
    /// but a failed sync in it is as fatal as in [`EventLog::append`].
    fn checkpoint(&mut self) -> Result<(), AppendError>;
}

/// How many records one call of [`EventLog::prune`] drops: appends wait for no longer than that takes.
pub const PRUNE_STEP: u32 = 200;

/// A reading end of a log. There may be many.
pub trait LogReader: Send {
    /// The records after `after`, in order, until they exceed `max_bytes` uncompressed; at least one, if there is one.
    fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError>;

    /// One record; none if it was never there or is pruned.
    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError>;
}

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room. Nothing was written.
    #[error("the disk of the event log is full: {0}")]
    Full(String),
    /// Another program holds the file, or it may not be written. Nothing was written.
    #[error("the event log cannot be written at the moment: {0}")]
    Locked(String),
    /// A write or a sync failed.
    #[error("the event log cannot be written any more: {0}; see that its disk is healthy and start again")]
    Broken(String),
}

/// Why the log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// SQLite, or the disk under it, refused.
    #[error("event log {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A record is not what was written.
    #[error("event log {}: record {position} is damaged ({what}); restore the file from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The record.
        position: Position,
        /// How it shows.
        what: Cow<'static, str>,
    },
    /// It was written by a later version.
    #[error("event log {}: written by a later version (format {found}, this one knows {known})", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// Ours.
        known: i64,
    },
}

/// `body` as an LZ4 block, its size before it.
fn packed(body: &[u8]) -> Vec<u8> {
    thread_local! {
        /// Room for the largest body, kept: fresh memory for each costs as much as packing does.
        static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    ROOM.with_borrow_mut(|room| {
        let most = lz4_flex::block::get_maximum_output_size(body.len());
        if room.len() < most {
            room.resize(most, 0);
        }
        match (lz4_flex::block::compress_into(body, room), u32::try_from(body.len())) {
            (Ok(length), Ok(size)) => [&size.to_le_bytes(), room.get(..length).unwrap_or_default()].concat(),
            // There is always room enough, and no body is so large.
            _ => lz4_flex::compress_prepend_size(body),
        }
    })
}

/// The checksum stored beside a packed body. Against decay, not against forgery: the key is fixed.
fn checksum(packed: &[u8]) -> i64 {
    let mut hasher = SipHasher13::new();
    hasher.write(packed);
    i64::from_ne_bytes(hasher.finish().to_ne_bytes())
}
