//! Copies a log record by record: for backups, and to move from one kind of log to another.
use crate::{AppendError, EventLog, Format, LogError, LogReader, NewRecord, Position, Record};

/// Bytes of bodies that are copied at a time, uncompressed.
const STEP_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Records that are appended at a time: positions that hold none may be many.
const GROUP_MAX_RECORDS: usize = 512;
/// What stands for a position that holds no record.
const EMPTY: &[u8] = b"[]";

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

/// Copies the records behind the end of `to`, up to `through`, to the same positions. A position that holds no record gets an empty
/// batch, since not every kind of log can leave one out. Returns the end of the copy.
pub fn copy(from: &mut dyn LogReader, to: &mut dyn EventLog, through: Position) -> Result<Position, CopyError> {
    while to.end().position < through {
        let mut end = to.end().position;
        let records = from.read_after(end, STEP_MAX_BYTES)?;
        for record in records.iter().take_while(|record| record.position <= through) {
            if record.follows != end {
                return Err(CopyError::Gap { found: record.position, follows: record.follows, end });
            }
            end = record.position;
        }
        if end == to.end().position {
            break;
        }
        let records = records.iter().take_while(|record| record.position <= through);
        append(to, records)?;
    }
    Ok(to.end().position)
}

/// Appends records at their own positions.
fn append<'a>(to: &mut dyn EventLog, records: impl Iterator<Item = &'a Record>) -> Result<(), CopyError> {
    let (mut group, mut end) = (Vec::new(), to.end().position);
    for record in records {
        while end + 1 < record.position {
            group.push(NewRecord::new(record.admission(), Format::Batch, EMPTY));
            end += 1;
            flush(to, &mut group, end, GROUP_MAX_RECORDS)?;
        }
        group.push(NewRecord::new(record.admission(), record.format, &record.body));
        end = record.position;
        flush(to, &mut group, end, GROUP_MAX_RECORDS)?;
    }
    flush(to, &mut group, end, 1)
}

/// Appends the group once it has `enough` records; the last one belongs at `end`.
fn flush(to: &mut dyn EventLog, group: &mut Vec<NewRecord>, end: Position, enough: usize) -> Result<(), CopyError> {
    if group.len() < enough {
        return Ok(());
    }
    let before = to.end().position;
    to.append(group)?;
    group.clear();
    match to.end().position {
        found if found == end => Ok(()),
        found => Err(CopyError::Gap { found, follows: before, end }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{SqliteLog, SqliteLogReader};
    use crate::{Admission, LogError};
    use weir_contract::Timestamp;

    /// A log that leaves positions out.
    struct Gaps(Vec<Record>);

    impl LogReader for Gaps {
        fn read_after(&mut self, after: Position, _: usize) -> Result<Vec<Record>, LogError> {
            Ok(self.0.iter().filter(|record| record.position > after).take(2).cloned().collect())
        }

        fn get(&mut self, _: Position) -> Result<Option<Record>, LogError> {
            Ok(None)
        }

        fn before(&mut self, _: Timestamp) -> Result<Position, LogError> {
            Ok(0)
        }
    }

    fn record(follows: Position, position: Position) -> Record {
        let admission = Admission { received_at: Timestamp::from_millis(1), gateway: None, forgotten_before: 0 };
        let body = position.to_string().into_bytes();
        NewRecord::new(admission, Format::Event, &body).into_record(position, follows, body)
    }

    fn copied(records: Vec<Record>, through: Position) -> Result<Vec<(Position, String)>, CopyError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log.sqlite");
        let mut to = SqliteLog::create_as(&path, "a log", 4).expect("a log");
        copy(&mut Gaps(records), &mut to, through)?;
        let found = SqliteLogReader::open(&path).expect("a reader").read_after(0, usize::MAX).expect("read");
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        Ok(found.iter().map(|record| (record.position, text(&record.body))).collect())
    }

    #[test]
    fn records_keep_their_positions_and_those_left_out_hold_an_empty_batch() {
        let records = vec![record(3, 4), record(4, 7), record(7, 8), record(8, 9)];
        let expected = [(4, "4"), (5, "[]"), (6, "[]"), (7, "7"), (8, "8")];
        assert_eq!(copied(records, 8).expect("copied"), expected.map(|(position, text)| (position, text.to_owned())));
    }

    #[test]
    fn a_record_that_is_missing_ends_the_copy() {
        assert!(matches!(
            copied(vec![record(3, 4), record(5, 6)], 6),
            Err(CopyError::Gap { found: 6, follows: 5, end: 4 })
        ));
    }
}
