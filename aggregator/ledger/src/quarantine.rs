//! Events that were refused for good: kept whole, with the reason, so that a person can decide.
use weir_contract::{SourceId, Timestamp};
use weir_database::{OptionalExtension, Place, Transaction, params};
use weir_fault::{self as fault, Point};

use super::dedupe::LogRef;
use super::{LedgerError, SqliteLedger, audit, signed, totals};
use crate::query::LedgerReader;
use crate::view::{QUARANTINED_SHOWN, QuarantineQuery, QuarantinedEvent};

/// The most refused events that are kept; [`BYTES_MAX`] bounds their bytes. A source that sends only malformed events
/// fills this within a day, and takes no other space.
pub const EVENTS_MAX: u64 = 50_000;
/// See [`EVENTS_MAX`].
pub(crate) const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Every reason for which something is kept, as words: metrics show each from the start.
pub const REASONS: [&str; 12] = [
    "too_large",
    "malformed",
    "id",
    "too_old",
    "too_far_ahead",
    "sequence",
    "value",
    "foreign_source",
    "id_conflict",
    "number_conflict",
    "too_many_gaps",
    "number_leap",
];

/// Why a well-formed event is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Another event with this id is counted.
    Id,
    /// Another event with this number of the same source was seen.
    Number,
    /// The source has more gaps than any worker leaves.
    Gaps,
    /// Its number, or the one it announces, is further ahead of the source's last one than any worker can be.
    Leap,
}

impl Conflict {
    pub(super) fn code(self) -> &'static str {
        match self {
            Conflict::Id => "id_conflict",
            Conflict::Number => "number_conflict",
            Conflict::Gaps => "too_many_gaps",
            Conflict::Leap => "number_leap",
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
    let sql = "DELETE FROM quarantine WHERE hash = ?1 AND takes_number = 1";
    Ok(tx.prepare_cached(sql)?.execute([hash])? > 0)
}

/// Removes a refused event that used no number, if these very bytes are stored, because it is valid now.
pub(super) fn let_go(tx: &Transaction<'_>, hash: i64) -> Result<(), LedgerError> {
    tx.prepare_cached("DELETE FROM quarantine WHERE hash = ?1")?.execute([hash])?;
    Ok(())
}

/// What a [`QuarantineQuery`] names, as `?1` and `?2`.
const NAMED: &str = "dropped = 0 AND (?1 IS NULL OR reason = ?1) AND (?2 IS NULL OR source = ?2)";
/// A well-formed event beside another one with its id or number: judging it again changes nothing.
const NO_CONFLICT: &str = "reason NOT IN ('id_conflict', 'number_conflict', 'too_many_gaps', 'number_leap')";

impl SqliteLedger {
    /// Lets go of the refused events that `query` names, durably, and notes in the audit who did so and why. They stay for as
    /// long as there is room, so that the same bytes are known again, and are neither listed nor counted. Returns how many.
    pub fn drop_refused(
        &mut self,
        query: &QuarantineQuery,
        why: &str,
        who: &str,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        self.durably(|db| {
            let tx = db.transaction()?;
            let sql = format!("UPDATE quarantine SET dropped = 1 WHERE {NAMED}");
            let dropped = tx.execute(&sql, params![query.reason, query.source])? as u64;
            let named = [("reason", &query.reason), ("source", &query.source)];
            let named = named.into_iter().filter_map(|(field, value)| Some(format!(" of {field} {}", value.as_ref()?)));
            let detail = format!("{dropped} events{}: {why}", named.collect::<String>());
            audit::note(&tx, now, who, "quarantine drop", &detail)?;
            tx.commit()?;
            Ok(dropped)
        })
    }

    /// Lets go of the same refused events as the ledger at `living`: no log says that a person did so.
    pub(super) fn adopt_drops(&mut self, living: &Place) -> Result<(), LedgerError> {
        let both = self.db.attach(living)?;
        let sql = "UPDATE main.quarantine SET dropped = 1 WHERE hash IN (SELECT hash FROM living.quarantine WHERE dropped = 1)";
        self.db.execute(&both.named(sql), [])?;
        Ok(self.db.detach()?)
    }
}

/// The place of a refused event in the log: record and item.
pub type KeptAt = (i64, i64);

impl LedgerReader {
    /// The refused events that `query` names, the latest first; at most [`QUARANTINED_SHOWN`].
    pub fn quarantined(&self, query: &QuarantineQuery) -> Result<Vec<QuarantinedEvent>, LedgerError> {
        let sql = format!(
            "SELECT reason, detail, source, sequence, times, received_at, body FROM quarantine WHERE {NAMED}
             ORDER BY position DESC, item DESC LIMIT ?3"
        );
        let mut select = self.connection().prepare(&sql)?;
        let rows = select.query_map(params![query.reason, query.source, QUARANTINED_SHOWN], |row| {
            Ok(QuarantinedEvent {
                reason: row.get(0)?,
                detail: row.get(1)?,
                source: row.get(2)?,
                sequence: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
                times: row.get::<_, i64>(4)?.unsigned_abs(),
                received_at: Timestamp::from_millis(row.get::<_, i64>(5)?.unsigned_abs()),
                event: String::from_utf8_lossy(&row.get::<_, Vec<u8>>(6)?).into_owned(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The first event that `query` names after the place `after` in the log, with its place; conflicts are left out.
    pub fn quarantined_after(
        &self,
        query: &QuarantineQuery,
        after: Option<KeptAt>,
    ) -> Result<Option<(KeptAt, Vec<u8>)>, LedgerError> {
        let sql = format!(
            "SELECT position, item, body FROM quarantine WHERE {NAMED} AND {NO_CONFLICT} AND (position, item) > (?3, ?4)
             ORDER BY position, item LIMIT 1"
        );
        let (position, item) = after.unwrap_or((0, -1));
        let mut select = self.connection().prepare_cached(&sql)?;
        let found = select.query_row(params![query.reason, query.source, position, item], |row| {
            Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
        });
        Ok(found.optional()?)
    }
}
