//! Changes that weir makes by itself, as the audit shows them beside the acts of people.
use weir_database::Connection;
use weir_ledger::LedgerError;
use weir_ledger::view::AuditEntry;

use crate::cause::Cause;
use crate::raise::AUTOMATIC;
use crate::view::{Transition, history};

/// The latest changes of stages and amounts that no person made, the latest first, at most as many as [`history`] gives.
pub fn automatic(db: &Connection, limit: u32) -> Result<Vec<AuditEntry>, LedgerError> {
    let changes = history(db, None, None, None, limit)?;
    // What a person decided stands in the audit already; the change of a stage that follows does not.
    let is_news = |change: &&Transition| change.was != change.stage || change.cause != Cause::Person;
    Ok(changes.iter().filter(is_news).map(entry).collect())
}

fn entry(change: &Transition) -> AuditEntry {
    let Transition { budget, subject, was, stage, used, amount, unit, cause, why, .. } = change;
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    let observed = if change.mode == "observe" { ", observed only" } else { "" };
    let detail =
        format!("{budget} of {subject}: {was} to {stage}{observed}, {used} of {amount} {unit}; {}{why}", cause.words());
    AuditEntry { at: change.at, who: AUTOMATIC.to_owned(), act: "budgets.stage".to_owned(), detail }
}
