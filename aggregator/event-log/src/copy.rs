//! Copies a log record by record: for backups, and to move from one kind of log to another.
use crate::{AppendError, EventLog, LogError, LogReader, NewRecord, Position};

/// Bytes of bodies that are copied at a time, uncompressed.
const STEP_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Why a log cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] LogError),
    /// The copy cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Records are missing, or the copy counts otherwise.
    #[error("record {found} follows {follows} in the event log, and record {end} is the last one of its copy")]
    Gap {
        /// The record.
        found: Position,
        /// The one that it follows.
        follows: Position,
        /// The last one of the copy.
        end: Position,
    },
}

/// Copies the records behind the end of `to`, up to `through`, to the same positions. Returns the end of the copy.
pub fn copy(from: &mut dyn LogReader, to: &mut dyn EventLog, through: Position) -> Result<Position, CopyError> {
    while to.end().position < through {
        let records = from.read_after(to.end().position, STEP_MAX_BYTES)?;
        let mut group = Vec::with_capacity(records.len());
        let mut end = to.end().position;
        for record in records.iter().take_while(|record| record.position <= through) {
            if record.follows != end {
                return Err(CopyError::Gap { found: record.position, follows: record.follows, end });
            }
            end = record.position;
            group.push(NewRecord::new(record.admission(), record.format, &record.body));
        }
        if group.is_empty() {
            break;
        }
        to.append(&group)?;
        if to.end().position != end {
            let found = to.end().position;
            return Err(CopyError::Gap { found, follows: found - 1, end });
        }
    }
    Ok(to.end().position)
}
