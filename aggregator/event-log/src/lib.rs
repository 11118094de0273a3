//! The event log: what was acknowledged, in the order in which it was.
//!
//! Everything else follows from it: the ledger can be thrown away and rebuilt. One record is one accepted body, as it came; a
//! batch is acknowledged when its record is synced. [`EventLog`] and [`LogReader`] are the port, [`sqlite`] is the embedded log
//! behind it, [`writer`] brings many connections to the one writing end.
//!
//! # Constraints
//!
//! - An acknowledged record survives the machine: [`EventLog::append`] returns after the sync, and nothing is acknowledged
//!   before.
//! - Positions increase and never come again. There may be gaps between them: the log vouches for contiguity by naming, with
//!   each record, the one that it follows. Whoever counts refuses a record that does not follow the last one counted.
//! - A record is never changed, with one exception: a user's name is overwritten by as many zeros ([`redact`]), where the log can
//!   do that.
//! - One process appends to an embedded log; the lock on the data directory sees to that.
//! - A log knows nothing of verdicts. What was parsed of a body may travel beside its record through the [`writer`], never in it.
//!
//! # Layout
//!
//! `log.sqlite`, a database of its own in WAL mode with pages of 16 KiB (`migrations/`):
//!
//! - `log`: one row, the log's name, drawn when it was started. A ledger belongs to one log.
//! - `record`: a row for each body: `position` (from 1, without a gap), `received_at` (milliseconds), `format` ([`Format`]),
//!   `gateway` (that the token was bound to), `forgotten_before` (ids of days before this one were forgotten), `body` (LZ4
//!   block, its size before it), `checksum` (SipHash-1-3 of the packed body, under a fixed key: against decay).
//! - `PRAGMA user_version` counts the migrations. A file of a later version is left alone.
//!
//! # Recovery
//!
//! - Killed process, lost power: SQLite replays the synced part of its write-ahead log. At opening everything is written and
//!   synced again (`wal_checkpoint(TRUNCATE)`), since what an earlier life failed to sync may be in memory only.
//! - Full disk or bound reached: the group is rolled back and refused ([`AppendError::Full`]); the next one may find room.
//! - Failed write or sync: [`AppendError::Broken`]. The writer stops for good, since a later sync that succeeds proves nothing
//!   about the pages that an earlier one lost. A restart opens the file anew.
//! - Decay: a record whose checksum, size or format does not fit is an error that names it ([`LogError::Damaged`]). It is not
//!   skipped: the remedy is a backup.
#![forbid(unsafe_code)]

#[cfg(test)]
mod conformance;
mod error;
mod port;
mod record;
pub mod redact;
pub mod sqlite;
pub mod writer;

pub use error::{AppendError, LogError, Unsupported};
pub use port::{Checkpoint, End, EventLog, LogReader, PRUNE_STEP, Placement, Redaction, Retention};
pub use record::{Admission, Format, NewRecord, Position, Record};
