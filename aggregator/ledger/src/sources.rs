//! Tracks the sequence numbers of each source: seen, counted, refused, missing.
use foldhash::HashMap;
use weir_contract::{SourceData, SourceId, Timestamp};
use weir_database::{Connection, OptionalExtension, Row, Transaction, params};

use super::ranges::{Insertion, Ranges};
use super::{LedgerError, signed, totals};
use crate::validate::NUMBER_MAX;

/// The most sources kept in memory between transactions: more than gateways have workers. Further ones are read from
/// the database.
const KEPT_MAX: usize = 10_000;

/// The most ranges kept in memory between transactions, over all sources; each takes 16 bytes.
const KEPT_RANGES_MAX: usize = 500_000;

/// The most sources tracked: a few thousand new workers a day, for as long as the log keeps bodies. Creating sources
/// takes a token, but a stolen one must not fill the disk. Events of further sources count as usual, and their numbers
/// are untracked until others are dropped.
pub const SOURCES_MAX: u64 = 250_000;

/// The furthest that one event or announcement takes a source ahead of its last known number. A worker that delivers nothing
/// for a day at 10,000 events a second comes back a billion numbers later; beyond this the number is made up, and would only
/// show billions of events as missing.
pub const LEAP_MAX: u64 = 1 << 32;

/// How many sources one transaction drops.
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
    /// The highest number seen or announced.
    fn last(&self) -> u64 {
        self.announced.max(self.seen.highest())
    }

    /// How many numbers up to the last known one were not seen. Bounded: a file of an earlier version may know a number that
    /// is refused today, and the sum over all sources must stay an integer.
    fn missing(&self) -> u64 {
        self.last().saturating_sub(self.accepted + self.quarantined).min(NUMBER_MAX)
    }

    /// Whether `number` is further ahead than any number of this source can be.
    pub(super) fn leaps_to(&self, number: u64) -> bool {
        number > self.last().saturating_add(LEAP_MAX)
    }

    /// Adds a number of an event.
    pub(super) fn insert(&mut self, number: u64) -> Insertion {
        if self.leaps_to(number) { Insertion::Leap } else { self.seen.insert(number) }
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
                tracker.spilled.min(NUMBER_MAX),
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

/// Puts books and totals of sources right that an earlier version let grow beyond SQLite's integers: it accepted numbers up
/// to 2^63, and two of them made the total a float that nothing could read. Costs one look at the totals where all is well.
pub(super) fn mend(db: &Connection) -> Result<(), weir_database::Error> {
    if db.is_postgres() {
        return Ok(());
    }
    let spoilt =
        "SELECT EXISTS (SELECT 1 FROM total WHERE kind = 'source' AND (typeof(value) <> 'integer' OR value > ?1))";
    let most = NUMBER_MAX * SOURCES_MAX;
    if !db.query_row(spoilt, [most], |row| row.get(0))? {
        return Ok(());
    }
    let tx = db.unchecked_transaction()?;
    // The trigger adds the differences to the totals; they are summed anew afterwards.
    tx.execute(
        "UPDATE source SET missing = min(missing, ?1), spilled = min(spilled, ?1) WHERE missing > ?1 OR spilled > ?1",
        [NUMBER_MAX],
    )?;
    tx.execute_batch(
        "UPDATE total SET value = (SELECT count(*) FROM source) WHERE kind = 'source' AND key = 'sources';
         UPDATE total SET value = (SELECT coalesce(sum(CASE total.key
             WHEN 'accepted' THEN accepted WHEN 'quarantined' THEN quarantined WHEN 'missing' THEN missing
             WHEN 'duplicates' THEN duplicates WHEN 'conflicts' THEN conflicts WHEN 'spilled' THEN spilled END), 0)
           FROM source) WHERE kind = 'source' AND key <> 'sources';",
    )?;
    tracing::warn!("the totals of the sources were no integers any more; they are summed anew");
    tx.commit()
}

/// Every number seen was either counted or refused; anything else is a fault that must not be written down.
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

fn read(row: &Row<'_>) -> Result<SequenceTracker, weir_database::Error> {
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
