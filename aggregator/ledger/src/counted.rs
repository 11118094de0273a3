//! Tells which events of the log were counted, as the ledger judged them: repeats, conflicts and events that wait are not.
use std::collections::HashSet;

use rusqlite::Connection;
use weir_contract::EventId;

use super::LedgerError;
use crate::query::{LedgerReader, LogRef};

/// A judge of events that are read from the log again.
#[derive(Debug)]
pub struct Counted {
    waiting: HashSet<EventId>,
    quarantined: HashSet<LogRef>,
    /// Ids that are no longer remembered, and were met since: further ones are repeats.
    forgotten: HashSet<EventId>,
}

impl Counted {
    /// Reads what is not counted yet, or refused.
    pub fn open(ledger: &LedgerReader) -> Result<Self, LedgerError> {
        let db = ledger.connection();
        Ok(Counted { waiting: waiting(db)?, quarantined: quarantined(db)?, forgotten: HashSet::new() })
    }

    /// Returns true if the ledger counted the event at this position of the log.
    pub fn has(&mut self, id: EventId, log_ref: LogRef, ledger: &LedgerReader) -> Result<bool, LedgerError> {
        if self.waiting.contains(&id) || self.is_quarantined(log_ref) {
            return Ok(false);
        }
        Ok(match ledger.find(id)? {
            Some(first) => first == log_ref,
            None => self.forgotten.insert(id),
        })
    }

    /// Returns true if the item at this position is in quarantine.
    pub fn is_quarantined(&self, log_ref: LogRef) -> bool {
        self.quarantined.contains(&log_ref)
    }
}

fn waiting(db: &Connection) -> Result<HashSet<EventId>, LedgerError> {
    let mut select = db.prepare("SELECT body FROM early WHERE NOT reading")?;
    let bodies = select.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let mut ids = HashSet::new();
    for body in bodies {
        if let Ok(event) = weir_contract::Event::parse(&body?) {
            ids.insert(event.id);
        }
    }
    Ok(ids)
}

/// Positions of quarantined events; at most as many as the quarantine keeps.
fn quarantined(db: &Connection) -> Result<HashSet<LogRef>, LedgerError> {
    let mut select = db.prepare("SELECT position, item FROM quarantine")?;
    let places = select.query_map([], |row| {
        let (position, item): (u64, u64) = (row.get(0)?, row.get(1)?);
        Ok(LogRef { position, item: usize::try_from(item).unwrap_or(usize::MAX) })
    })?;
    Ok(places.collect::<Result<_, _>>()?)
}
