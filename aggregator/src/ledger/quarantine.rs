//! Events that were refused for good: kept whole, with the reason, so that a person can decide.
use rusqlite::{Transaction, params};
use weir_contract::{SourceId, Timestamp};

use super::seen::Place;
use super::{LedgerError, signed};

/// Why a well-formed event is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Another event with this id was counted.
    Id,
    /// Another event with this number of this source was seen.
    Number,
    /// The source has more gaps than any worker.
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
    pub(super) place: Place,
    pub(super) received_at: Timestamp,
    pub(super) source: Option<&'a SourceId>,
    pub(super) sequence: Option<u64>,
    pub(super) reason: &'static str,
    pub(super) detail: String,
    pub(super) body: &'a [u8],
}

impl Refused<'_> {
    /// Keeps it. False if the same bytes are kept already: then only their count goes up.
    pub(super) fn keep(&self, tx: &Transaction<'_>) -> Result<bool, LedgerError> {
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
            signed(self.place.position),
            signed(self.place.item as u64),
            signed(self.received_at.as_millis()),
            self.source.map(SourceId::as_str),
            self.sequence.map(signed),
            self.reason,
            self.detail,
            self.body,
        ])?;
        Ok(true)
    }
}
