//! One transaction of the ledger: some records of the log, event by event.
mod readings;

use rusqlite::{Transaction, TransactionBehavior};
use std::borrow::Cow;
use weir_contract::{Event, Sequence, Timestamp};

use super::analysis::{self, ANALYSIS_DAYS};
use super::cuts::Cuts;
use super::quarantine::{self, Conflict, Refused};
use super::ranges::Insertion;
use super::seen::{Known, Place, Seen, Sighting, drop_days_before};
use super::sources::Sources;
use super::sums::Sums;
use super::{Applied, LedgerError, SqliteLedger, signed, totals};
use crate::accept::judged::{Fact, FactPayload, Judged};
use crate::accept::{AHEAD_HELD_MS, Claim, Rejection};
use crate::log::{Handed, Position, Record};
use crate::meters::Meters;

/// The most early events that wait.
const EARLY_MAX: u64 = 100_000;

/// A record with the verdicts on its events.
struct Entry<'r> {
    record: &'r Record,
    judged: Cow<'r, Judged>,
}

/// Counts records as they come from the log.
pub(super) fn run(ledger: &mut SqliteLedger, records: &[Record]) -> Result<Applied, LedgerError> {
    let entries = records.iter().map(|record| {
        // Only bodies that could be split were logged.
        let judged = Judged::new(record.format, &record.body, record.admission(), &ledger.hasher)
            .map_err(|error| LedgerError::Inconsistent(format!("record {}: {error}", record.position)))?;
        Ok(Entry { record, judged: Cow::Owned(judged) })
    });
    count(ledger, &entries.collect::<Result<Vec<_>, LedgerError>>()?)
}

/// Counts records as they come from the intake, judged already.
pub(super) fn run_handed(ledger: &mut SqliteLedger, handed: &[Handed]) -> Result<Applied, LedgerError> {
    let entries = handed.iter().map(|handed| Entry { record: &handed.record, judged: Cow::Borrowed(&handed.judged) });
    count(ledger, &entries.collect::<Vec<_>>())
}

fn count(ledger: &mut SqliteLedger, entries: &[Entry<'_>]) -> Result<Applied, LedgerError> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Applied::default()) };
    let (first, last) = (first.record, last.record);
    if first.position != ledger.position + 1 {
        return Err(LedgerError::Gap { position: ledger.position, found: first.position });
    }
    let applied = transact(ledger, last.position, |step| {
        let kept_ms = ANALYSIS_DAYS * 24 * weir_contract::time::HOUR_MS;
        analysis::expire(step.tx, Timestamp::from_millis(last.received_at.as_millis().saturating_sub(kept_ms)))?;
        entries
            .chunk_by(|a, b| a.record.forgotten_before == b.record.forgotten_before)
            .try_for_each(|run| step.run(run))
    })?;
    ledger.untidied += entries.iter().map(|entry| entry.record.body.len()).sum::<usize>();
    Ok(applied)
}

/// Counts the early events whose time has come by `now`: for hours in which nothing else comes in.
pub(super) fn release(ledger: &mut SqliteLedger, now: Timestamp) -> Result<u64, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM early WHERE time <= ?1)";
    let due: bool = ledger.db.prepare_cached(sql)?.query_row([due_by(now)], |row| row.get(0))?;
    if !due {
        return Ok(0);
    }
    Ok(transact(ledger, ledger.position, |step| step.release(now))?.counted)
}

/// Early events up to this time, in milliseconds, are counted at `now`.
fn due_by(now: Timestamp) -> i64 {
    signed(now.as_millis() + AHEAD_HELD_MS)
}

/// Runs `work` and writes what it gathered, with the new position, in one transaction.
fn transact(
    ledger: &mut SqliteLedger,
    position: Position,
    work: impl FnOnce(&mut Step<'_, '_>) -> Result<(), LedgerError>,
) -> Result<Applied, LedgerError> {
    let tx = ledger.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut step = Step {
        tx: &tx,
        meters: &ledger.meters,
        sources: &mut ledger.sources,
        cuts: &mut ledger.cuts,
        forgotten_before: &mut ledger.forgotten_before,
        seen: Seen::new(&tx),
        sums: Sums::default(),
        applied: Applied::default(),
    };
    #[cfg(test)]
    crate::sim::position_first(&tx, position)?;
    work(&mut step)?;
    let (sums, applied) = step.end();
    #[cfg(test)]
    crate::sim::dedupe_first(&tx)?;
    sums.write(&tx, &ledger.meters)?;
    ledger.sources.write(&tx)?;
    let sql = "UPDATE ledger SET position = ?1, forgotten_before = ?2";
    tx.prepare_cached(sql)?.execute([signed(position), signed(ledger.forgotten_before)])?;
    tx.commit()?;
    ledger.position = position;
    Ok(applied)
}

struct Step<'tx, 'l> {
    tx: &'tx Transaction<'tx>,
    meters: &'l Meters,
    sources: &'l mut Sources,
    cuts: &'l mut Cuts,
    forgotten_before: &'l mut u64,
    seen: Seen<'tx>,
    sums: Sums,
    applied: Applied,
}

impl Step<'_, '_> {
    /// Lets go of the transaction's statements, so that it can be committed.
    fn end(self) -> (Sums, Applied) {
        (self.sums, self.applied)
    }

    /// Drops the ids of days that a record says are forgotten, but for the last one: bodies that were under way at midnight
    /// may stand behind this record and be judged by the day before.
    fn forget(&mut self, forgotten_before: u64) -> Result<(), LedgerError> {
        let oldest = forgotten_before.saturating_sub(1);
        if oldest > *self.forgotten_before {
            drop_days_before(self.tx, oldest)?;
            super::readings::drop_days_before(self.tx, oldest)?;
            *self.forgotten_before = oldest;
        }
        Ok(())
    }

    /// Counts entries between which no day is forgotten.
    fn run(&mut self, entries: &[Entry<'_>]) -> Result<(), LedgerError> {
        let Some(first) = entries.first() else { return Ok(()) };
        self.forget(first.record.forgotten_before)?;
        let mut sightings = self.seen.note(&ids(entries))?.into_iter();
        for entry in entries {
            self.release(entry.record.received_at)?;
            self.entry(entry, &mut sightings)?;
            self.readings(entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, sightings: &mut impl Iterator<Item = Sighting>) -> Result<(), LedgerError> {
        let record = entry.record;
        for (item, (raw, verdict)) in entry.judged.of(&record.body).enumerate() {
            let place = Place { position: record.position, item };
            let evidence = Evidence { raw, hash: verdict.hash, place, received_at: record.received_at };
            match &verdict.outcome {
                Err(rejection) => self.reject(rejection, &evidence)?,
                Ok(fact) => match fact.sequence {
                    None => self.announcement(fact, record.received_at)?,
                    Some(sequence) => {
                        let sighting = sightings.next().ok_or(LedgerError::Closed)?;
                        self.event(fact, sequence, sighting, evidence)?;
                    }
                },
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        event: &Fact,
        sequence: Sequence,
        sighting: Sighting,
        evidence: Evidence<'_>,
    ) -> Result<(), LedgerError> {
        let Evidence { raw, hash, received_at, .. } = evidence;
        #[cfg(test)]
        if crate::sim::planted(crate::sim::Bug::ConflictCounts) && sighting == Sighting::Conflict {
            return self.count(event, event.time, raw);
        }
        let book = self.sources.book(self.tx, &event.source, received_at)?;
        let conflict = match (sighting, book) {
            (Sighting::Repeat, book) => {
                book.into_iter().for_each(|book| book.duplicates += 1);
                self.applied.duplicates += 1;
                return Ok(());
            }
            (Sighting::Conflict, _) => Conflict::Id,
            (Sighting::First, None) => {
                self.sources.counts_unbooked();
                return self.admit(event, raw, received_at);
            }
            (Sighting::First, Some(book)) => match book.seen.insert(sequence.0) {
                Insertion::New => {
                    book.accepted += 1;
                    return self.admit(event, raw, received_at);
                }
                Insertion::Known if quarantine::recover(self.tx, hash)? => {
                    book.quarantined -= 1;
                    book.accepted += 1;
                    return self.admit(event, raw, received_at);
                }
                Insertion::Known => Conflict::Number,
                Insertion::Full => Conflict::Gaps,
            },
        };
        self.conflict(conflict, event, sequence, &evidence)
    }

    /// Counts a new event, now or when its time has come.
    fn admit(&mut self, event: &Fact, raw: &[u8], received_at: Timestamp) -> Result<(), LedgerError> {
        if self.waits(event.time, received_at)? {
            self.applied.held += 1;
            let sql = "INSERT INTO early(id, time, body) VALUES (?1,?2,?3)";
            let row = (event.id.as_bytes(), signed(event.time.as_millis()), raw);
            self.tx.prepare_cached(sql)?.execute(row)?;
            return Ok(());
        }
        self.applied.counted += 1;
        let time = event.time;
        #[cfg(test)]
        let time = crate::sim::moved_window(time, received_at);
        self.count(event, time, raw)
    }

    /// Whether what happens at `time` is ahead of the clock. Where too many wait already it is counted at once, in the window
    /// of its own time all the same.
    fn waits(&self, time: Timestamp, received_at: Timestamp) -> Result<bool, LedgerError> {
        let ahead = time.millis_since(received_at) > AHEAD_HELD_MS;
        Ok(ahead && totals::get(self.tx, "early", "events")? < EARLY_MAX)
    }

    /// Adds an event, whose bytes are `raw`, to the sums of the window that `time` lies in.
    fn count(&mut self, event: &Fact, time: Timestamp, raw: &[u8]) -> Result<(), LedgerError> {
        match (&event.payload, &event.subject) {
            (FactPayload::Usage(data), Some(tenant)) => {
                let window = self.cuts.window(self.tx, tenant, time)?;
                self.sums.usage(self.tx, self.meters, tenant, window, &data.data(raw))?;
            }
            (FactPayload::Refused(data), tenant) => self.sums.refused(tenant.as_ref(), time, data),
            // The contract gives every usage event a subject, and announcements are no usage.
            (FactPayload::Usage(_) | FactPayload::Source(_), _) => {}
        }
        Ok(())
    }

    /// What a source says of itself: taken as the highest it ever said, so repeats and late ones change nothing.
    fn announcement(&mut self, event: &Fact, received_at: Timestamp) -> Result<(), LedgerError> {
        if let FactPayload::Source(data) = event.payload
            && let Some(book) = self.sources.book(self.tx, &event.source, received_at)?
        {
            book.announce(data);
        }
        Ok(())
    }

    fn conflict(
        &mut self,
        conflict: Conflict,
        event: &Fact,
        sequence: Sequence,
        evidence: &Evidence<'_>,
    ) -> Result<(), LedgerError> {
        let refused = Refused {
            hash: evidence.hash,
            place: evidence.place,
            received_at: evidence.received_at,
            source: Some(&event.source),
            sequence: Some(sequence.0),
            reason: conflict.code(),
            detail: format!("id {}", event.id),
            body: evidence.raw,
        };
        let first = refused.keep(self.tx)?;
        *(if first { &mut self.applied.conflicts } else { &mut self.applied.duplicates }) += 1;
        if let Some(book) = self.sources.book(self.tx, &event.source, evidence.received_at)? {
            *(if first { &mut book.conflicts } else { &mut book.duplicates }) += 1;
        }
        Ok(())
    }

    fn reject(&mut self, rejection: &Rejection, evidence: &Evidence<'_>) -> Result<(), LedgerError> {
        let Evidence { raw, hash, place, received_at } = *evidence;
        // Whoever may not speak for a source does not get to use up its numbers either.
        let claim = if matches!(rejection, Rejection::ForeignSource(_)) { Claim::default() } else { Claim::peek(raw) };
        let refused = Refused {
            hash,
            place,
            received_at,
            source: claim.source.as_ref(),
            sequence: claim.sequence.map(|sequence| sequence.0),
            reason: rejection.code(),
            detail: rejection.to_string(),
            body: raw,
        };
        let first = refused.keep(self.tx)?;
        let total = if first { &mut self.applied.quarantined } else { &mut self.applied.duplicates };
        *total += 1;
        let (Some(source), Some(sequence)) = (&claim.source, claim.sequence) else { return Ok(()) };
        let Some(book) = self.sources.book(self.tx, source, received_at)? else { return Ok(()) };
        match first {
            true if book.seen.insert(sequence.0) == Insertion::New => {
                book.quarantined += 1;
                quarantine::take_number(self.tx, refused.hash)?;
            }
            true => {}
            false => book.duplicates += 1,
        }
        Ok(())
    }

    /// Counts the early events whose time has come by `now`.
    fn release(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let due = due_by(now);
        let bodies: Vec<(Vec<u8>, bool)> = {
            let mut select =
                self.tx.prepare_cached("SELECT body, reading FROM early WHERE time <= ?1 ORDER BY time")?;
            select.query_map([due], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?
        };
        if bodies.is_empty() {
            return Ok(());
        }
        for (body, is_reading) in &bodies {
            self.applied.counted += 1;
            if *is_reading {
                self.release_reading(body)?;
                continue;
            }
            let event = Event::parse(body).map_err(|e| LedgerError::Inconsistent(format!("an early event: {e}")))?;
            let fact = Fact::of(event, body);
            self.count(&fact, fact.time, body)?;
        }
        #[cfg(test)]
        let due = if crate::sim::planted(crate::sim::Bug::HeldLost) { i64::MAX } else { due };
        self.tx.execute("DELETE FROM early WHERE time <= ?1", [due])?;
        Ok(())
    }
}

/// What of `entries` has to be known by its id, in order.
fn ids(entries: &[Entry<'_>]) -> Vec<Known> {
    let mut known = Vec::with_capacity(entries.iter().map(|entry| entry.judged.len()).sum());
    for entry in entries {
        for (item, (_, verdict)) in entry.judged.of(&entry.record.body).enumerate() {
            if let Ok(Fact { id, sequence: Some(_), .. }) = verdict.outcome {
                let place = Place { position: entry.record.position, item };
                known.push(Known { id, hash: verdict.hash, place });
            }
        }
    }
    known
}

/// An event as it came.
struct Evidence<'a> {
    raw: &'a [u8],
    hash: i64,
    place: Place,
    received_at: Timestamp,
}
