//! The event log: every acknowledged body, in the order of acknowledgement.
//!
//! The log is the source of truth: the ledger can be deleted and rebuilt from it. One record holds one accepted body, byte for
//! byte. A body is acknowledged once its record is synced. [`EventLog`] and [`LogReader`] are the port; [`sqlite`] implements
//! it with an embedded database, [`mod@redis`] with a stream of a Redis, [`mod@kafka`] with a topic of a Kafka. [`place`] opens any of
//! them, and [`writer`] collects the bodies of many connections for the single writer. What follows describes the embedded log; the
//! modules describe the other ones.
//!
//! # Constraints
//!
//! - An acknowledged record survives a crash of the machine: [`EventLog::append`] returns after the sync, and nothing is
//!   acknowledged before it returns.
//! - Positions increase and are never reused. They may have gaps, so each record names the record that it follows. The ledger
//!   refuses a record that does not follow the last one that it counted.
//! - Records do not change, with one exception: a log that supports [`redact`] can overwrite a user's name with zeros.
//! - One process appends to an embedded log. The lock on the data directory ensures this.
//! - A log knows nothing of verdicts on events. A parsed body may travel through the [`writer`] next to its record, but is not
//!   part of it.
//!
//! # Layout
//!
//! `log.sqlite`, a database of its own in WAL mode with pages of 16 KiB (`migrations/`):
//!
//! - `log`: one row with the log's name, which is random and drawn once. A ledger belongs to one log.
//! - `record`: one row for each body. `position` counts from 1 without gaps. `received_at` is in milliseconds. `format` is a
//!   [`Format`]. `gateway` is the gateway that the token is bound to. The ledger had forgotten the ids of all days before
//!   `forgotten_before`. `body` is an LZ4 block after its uncompressed size. `checksum` is the SipHash-1-3 of the compressed
//!   body under a fixed key; it detects decay, not forgery.
//! - `PRAGMA user_version` counts the applied migrations. weir does not open a file of a later version.
//!
//! # Recovery
//!
//! - Killed process, lost power: SQLite replays the synced part of its write-ahead log. Opening the log writes and syncs
//!   everything again (`wal_checkpoint(TRUNCATE)`), because pages that an earlier process failed to sync may exist in memory
//!   only.
//! - Full disk, or the configured bound reached: the group is rolled back and refused ([`AppendError::Full`]). The next group
//!   may fit.
//! - Failed write or sync: [`AppendError::Broken`]. The writer stops until weir restarts, because a later successful sync says
//!   nothing about pages that the failed one lost.
//! - Decay: a record with a wrong checksum, size or format is an error that names the record ([`LogError::Damaged`]). Readers
//!   do not skip it; restore the file from a backup.
#![forbid(unsafe_code)]

pub mod brokers;
#[cfg(test)]
mod conformance;
pub mod copy;
mod error;
pub mod kafka;
mod mentions;
mod outside;
pub mod place;
mod port;
mod record;
pub mod redact;
pub mod redis;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod sqlite;
mod taking;
pub mod writer;

pub use error::{AppendError, KafkaProblem, LogError, RedisProblem, Unsupported};
pub(crate) use port::PRUNE_STEP;
pub use port::{Checkpoint, End, EventLog, LogReader, Placement, Redaction, Retention};
pub use record::{Admission, Format, NewRecord, Position, Record};
pub use taking::{Create, Taking};
