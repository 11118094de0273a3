//! A body with the verdicts on its events, so that none is parsed twice: the intake hands them to the ledger, which
//! reaches the same ones when it reads the record from the log. [`readings`] validates a body of readings.
use super::facts::{Fact, UsageFact};
use super::verdict::{EventHasher, Verdict};
use super::{Admission, BatchError, Format, batch, readings};
use crate::reading::Reading;

/// The verdicts on the events, or the readings, of one body, in order.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    events: Vec<Verdict>,
    readings: Vec<Verdict<Reading>>,
}

impl ValidatedBatch {
    /// Judges the events of `body`, and hashes them.
    pub fn new(
        format: Format,
        body: &[u8],
        admission: Admission<'_>,
        hasher: &EventHasher,
    ) -> Result<Self, BatchError> {
        if format.is_of_readings() {
            return Ok(ValidatedBatch {
                events: Vec::new(),
                readings: readings::validate(format, body, admission, hasher)?,
            });
        }
        let verdict = |item: super::Item<'_>| {
            let raw = item.raw;
            let outcome = item.validate(admission).map(|event| Fact::of(event, raw));
            Verdict::new(body, raw, hasher.hash(raw), outcome)
        };
        Ok(ValidatedBatch {
            events: batch::items(format, body)?.into_iter().map(verdict).collect(),
            readings: Vec::new(),
        })
    }

    /// The verdicts, each with its event's bytes from `body`, which must be the body they were made from.
    pub fn of<'j>(&'j self, body: &'j [u8]) -> impl Iterator<Item = (&'j [u8], &'j Verdict)> {
        self.events.iter().map(|verdict| (verdict.raw(body), verdict))
    }

    /// As [`ValidatedBatch::of`], for a body of readings.
    pub fn readings<'j>(&'j self, body: &'j [u8]) -> impl Iterator<Item = (&'j [u8], &'j Verdict<Reading>)> {
        self.readings.iter().map(|verdict| (verdict.raw(body), verdict))
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns true if there are no events.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The approximate memory of this value, in bytes.
    pub fn memory_bytes(&self) -> usize {
        // An estimate for the names of source and tenant, with their allocations.
        const NAMES_BYTES: usize = 128;
        self.events.len() * (size_of::<Verdict>() + size_of::<UsageFact>() + NAMES_BYTES)
            + self.readings.len() * (size_of::<Verdict<Reading>>() + NAMES_BYTES)
    }
}
