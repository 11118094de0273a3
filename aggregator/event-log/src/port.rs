//! The port: the operations of every log, and the capabilities that some logs add.
use weir_contract::Timestamp;

use super::{AppendError, LogError, NewRecord, Position, Record, Unsupported};
use crate::redact::{Redacted, Users};

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The last record; 0 in an empty log.
    pub position: Position,
    /// `forgotten_before` of the last record; 0 in an empty log.
    pub forgotten_before: u64,
}

/// The place of an appended record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its own position.
    pub position: Position,
    /// The record right before it. None if the log has other writers and does not know yet; then read the record from the
    /// log.
    pub follows: Option<Position>,
}

/// The writing end of a log. A process has one, owned by one thread.
pub trait EventLog: Send {
    /// The end of the log, as far as this writer knows.
    fn end(&self) -> End;

    /// Appends `records` in order, syncs, and returns the place of each. Once it returns, they survive a crash of the machine.
    ///
    /// # Errors
    /// [`AppendError::Full`] and [`AppendError::Locked`] leave the log unchanged; the caller may try again. A log behind a network may
    /// still get records whose answer did not come in time: the next append goes on behind them, and whoever repeats them is known by
    /// the ids of their events. After
    /// [`AppendError::Broken`] the contents of the disk are unknown: open the log again before the next write.
    fn append(&mut self, records: &[NewRecord]) -> Result<Vec<Placement>, AppendError>;

    /// Drops old records, in logs that do not drop them by themselves.
    fn retention(&mut self) -> Result<&mut dyn Retention, Unsupported> {
        Err(Unsupported { what: "drop single records", instead: "set how long it keeps them where it runs" })
    }

    /// Changes records, in logs whose records can change.
    fn redaction(&mut self) -> Result<&mut dyn Redaction, Unsupported> {
        Err(Unsupported { what: "take a user out of its records", instead: "they go when it drops the records" })
    }

    /// Moves appended records to their final place, in logs that do not move them by themselves.
    fn checkpoint(&mut self) -> Result<&mut dyn Checkpoint, Unsupported> {
        Err(Unsupported { what: "be checkpointed", instead: "it puts its records in order by itself" })
    }
}

/// The most records that one call of [`Retention::prune`] drops. Bounds the time that appends wait for it.
pub(crate) const PRUNE_STEP: u32 = 200;

/// A log whose old records can be dropped.
pub trait Retention {
    /// Drops up to [`PRUNE_STEP`] of the oldest records, up to position `through`, that were received before `before`. Keeps
    /// the last record, so that positions are not reused. Returns the number of dropped records; 0 if none is left to drop.
    fn prune(&mut self, through: Position, before: Timestamp) -> Result<usize, AppendError>;
}

/// A log whose records can be redacted.
pub trait Redaction {
    /// Removes the names of `users` from some records after `after`, none after `until`; see [`crate::redact`].
    fn redact(&mut self, after: Position, until: Position, users: &Users) -> Result<Redacted, AppendError>;
}

/// A log with a write-ahead part.
pub trait Checkpoint {
    /// Moves the write-ahead part to its final place once it is large enough. Correctness does not depend on when this
    /// happens, but a failed sync is as fatal as in [`EventLog::append`].
    fn checkpoint(&mut self) -> Result<(), AppendError>;
}

/// A reading end of a log. There may be many.
pub trait LogReader: Send {
    /// Returns the records after `after` in order, until their uncompressed bodies exceed `max_bytes`; at least one record if
    /// there is any. A record is missing wherever [`Record::follows`] is not the position of the record before.
    fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError>;

    /// Returns one record; none if it never existed or is pruned.
    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError>;

    /// The last record that was received before `moment`; 0 if there is none. Receipt follows the positions, but for clocks that
    /// were set back.
    fn before(&mut self, moment: Timestamp) -> Result<Position, LogError>;
}
