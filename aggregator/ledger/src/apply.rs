//! One transaction of the ledger: counts some records of the log, event by event.
mod early;
mod readings;

use std::borrow::Cow;
use weir_contract::{Event, Sequence, TenantId, Timestamp, Usage, UsageData};
use weir_database::{Failure, Transaction};
use weir_fault::{self as fault, Point};

use self::early::{Early, EarlyRow};
use super::analysis::{self, ANALYSIS_DAYS};
use super::dedupe::{DedupeIndex, DedupeKey, DedupeResult, LogRef, drop_days_before};
use super::first_answers::FirstAnswers;
use super::quarantine::{self, Conflict, Refused};
use super::ranges::Insertion;
use super::sources::Sources;
use super::splits::WindowSplits;
use super::steering::Moment;
use super::sums::Sums;
use super::{
    Applied, LedgerError, LoggedBatch, SqliteLedger, attempts, flags, kept_answers, request_keys, security, totals,
};
use crate::analysis::Marks;
use crate::books::Books;
use crate::meters::Meters;
use crate::recent::Call;
use crate::validate::{Claim, EARLY_AFTER_MS, EventHasher, Rejection};
use crate::validate::{Fact, FactPayload, ValidatedBatch};
use weir_event_log::{Position, Record};

/// A record with the verdicts on its events.
struct Entry<'r> {
    record: &'r Record,
    validated: Cow<'r, ValidatedBatch>,
}

/// Counts records as they come from the log.
pub(super) fn run(ledger: &mut SqliteLedger, records: &[Record]) -> Result<Applied, LedgerError> {
    let entries = records
        .iter()
        .map(|record| Ok(Entry { record, validated: Cow::Owned(judge(record, &ledger.hasher)?) }))
        .collect::<Result<Vec<_>, LedgerError>>()?;
    count(ledger, &entries)
}

/// The verdicts on the events of a record.
pub(super) fn judge(record: &Record, hasher: &EventHasher) -> Result<ValidatedBatch, LedgerError> {
    // Only bodies that split into events were logged.
    ValidatedBatch::new(record.format, &record.body, record.admission(), hasher)
        .map_err(|error| LedgerError::Inconsistent(format!("record {}: {error}", record.position)))
}

/// Counts records that are judged already.
pub(super) fn run_batches(ledger: &mut SqliteLedger, batches: &[LoggedBatch]) -> Result<Applied, LedgerError> {
    let entries =
        batches.iter().map(|batch| Entry { record: &batch.record, validated: Cow::Borrowed(&batch.validated) });
    count(ledger, &entries.collect::<Vec<_>>())
}

fn count(ledger: &mut SqliteLedger, entries: &[Entry<'_>]) -> Result<Applied, LedgerError> {
    let Some(Entry { record: last, .. }) = entries.last() else { return Ok(Applied::default()) };
    check_contiguous(ledger.position, entries)?;
    let moment = Moment { position: last.position, now: last.received_at };
    let applied = transact(ledger, moment, |step| {
        let kept_ms = ANALYSIS_DAYS * 24 * weir_contract::time::HOUR_MS;
        let before = Timestamp::from_millis(last.received_at.as_millis().saturating_sub(kept_ms));
        analysis::expire(step.tx, before)?;
        attempts::expire(step.tx, before)?;
        flags::expire(step.tx, before)?;
        entries
            .chunk_by(|a, b| a.record.forgotten_before == b.record.forgotten_before)
            .try_for_each(|run| step.run(run))
    })?;
    ledger.uncheckpointed_bytes += entries.iter().map(|entry| entry.record.body.len()).sum::<usize>();
    Ok(applied)
}

/// Refuses records with a gap before or between them: events in the gap would never be counted.
fn check_contiguous(position: Position, entries: &[Entry<'_>]) -> Result<(), LedgerError> {
    let mut end = position;
    for Entry { record, .. } in entries {
        if record.follows != end || record.position <= end {
            return Err(LedgerError::Gap { position: end, found: record.position, follows: record.follows });
        }
        end = record.position;
    }
    Ok(())
}

/// Counts the early events that are due by `now`, for hours in which no other event arrives.
pub(super) fn release(ledger: &mut SqliteLedger, now: Timestamp) -> Result<u64, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM early WHERE time <= ?1)";
    let due: bool = ledger.db.prepare_cached(sql)?.query_row([due_by(now)], |row| row.get(0))?;
    if !due {
        return Ok(0);
    }
    let moment = Moment { position: ledger.position, now };
    Ok(transact(ledger, moment, |step| step.release(now))?.counted)
}

/// The latest time, in milliseconds, of early events that are counted at `now`.
fn due_by(now: Timestamp) -> u64 {
    now.as_millis() + EARLY_AFTER_MS
}

/// Runs `work`, then writes the gathered sums and the new position, in one transaction.
fn transact(
    ledger: &mut SqliteLedger,
    moment: Moment,
    work: impl FnOnce(&mut Step<'_, '_>) -> Result<(), LedgerError>,
) -> Result<Applied, LedgerError> {
    let position = moment.position;
    let tx = ledger.db.write_transaction()?;
    let mut step = Step {
        tx: &tx,
        meters: &ledger.meters,
        sources: &mut ledger.sources,
        splits: &mut ledger.splits,
        books: &mut ledger.books,
        forgotten_before: &mut ledger.forgotten_before,
        dedupe: DedupeIndex::new(&tx),
        early: Early::default(),
        sums: Sums::new(ledger.steering.as_ref().is_some_and(|steering| steering.counts_users())),
        first_answers: FirstAnswers::default(),
        applied: Applied::default(),
        calls: Vec::new(),
        refused_kept: totals::get(&tx, "quarantine", "events")? > 0,
    };
    if fault::hit(Point::PositionApart) {
        tx.execute_batch(&format!("UPDATE ledger SET position = {position}; COMMIT; BEGIN IMMEDIATE"))?;
    }
    work(&mut step)?;
    step.early.write(&tx)?;
    let (sums, first_answers, applied, calls) = step.end();
    assert!(position >= ledger.position, "a ledger's position never goes back");
    if fault::hit(Point::DedupeApart) {
        tx.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
    }
    sums.write(&tx, &ledger.meters)?;
    first_answers.write(&tx)?;
    ledger.sources.write(&tx)?;
    let sql = "UPDATE ledger SET position = ?1, forgotten_before = ?2";
    tx.prepare_cached(sql)?.execute([position, ledger.forgotten_before])?;
    if fault::hit(Point::CostApart) {
        tx.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
    }
    sums.write_costs(&tx)?;
    if let Some(steering) = &mut ledger.steering {
        steering.follow(&tx, &sums.uses(), moment)?;
    }
    committed(tx)?;
    ledger.position = position;
    ledger.recent.add(&calls);
    if let Some(steering) = &mut ledger.steering {
        steering.committed();
    }
    Ok(applied)
}

fn committed(tx: Transaction<'_>) -> Result<(), weir_database::Error> {
    match tx.commit() {
        Err(error) if error.failure() == Failure::Lost && fault::hit(Point::CommitLostIsDone) => Ok(()),
        outcome => outcome,
    }
}

struct Step<'tx, 'l> {
    tx: &'tx Transaction<'tx>,
    meters: &'l Meters,
    sources: &'l mut Sources,
    splits: &'l mut WindowSplits,
    books: &'l mut Books,
    forgotten_before: &'l mut u64,
    dedupe: DedupeIndex<'tx>,
    early: Early,
    sums: Sums,
    first_answers: FirstAnswers,
    applied: Applied,
    /// How requests went.
    calls: Vec<Call>,
    /// Whether the quarantine may hold something.
    refused_kept: bool,
}

impl Step<'_, '_> {
    /// Drops the transaction's statements, so that it can be committed.
    fn end(self) -> (Sums, FirstAnswers, Applied, Vec<Call>) {
        (self.sums, self.first_answers, self.applied, self.calls)
    }

    /// Drops the ids of days that a record declares forgotten, except the last of them: bodies under way at midnight
    /// may follow this record and still be judged by the day before.
    fn forget(&mut self, forgotten_before: u64) -> Result<(), LedgerError> {
        let oldest = forgotten_before.saturating_sub(1);
        if oldest > *self.forgotten_before {
            drop_days_before(self.tx, oldest)?;
            super::readings::drop_days_before(self.tx, oldest)?;
            kept_answers::drop_days_before(self.tx, oldest)?;
            request_keys::drop_days_before(self.tx, oldest)?;
            *self.forgotten_before = oldest;
        }
        Ok(())
    }

    /// Counts entries that all share one set of remembered days.
    fn run(&mut self, entries: &[Entry<'_>]) -> Result<(), LedgerError> {
        let Some(first) = entries.first() else { return Ok(()) };
        self.forget(first.record.forgotten_before)?;
        let mut results = self.dedupe.note(&ids(entries))?.into_iter();
        for entry in entries {
            self.release(entry.record.received_at)?;
            self.entry(entry, &mut results)?;
            self.readings(entry)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &Entry<'_>,
        results: &mut impl Iterator<Item = DedupeResult>,
    ) -> Result<(), LedgerError> {
        let record = entry.record;
        for (item, (raw, verdict)) in entry.validated.of(&record.body).enumerate() {
            let log_ref = LogRef { position: record.position, item };
            let evidence = Evidence { raw, hash: verdict.hash, log_ref, received_at: record.received_at };
            match &verdict.outcome {
                Err(rejection) => self.reject(rejection, &evidence)?,
                Ok(fact) => match fact.sequence {
                    None => self.announcement(fact, &evidence)?,
                    Some(sequence) => {
                        let result = results.next().ok_or(LedgerError::Closed)?;
                        self.event(fact, sequence, result, evidence)?;
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
        result: DedupeResult,
        evidence: Evidence<'_>,
    ) -> Result<(), LedgerError> {
        let Evidence { hash, received_at, .. } = evidence;
        if fault::hit(Point::ConflictCounts) && result == DedupeResult::Conflict {
            return self.count(event, event.time, &(&evidence).into());
        }
        let tracker = self.sources.tracker(self.tx, &event.source, received_at)?;
        let conflict = match (result, tracker) {
            (DedupeResult::Repeat, tracker) => {
                tracker.into_iter().for_each(|tracker| tracker.duplicates += 1);
                self.applied.duplicates += 1;
                return Ok(());
            }
            (DedupeResult::Conflict, _) => Conflict::Id,
            (DedupeResult::First, None) => {
                self.sources.counts_untracked();
                return self.admit_first(event, &evidence);
            }
            (DedupeResult::First, Some(tracker)) => match tracker.insert(sequence.0) {
                Insertion::New => {
                    tracker.accepted += 1;
                    return self.admit_first(event, &evidence);
                }
                Insertion::Known if quarantine::recover(self.tx, hash)? => {
                    tracker.quarantined -= 1;
                    tracker.accepted += 1;
                    return self.admit(event, &evidence);
                }
                Insertion::Known => Conflict::Number,
                Insertion::Full => Conflict::Gaps,
                Insertion::Leap => Conflict::Leap,
            },
        };
        self.conflict(conflict, event, Some(sequence), &evidence)
    }

    /// Like [`Step::admit`], for an event whose bytes may have been refused before and are valid now.
    fn admit_first(&mut self, event: &Fact, evidence: &Evidence<'_>) -> Result<(), LedgerError> {
        if self.refused_kept {
            quarantine::let_go(self.tx, evidence.hash)?;
        }
        self.admit(event, evidence)
    }

    /// Counts a new event, now or once it is due.
    fn admit(&mut self, event: &Fact, evidence: &Evidence<'_>) -> Result<(), LedgerError> {
        let received_at = evidence.received_at;
        if self.waits(event.time, received_at)? {
            self.applied.early += 1;
            self.early.add(EarlyRow {
                id: event.id.as_bytes().to_vec(),
                time: event.time,
                body: evidence.raw.to_vec(),
                is_reading: false,
                position: evidence.log_ref.position,
            });
            return Ok(());
        }
        self.applied.counted += 1;
        let time = event.time;
        let is_late = received_at.millis_since(time) > 24 * weir_contract::time::HOUR_MS;
        let time = if is_late && fault::hit(Point::WindowFixedTwice) { received_at } else { time };
        self.count(event, time, &evidence.into())
    }

    /// Returns true if `time` is ahead of the clock. If too many events wait already, returns false: the event is then
    /// counted at once, in the window of its own time.
    fn waits(&mut self, time: Timestamp, received_at: Timestamp) -> Result<bool, LedgerError> {
        let ahead = time.millis_since(received_at) > EARLY_AFTER_MS;
        Ok(ahead && self.early.has_room(self.tx)?)
    }

    /// Adds an event to the sums of the window that contains `time`.
    fn count(&mut self, event: &Fact, time: Timestamp, of: &Body<'_>) -> Result<(), LedgerError> {
        match (&event.payload, &event.subject) {
            (FactPayload::Usage(data), Some(tenant)) => {
                self.calls.extend(Call::of(data, of.raw, event.time));
                let window = self.splits.window(self.tx, tenant, time)?;
                let mut counted = data.data(of.raw);
                if let Some(answer) = data.kept_answer(of.raw)
                    && !kept_answers::note(self.tx, (tenant, answer), (event.id, event.time))?
                {
                    // The request counts, and what the answer used was counted before.
                    counted.usage = Usage::default();
                }
                self.first_answers.note(tenant, event.time, &counted);
                let cost = self.books.cost(self.tx, of.position, (tenant, window, event.time), &counted)?;
                let retried = self.books.notes(of.position) && self.is_retry(tenant, event.time, &counted)?;
                let marks = Marks::of(&counted).with(Marks::RETRIED, retried);
                self.sums.usage(self.tx, self.meters, (tenant, window), &counted, (cost, marks))?;
            }
            (FactPayload::Refused(data), tenant) => self.sums.refused(tenant.as_ref(), time, data),
            (FactPayload::Security(data), tenant) => security::keep_findings(self.tx, tenant.as_ref(), time, data)?,
            (FactPayload::Search(data), Some(tenant)) => security::keep_search(self.tx, tenant, time, data)?,
            (FactPayload::Attempts(data), _) => attempts::count(self.tx, &event.source, time, data)?,
            // The contract gives every event of a request a subject, and announcements carry no usage.
            (FactPayload::Usage(_) | FactPayload::Search(_) | FactPayload::Source(_), _) => {}
        }
        Ok(())
    }

    /// Returns true if an earlier request of the tenant had the same idempotency key.
    fn is_retry(&self, tenant: &TenantId, time: Timestamp, data: &UsageData<'_>) -> Result<bool, LedgerError> {
        data.idempotency_key_hash
            .as_deref()
            .map_or(Ok(false), |hash| request_keys::is_known(self.tx, tenant, hash, time))
    }

    /// What a source says of itself: taken as the highest it ever said, so repeats and late ones change nothing.
    fn announcement(&mut self, event: &Fact, evidence: &Evidence<'_>) -> Result<(), LedgerError> {
        let FactPayload::Source(data) = event.payload else { return Ok(()) };
        match self.sources.tracker(self.tx, &event.source, evidence.received_at)? {
            Some(tracker) if tracker.leaps_to(data.last) => self.conflict(Conflict::Leap, event, None, evidence),
            Some(tracker) => {
                tracker.announce(data);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn conflict(
        &mut self,
        conflict: Conflict,
        event: &Fact,
        sequence: Option<Sequence>,
        evidence: &Evidence<'_>,
    ) -> Result<(), LedgerError> {
        let refused = Refused {
            hash: evidence.hash,
            log_ref: evidence.log_ref,
            received_at: evidence.received_at,
            source: Some(&event.source),
            sequence: sequence.map(|sequence| sequence.0),
            reason: conflict.code(),
            detail: format!("id {}", event.id),
            body: evidence.raw,
        };
        self.refused_kept = true;
        let first = refused.keep(self.tx)?;
        *(if first { &mut self.applied.conflicts } else { &mut self.applied.duplicates }) += 1;
        if let Some(tracker) = self.sources.tracker(self.tx, &event.source, evidence.received_at)? {
            *(if first { &mut tracker.conflicts } else { &mut tracker.duplicates }) += 1;
        }
        Ok(())
    }

    fn reject(&mut self, rejection: &Rejection, evidence: &Evidence<'_>) -> Result<(), LedgerError> {
        let Evidence { raw, hash, log_ref, received_at } = *evidence;
        // A sender that may not speak for a source must not use up its numbers either.
        let claim = if matches!(rejection, Rejection::ForeignSource(_)) { Claim::default() } else { Claim::peek(raw) };
        let refused = Refused {
            hash,
            log_ref,
            received_at,
            source: claim.source.as_ref(),
            sequence: claim.sequence.map(|sequence| sequence.0),
            reason: rejection.code(),
            detail: rejection.to_string(),
            body: raw,
        };
        self.refused_kept = true;
        let first = refused.keep(self.tx)?;
        let total = if first { &mut self.applied.quarantined } else { &mut self.applied.duplicates };
        *total += 1;
        let (Some(source), Some(sequence)) = (&claim.source, claim.sequence) else { return Ok(()) };
        let Some(tracker) = self.sources.tracker(self.tx, source, received_at)? else { return Ok(()) };
        match first {
            true if tracker.insert(sequence.0) == Insertion::New => {
                tracker.quarantined += 1;
                quarantine::take_number(self.tx, refused.hash)?;
            }
            true => {}
            false => tracker.duplicates += 1,
        }
        Ok(())
    }

    /// Counts the early events that are due by `now`.
    fn release(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let due = due_by(now);
        self.early.write(self.tx)?;
        let bodies: Vec<(Vec<u8>, bool, u64)> = {
            let mut select =
                self.tx.prepare_cached("SELECT body, reading, position FROM early WHERE time <= ?1 ORDER BY time")?;
            select.query_map([due], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?
        };
        if bodies.is_empty() {
            return Ok(());
        }
        for (body, is_reading, position) in &bodies {
            self.applied.counted += 1;
            if *is_reading {
                self.release_reading(body, *position)?;
                continue;
            }
            let event = Event::parse(body).map_err(|e| LedgerError::Inconsistent(format!("an early event: {e}")))?;
            let fact = Fact::of(event, body);
            self.count(&fact, fact.time, &Body { raw: body, position: *position })?;
        }
        let due = if fault::hit(Point::EarlyLost) { i64::MAX as u64 } else { due };
        self.early.remove(self.tx, due)
    }
}

/// Ids to deduplicate, in order.
fn ids(entries: &[Entry<'_>]) -> Vec<DedupeKey> {
    let mut known = Vec::with_capacity(entries.iter().map(|entry| entry.validated.len()).sum());
    for entry in entries {
        for (item, (_, verdict)) in entry.validated.of(&entry.record.body).enumerate() {
            if let Ok(Fact { id, sequence: Some(_), .. }) = verdict.outcome {
                let log_ref = LogRef { position: entry.record.position, item };
                known.push(DedupeKey { id, hash: verdict.hash, log_ref });
            }
        }
    }
    known
}

/// The bytes of an event and their position in the log.
struct Evidence<'a> {
    raw: &'a [u8],
    hash: i64,
    log_ref: LogRef,
    received_at: Timestamp,
}

/// The bytes of an event and the position of its record.
struct Body<'a> {
    raw: &'a [u8],
    position: Position,
}

impl<'a> From<&Evidence<'a>> for Body<'a> {
    fn from(evidence: &Evidence<'a>) -> Self {
        Body { raw: evidence.raw, position: evidence.log_ref.position }
    }
}
