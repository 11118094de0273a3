//! The events of some records that are to be handed on.
use weir_event_log::{LogReader, Position, Record};
use weir_ledger::query::LedgerReader;
use weir_ledger::validate;

use super::ExportError;
use crate::lookup::LookupError;
use crate::store::DataDir;

/// Bytes of bodies that are read at a time, uncompressed; one body at least.
const READ_MAX_BYTES: usize = 1024 * 1024;
/// The most events of one part.
const PART_MAX_EVENTS: usize = 500;
/// The most bytes of one part, unless one event has more.
const PART_MAX_BYTES: usize = 1024 * 1024;

/// An event to be handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) tenant: String,
    /// The CloudEvent in JSON, as it was received.
    pub(super) json: Vec<u8>,
}

/// The part of an event that names its type.
#[derive(serde::Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
}

/// The events of some records.
#[derive(Debug, Default)]
pub(super) struct Batch {
    events: Vec<Outgoing>,
    /// The last of the records.
    pub(super) end: Position,
    /// Records before them that the log has dropped.
    pub(super) lost: u64,
}

impl Batch {
    /// The events in parts of bounded size.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[Outgoing]> {
        let mut rest = self.events.as_slice();
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fits = |event: &&Outgoing| {
                bytes += event.json.len();
                bytes <= PART_MAX_BYTES
            };
            let count = rest.iter().take(PART_MAX_EVENTS).take_while(fits).count().max(1);
            let (part, left) = rest.split_at_checked(count)?;
            rest = left;
            Some(part)
        })
    }
}

/// Reads some records after `after`, none after `counted`. None if there are none.
pub(super) fn read(
    home: &DataDir,
    log: &mut dyn LogReader,
    after: Position,
    counted: Position,
    types: &[String],
) -> Result<Option<Batch>, ExportError> {
    let records = log.read_after(after, READ_MAX_BYTES)?;
    let Some(first) = records.first().filter(|first| first.position <= counted) else { return Ok(None) };
    // What was dropped before an export began was never its own.
    let lost = if after == 0 { 0 } else { first.follows - after };
    let ledger = LedgerReader::open(home.ledger())?;
    let mut batch = Batch { lost, ..Batch::default() };
    for record in records.iter().take_while(|record| record.position <= counted) {
        add(&ledger, record, types, &mut batch)?;
        batch.end = record.position;
    }
    Ok(Some(batch))
}

/// Adds the accepted events of a record.
fn add(ledger: &LedgerReader, record: &Record, types: &[String], batch: &mut Batch) -> Result<(), ExportError> {
    if record.format.is_of_readings() {
        return Ok(());
    }
    for (item, raw) in validate::split(record.format, &record.body).map_err(LookupError::from)?.into_iter().enumerate()
    {
        let Ok(event) = validate::validate(raw, record.admission()) else { continue };
        let Ok(Head { kind }) = serde_json::from_slice(raw) else { continue };
        if !types.is_empty() && !types.contains(&kind) {
            continue;
        }
        // A repeat, or another event under the same id, was counted elsewhere.
        let counted = ledger.find(event.id)?;
        if counted.is_some_and(|found| (found.position, found.item) != (record.position, item)) {
            continue;
        }
        let tenant = event.subject.as_ref().map(|tenant| tenant.as_str().to_owned()).unwrap_or_default();
        batch.events.push(Outgoing { id: event.id.to_string(), kind, tenant, json: raw.to_vec() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> Outgoing {
        Outgoing { id: String::new(), kind: String::new(), tenant: String::new(), json: vec![b' '; bytes] }
    }

    #[test]
    fn parts_are_bounded_by_events_and_bytes_and_hold_all_in_order() {
        let batch = |sizes: &[usize]| Batch { events: sizes.iter().copied().map(event).collect(), ..Batch::default() };
        let lengths = |batch: &Batch| batch.parts().map(<[Outgoing]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(&batch(&[])), [0; 0]);
        assert_eq!(lengths(&batch(&[1; 1_001])), [500, 500, 1]);
        let large = PART_MAX_BYTES;
        assert_eq!(lengths(&batch(&[large / 2, large / 2, 1, large + 1, 1])), [2, 1, 1, 1]);
    }
}
