//! Events refused for good, stored whole with the reason, so that a person can decide.
use rusqlite::{Transaction, params};
use weir_contract::{SourceId, Timestamp};
use weir_fault::{self as fault, Point};

use super::dedupe::LogRef;
use super::{LedgerError, signed, totals};

/// The most refused events that are kept; [`BYTES_MAX`] bounds their bytes. A source that sends only malformed events
/// fills this within a day, and takes no other space.
pub const EVENTS_MAX: u64 = 50_000;
/// See [`EVENTS_MAX`].
pub const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Why a well-formed event is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Another event with this id is counted.
    Id,
    /// Another event with this number of the same source was seen.
    Number,
    /// The source has more gaps than any worker leaves.
    Gaps,
}

impl Conflict {
    pub(super) fn code(self) -> &'static str {
        match self {
            Conflict::Id => "id_conflict",
            Conflict::Number => "number_conflict",
            Conflict::Gaps => "too_many_gaps",
        }
    }
}

/// One refused event.
pub(super) struct Refused<'a> {
    pub(super) hash: i64,
    pub(super) log_ref: LogRef,
    pub(super) received_at: Timestamp,
    pub(super) source: Option<&'a SourceId>,
    pub(super) sequence: Option<u64>,
    pub(super) reason: &'static str,
    pub(super) detail: String,
    pub(super) body: &'a [u8],
}

impl Refused<'_> {
    /// Stores the event. Returns false if the same bytes are already there: then only their count increases.
    pub(super) fn keep(&self, tx: &Transaction<'_>) -> Result<bool, LedgerError> {
        if fault::hit(Point::QuarantineLost) && self.reason == "malformed" {
            return Ok(true);
        }
        let again =
            tx.prepare_cached("UPDATE quarantine SET times = times + 1 WHERE hash = ?1")?.execute([self.hash])?;
        if again > 0 {
            return Ok(false);
        }
        tx.prepare_cached(
            "INSERT INTO quarantine(hash, position, item, received_at, source, sequence, reason, detail, times, body)
             VALUES (?1,?2,?3,?4,?5,?6,?7,?8,1,?9)",
        )?
        .execute(params![
            self.hash,
            self.log_ref.position,
            self.log_ref.item as u64,
            self.received_at.as_millis(),
            self.source.map(SourceId::as_str),
            self.sequence,
            self.reason,
            self.detail,
            self.body,
        ])?;
        make_room(tx)?;
        Ok(true)
    }
}

/// Drops the oldest events beyond the limits. Their bytes stay in the event log until it is pruned.
fn make_room(tx: &Transaction<'_>) -> Result<(), LedgerError> {
    let over = || -> Result<bool, LedgerError> {
        let (events, bytes) = (totals::get(tx, "quarantine", "events")?, totals::get(tx, "quarantine", "bytes")?);
        Ok(events > EVENTS_MAX || bytes > BYTES_MAX)
    };
    while over()? {
        let sql = "DELETE FROM quarantine WHERE hash IN (SELECT hash FROM quarantine ORDER BY position, item LIMIT 1)";
        let gone = tx.prepare_cached(sql)?.execute([])?;
        totals::add(tx, "quarantine", "dropped", signed(gone as u64)?)?;
    }
    Ok(())
}

/// Records that the event stored under `hash` used up its number.
pub(super) fn take_number(tx: &Transaction<'_>, hash: i64) -> Result<(), LedgerError> {
    tx.prepare_cached("UPDATE quarantine SET takes_number = 1 WHERE hash = ?1")?.execute([hash])?;
    Ok(())
}

/// Removes an event that used up its number, if exactly these bytes are stored: an event refused under a wrong clock
/// arrives again under the right one. Returns true if it was there.
pub(super) fn recover(tx: &Transaction<'_>, hash: i64) -> Result<bool, LedgerError> {
    let sql = "DELETE FROM quarantine WHERE hash = ?1 AND takes_number";
    Ok(tx.prepare_cached(sql)?.execute([hash])? > 0)
}
