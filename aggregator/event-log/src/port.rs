//! The port: what every log does, and the capabilities that some have.
use weir_contract::Timestamp;

use super::{AppendError, LogError, NewRecord, Position, Record, Unsupported};
use crate::redact::Redacted;

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The last record; 0 when there was none yet.
    pub position: Position,
    /// What the last record says of forgotten days; 0 when there was none yet.
    pub forgotten_before: u64,
}

/// Where an appended record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its own position.
    pub position: Position,
    /// The record before it: the log vouches that nothing lies between the two. None where it cannot know yet, since others
    /// append as well; then the record is read from the log.
    pub follows: Option<Position>,
}

/// The writing end of a log. There is one in a process, and one thread has it.
pub trait EventLog: Send {
    /// Where the log ends, as far as this end knows.
    fn end(&self) -> End;

    /// Appends `records` in order and syncs; says where each stands. When this returns, they survive the machine.
    ///
    /// # Errors
    /// [`AppendError::Full`] and [`AppendError::Locked`] leave the log as it was and may be tried again. After
    /// [`AppendError::Broken`] nothing is known about what reached the disk: the log must not be written again before it was
    /// opened anew.
    fn append(&mut self, records: &[NewRecord]) -> Result<Vec<Placement>, AppendError>;

    /// Dropping old records, if this kind of log leaves that to us.
    fn retention(&mut self) -> Result<&mut dyn Retention, Unsupported> {
        Err(Unsupported { what: "drop single records", instead: "set how long it keeps them where it runs" })
    }

    /// Changing records, if this kind of log can.
    fn redaction(&mut self) -> Result<&mut dyn Redaction, Unsupported> {
        Err(Unsupported { what: "take a user out of its records", instead: "they go when it drops the records" })
    }

    /// Putting records where they finally belong, if this kind of log leaves that to us.
    fn checkpoint(&mut self) -> Result<&mut dyn Checkpoint, Unsupported> {
        Err(Unsupported { what: "be checkpointed", instead: "it puts its records in order by itself" })
    }
}

/// How many records one call of [`Retention::prune`] drops: appends wait for no longer than that takes.
pub const PRUNE_STEP: u32 = 200;

/// A log whose old records can be dropped.
pub trait Retention {
    /// Drops some records from the front: at most [`PRUNE_STEP`], none after `through`, none received at or after `before`,
    /// and never the last one, so that positions never start again. Returns how many went; 0 means no more to drop.
    fn prune(&mut self, through: Position, before: Timestamp) -> Result<usize, AppendError>;
}

/// A log whose records can be changed, in the one way that there is.
pub trait Redaction {
    /// Takes a user out of some records after `after`; see [`crate::redact`].
    fn redact(&mut self, after: Position, user: &str) -> Result<Redacted, AppendError>;
}

/// A log that writes twice: first in front of it all, then where the record finally belongs.
pub trait Checkpoint {
    /// Puts what was appended where it finally belongs, when there is enough of it. Nothing rests on when that happens, but a
    /// failed sync in it is as fatal as in [`EventLog::append`].
    fn checkpoint(&mut self) -> Result<(), AppendError>;
}

/// A reading end of a log. There may be many.
pub trait LogReader: Send {
    /// The records after `after`, in order, until they exceed `max_bytes` uncompressed; at least one, if there is one. Each
    /// says which record it [follows](Record::follows): where that is not the one before it, something is gone.
    fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError>;

    /// One record; none if it was never there or is pruned.
    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError>;
}
