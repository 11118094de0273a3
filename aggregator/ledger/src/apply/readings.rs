//! Counts the readings among the records of one transaction.
use super::super::dedupe::{DedupeResult, LogRef};
use super::super::quarantine::{Conflict, Refused};
use super::super::{LedgerError, reading_sums, readings};
use super::{EarlyRow, Entry, Evidence, Step};
use crate::reading::Reading;
use crate::validate::{Rejection, day};
use weir_event_log::Position;

impl Step<'_, '_> {
    /// Counts the readings of a record.
    pub(super) fn readings(&mut self, entry: &Entry<'_>) -> Result<(), LedgerError> {
        let record = entry.record;
        for (item, (raw, verdict)) in entry.validated.readings(&record.body).enumerate() {
            let log_ref = LogRef { position: record.position, item };
            let evidence = Evidence { raw, hash: verdict.hash, log_ref, received_at: record.received_at };
            match &verdict.outcome {
                Ok(reading) => self.reading(reading, &evidence)?,
                Err(rejection) => self.refuse_reading(rejection, &evidence)?,
            }
        }
        Ok(())
    }

    fn reading(&mut self, reading: &Reading, evidence: &Evidence<'_>) -> Result<(), LedgerError> {
        match readings::note(self.tx, &reading.id, day(reading.time), evidence.hash, evidence.log_ref)? {
            DedupeResult::First => self.admit_reading(reading, evidence),
            DedupeResult::Repeat => {
                self.applied.duplicates += 1;
                Ok(())
            }
            DedupeResult::Conflict => {
                let first = self.keep(Conflict::Id.code(), format!("reading {}", reading.id), evidence)?;
                *(if first { &mut self.applied.conflicts } else { &mut self.applied.duplicates }) += 1;
                Ok(())
            }
        }
    }

    /// Counts a new reading, now or once it is due.
    fn admit_reading(&mut self, reading: &Reading, evidence: &Evidence<'_>) -> Result<(), LedgerError> {
        let position = evidence.log_ref.position;
        if self.waits(reading.time, evidence.received_at)? {
            self.applied.early += 1;
            self.early.add(EarlyRow {
                id: reading.id.as_bytes().to_vec(),
                time: reading.time,
                body: reading.canonical(),
                is_reading: true,
                position,
            });
            return Ok(());
        }
        self.applied.counted += 1;
        self.count_reading(reading, position)
    }

    /// Adds a reading that waited to the sums.
    pub(super) fn release_reading(&mut self, body: &[u8], position: Position) -> Result<(), LedgerError> {
        let reading = Reading::parse(body)
            .map_err(|error| LedgerError::Inconsistent(format!("a reading ahead of its time: {error}")))?;
        self.count_reading(&reading, position)
    }

    fn count_reading(&mut self, reading: &Reading, position: Position) -> Result<(), LedgerError> {
        let window = self.splits.window(self.tx, &reading.tenant, reading.time)?;
        if self.books.notes(position) {
            reading_sums::add(self.tx, window, reading)?;
        }
        self.sums.reading(self.tx, self.meters, window, reading)
    }

    fn refuse_reading(&mut self, rejection: &Rejection, evidence: &Evidence<'_>) -> Result<(), LedgerError> {
        let first = self.keep(rejection.code(), rejection.to_string(), evidence)?;
        *(if first { &mut self.applied.quarantined } else { &mut self.applied.duplicates }) += 1;
        Ok(())
    }

    /// Quarantines a reading. Returns false if it is there already.
    fn keep(&self, reason: &'static str, detail: String, evidence: &Evidence<'_>) -> Result<bool, LedgerError> {
        let Evidence { raw, hash, log_ref, received_at } = *evidence;
        Refused { hash, log_ref, received_at, source: None, sequence: None, reason, detail, body: raw }.keep(self.tx)
    }
}
