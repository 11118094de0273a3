//! Tracks the sequence numbers of each source: seen, counted, refused, missing.
use foldhash::HashMap;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use weir_contract::{SourceData, SourceId, Timestamp};

use super::ranges::Ranges;
use super::{LedgerError, signed, totals};

/// The most sources kept in memory between transactions: more than gateways have workers. Further ones are read from
/// the database.
const KEPT_MAX: usize = 10_000;

/// The most ranges kept in memory between transactions, over all sources; each takes 16 bytes.
const KEPT_RANGES_MAX: usize = 500_000;

/// The most sources tracked: a few thousand new workers a day, for as long as the log keeps bodies. Creating sources
/// takes a token, but a stolen one must not fill the disk. Events of further sources count as usual, and their numbers
/// are untracked until others are dropped.
pub const SOURCES_MAX: u64 = 250_000;

/// The most sources that one transaction drops.
const DROP_STEP: u32 = 500;

/// The state of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct SequenceTracker {
    pub(super) seen: Ranges,
    pub(super) announced: u64,
    pub(super) closed: bool,
    pub(super) spilled: u64,
    pub(super) accepted: u64,
    pub(super) quarantined: u64,
    pub(super) duplicates: u64,
    pub(super) conflicts: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    dirty: bool,
}

impl SequenceTracker {
    /// The number of gaps up to the last known number, counted in numbers.
    fn missing(&self) -> u64 {
        self.announced.max(self.seen.highest()) - self.accepted - self.quarantined
    }

    /// Takes in the source's own announcement.
    pub(super) fn announce(&mut self, data: SourceData) {
        self.announced = self.announced.max(data.last);
        self.spilled = self.spilled.max(data.spilled);
        self.closed |= data.closed;
    }
}

/// All sources in memory.
#[derive(Debug, Default)]
pub(super) struct Sources {
    trackers: HashMap<SourceId, SequenceTracker>,
    /// Sources that the database does not have yet.
    new: u64,
    /// Events counted without a tracked source since the last [`Sources::write`].
    untracked: u64,
}

impl Sources {
    /// The tracker of `source`, for an event received at `received_at`. None if [`SOURCES_MAX`] is reached.
    pub(super) fn tracker(
        &mut self,
        tx: &Transaction<'_>,
        source: &SourceId,
        received_at: Timestamp,
    ) -> Result<Option<&mut SequenceTracker>, LedgerError> {
        if !self.trackers.contains_key(source) {
            let tracker = match load(tx, source)? {
                Some(tracker) => tracker,
                None if totals::get(tx, "source", "sources")? + self.new >= SOURCES_MAX => return Ok(None),
                None => {
                    self.new += 1;
                    SequenceTracker { first_at: received_at, ..SequenceTracker::default() }
                }
            };
            self.trackers.insert(source.clone(), tracker);
        }
        let tracker = self.trackers.get_mut(source).ok_or(LedgerError::Closed)?;
        tracker.dirty = true;
        tracker.last_at = tracker.last_at.max(received_at);
        Ok(Some(tracker))
    }

    /// Notes that an event of an untracked source was counted.
    pub(super) fn counts_untracked(&mut self) {
        self.untracked += 1;
    }

    /// Writes the changed trackers.
    pub(super) fn write(&mut self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        let mut upsert = tx.prepare_cached(
            "INSERT INTO source(name, ranges, announced, closed, spilled, accepted, quarantined, duplicates, conflicts,
                                first_at, last_at, missing)
             VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)
             ON CONFLICT(name) DO UPDATE SET ranges = ?2, announced = ?3, closed = ?4, spilled = ?5, accepted = ?6,
               quarantined = ?7, duplicates = ?8, conflicts = ?9, last_at = ?11, missing = ?12",
        )?;
        let mut dirty: Vec<_> = self.trackers.iter_mut().filter(|(_, tracker)| tracker.dirty).collect();
        dirty.sort_unstable_by_key(|(source, _)| *source);
        for (source, tracker) in dirty {
            check(source, tracker)?;
            let ranges = serde_json::to_string(&tracker.seen).map_err(|e| LedgerError::Inconsistent(e.to_string()))?;
            upsert.execute(params![
                source.as_str(),
                ranges,
                tracker.announced,
                tracker.closed,
                tracker.spilled,
                tracker.accepted,
                tracker.quarantined,
                tracker.duplicates,
                tracker.conflicts,
                tracker.first_at.as_millis(),
                tracker.last_at.as_millis(),
                tracker.missing(),
            ])?;
            tracker.dirty = false;
        }
        if self.untracked > 0 {
            totals::add(tx, "unbooked", "events", signed(self.untracked)?)?;
        }
        (self.new, self.untracked) = (0, 0);
        let ranges: usize = self.trackers.values().map(|tracker| tracker.seen.len()).sum();
        if self.trackers.len() > KEPT_MAX || ranges > KEPT_RANGES_MAX {
            self.forget();
        }
        Ok(())
    }

    /// Clears the memory; the database has the last committed state.
    pub(super) fn forget(&mut self) {
        *self = Sources::default();
    }
}

/// Drops at most [`DROP_STEP`] sources that were last heard of before `before` and miss no number: their workers are
/// gone. Their events stay counted, also in the totals. Returns the number dropped.
pub(super) fn drop_silent(tx: &Transaction<'_>, before: Timestamp) -> Result<usize, LedgerError> {
    let sql = "DELETE FROM source WHERE id IN
                 (SELECT id FROM source WHERE last_at < ?1 AND missing = 0 ORDER BY last_at LIMIT ?2)";
    let gone = tx.prepare_cached(sql)?.execute(params![before.as_millis(), DROP_STEP])?;
    if gone > 0 {
        let sql = "UPDATE total SET value = value - ?1 WHERE kind = 'source' AND key = 'sources'";
        tx.prepare_cached(sql)?.execute([gone as u64])?;
        totals::add(tx, "silent", "dropped", signed(gone as u64)?)?;
    }
    Ok(gone)
}

/// Asserts that every number seen was either counted or refused. Anything else is a bug, and must not be written.
fn check(source: &SourceId, tracker: &SequenceTracker) -> Result<(), LedgerError> {
    let (seen, known) = (tracker.seen.count(), tracker.accepted + tracker.quarantined);
    if seen == known {
        return Ok(());
    }
    Err(LedgerError::Inconsistent(format!("{source}: {seen} numbers seen, {known} counted or refused")))
}

fn load(tx: &Transaction<'_>, source: &SourceId) -> Result<Option<SequenceTracker>, LedgerError> {
    let sql =
        "SELECT ranges, announced, closed, spilled, accepted, quarantined, duplicates, conflicts, first_at, last_at
               FROM source WHERE name = ?1";
    let found = tx.prepare_cached(sql)?.query_row([source.as_str()], |row| Ok((row.get(0)?, read(row)?))).optional()?;
    let Some((ranges, tracker)) = found else { return Ok(None) };
    let ranges: String = ranges;
    let seen =
        serde_json::from_str(&ranges).map_err(|e| LedgerError::Inconsistent(format!("{source}: ranges: {e}")))?;
    let tracker = SequenceTracker { seen, ..tracker };
    check(source, &tracker)?;
    Ok(Some(tracker))
}

fn read(row: &Row<'_>) -> Result<SequenceTracker, rusqlite::Error> {
    let number = |column| row.get::<_, u64>(column);
    Ok(SequenceTracker {
        seen: Ranges::default(),
        announced: number(1)?,
        closed: row.get(2)?,
        spilled: number(3)?,
        accepted: number(4)?,
        quarantined: number(5)?,
        duplicates: number(6)?,
        conflicts: number(7)?,
        first_at: Timestamp::from_millis(number(8)?),
        last_at: Timestamp::from_millis(number(9)?),
        dirty: false,
    })
}
