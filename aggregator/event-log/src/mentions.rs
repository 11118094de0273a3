//! Counts the records that name users, for logs whose records cannot change: their readers overwrite the names.
use crate::redact::{REDACT_STEP, Redacted, Users};
use crate::{AppendError, LogReader, Position};

/// Bytes of bodies that a step reads.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// Counts the records of the next step that name `users`. `through` is none once all are read.
pub(crate) fn count_step(
    reader: &mut dyn LogReader,
    after: Position,
    until: Position,
    users: &Users,
) -> Result<Redacted, AppendError> {
    let records = reader.read_after(after, STEP_BYTES).map_err(|error| AppendError::Locked(error.to_string()))?;
    let step = records.into_iter().take_while(|record| record.position <= until).take(REDACT_STEP as usize);
    let mut done = Redacted { through: None, records: 0 };
    for mut record in step {
        done.through = Some(record.position);
        done.records += u64::from(users.redact(&mut record.body));
    }
    Ok(done)
}
