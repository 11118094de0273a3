//! Tells which events of the log were counted, as the ledger judged them: repeats, conflicts and events that wait are not. Where the
//! provider keeps an answer, only the first event that tells its usage counts it.
use std::borrow::Cow;
use std::collections::HashSet;

use weir_contract::{EventId, TenantId, Usage, UsageData};
use weir_database::Connection;

use super::LedgerError;
use crate::query::{LedgerReader, LogRef};
use crate::validate::told;

/// A judge of events that are read from the log again.
#[derive(Debug)]
pub struct Counted {
    waiting: HashSet<EventId>,
    quarantined: HashSet<LogRef>,
    /// Ids that are no longer remembered, and were met since: further ones are repeats.
    forgotten: HashSet<EventId>,
    /// The same of answers that providers keep, by tenant.
    told: HashSet<(TenantId, String)>,
}

impl Counted {
    /// Reads what is not counted yet, or refused.
    pub fn open(ledger: &LedgerReader) -> Result<Self, LedgerError> {
        let db = ledger.connection();
        let (waiting, quarantined) = (waiting(db)?, quarantined(db)?);
        Ok(Counted { waiting, quarantined, forgotten: HashSet::new(), told: HashSet::new() })
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

    /// The data of a counted event as the ledger counted it: without usage where an earlier request told that of the same answer.
    pub fn data<'d>(
        &mut self,
        (id, tenant): (EventId, &TenantId),
        data: &'d UsageData<'d>,
        ledger: &LedgerReader,
    ) -> Result<Cow<'d, UsageData<'d>>, LedgerError> {
        let Some(answer) = told(data) else { return Ok(Cow::Borrowed(data)) };
        let is_repeat = match ledger.is_told_before((tenant, answer), id)? {
            Some(is_repeat) => is_repeat,
            None => !self.told.insert((tenant.clone(), answer.to_owned())),
        };
        if !is_repeat {
            return Ok(Cow::Borrowed(data));
        }
        Ok(Cow::Owned(without_usage(data)))
    }

    /// Returns true if the item at this position is in quarantine.
    pub fn is_quarantined(&self, log_ref: LogRef) -> bool {
        self.quarantined.contains(&log_ref)
    }
}

/// The data of an event whose usage was counted with an earlier one.
pub fn without_usage<'d>(data: &UsageData<'d>) -> UsageData<'d> {
    UsageData { usage: Usage::default(), ..data.clone() }
}

/// Returns true if the usage of an event was counted with an earlier one that told the same answer. An event of which that is no
/// longer known is not.
pub fn is_told_before(
    (id, tenant): (EventId, &TenantId),
    data: &UsageData<'_>,
    ledger: &LedgerReader,
) -> Result<bool, LedgerError> {
    let Some(answer) = told(data) else { return Ok(false) };
    Ok(ledger.is_told_before((tenant, answer), id)?.unwrap_or(false))
}

fn waiting(db: &Connection) -> Result<HashSet<EventId>, LedgerError> {
    let mut select = db.prepare("SELECT body FROM early WHERE reading = 0")?;
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
