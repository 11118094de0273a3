//! Keeps error reports in the ledger: counts each once, and marks the rows that it names.
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;

use super::super::wire::shorten;
use super::{Data, Outcome};
use weir_ledger::LedgerError;

/// How long an event's id is remembered, in milliseconds: ten times as long as Stripe repeats the event. A recorded
/// call that is played back later is refused after [`super::signature::TOLERANCE_SECS`].
const REMEMBERED_MS: u64 = 30 * 24 * HOUR_MS;
/// The most pairs of meter and code kept. The names come from the account, where others may send, too.
const ERRORS_MAX: u32 = 1_000;
/// The most suspect times kept; the oldest are dropped first.
const SUSPECTS_MAX: u32 = 10_000;
/// The largest count of one report, so that sums cannot overflow.
const ERROR_COUNT_MAX: i64 = 1_000_000_000;
/// The most bytes of a code or name that are stored.
const WORD_MAX_BYTES: usize = 100;

/// Errors of one meter and code, as Stripe reported them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderError {
    /// The provider's meter; empty if it has none of that name.
    pub event_name: String,
    /// The provider's code.
    pub code: String,
    /// The number of events.
    pub errors: u64,
    /// When they were first reported.
    pub first_at: Timestamp,
    /// When they were last reported.
    pub last_at: Timestamp,
    /// The provider's description.
    pub message: String,
}

/// Returns true if the event was stored before. Recognises Stripe's repeats of a webhook call.
pub fn is_known(db: &Connection, id: &str) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM provider_event WHERE id = ?1)";
    Ok(db.query_row(sql, [id], |row| row.get(0))?)
}

/// Stores the report with this id, about a meter. A repeat changes nothing.
pub fn take(
    db: &mut Connection,
    id: &str,
    event_name: &str,
    data: &Data,
    now: Timestamp,
) -> Result<Outcome, LedgerError> {
    let tx = db.transaction()?;
    let at = now.as_millis();
    tx.execute("DELETE FROM provider_event WHERE at < ?1", [now.as_millis().saturating_sub(REMEMBERED_MS)])?;
    if tx.execute("INSERT INTO provider_event(id, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING", params![id, at])? == 0 {
        return Ok(Outcome::Duplicate);
    }
    let event_name = word(event_name);
    for kind in &data.reason.error_types {
        let (code, errors) =
            (word(&kind.code), i64::try_from(kind.error_count).unwrap_or(i64::MAX).min(ERROR_COUNT_MAX));
        let message =
            kind.sample_errors.first().map_or(&data.developer_message_summary, |sample| &sample.error_message);
        tx.execute(
            "INSERT INTO provider_error(event_name, code, errors, first_at, last_at, message) SELECT ?1,?2,?3,?4,?4,?5
             WHERE (SELECT count(*) FROM provider_error) < ?6
               OR EXISTS (SELECT 1 FROM provider_error WHERE event_name = ?1 AND code = ?2)
             ON CONFLICT DO UPDATE SET errors = errors + excluded.errors,
               last_at = excluded.last_at, message = excluded.message",
            params![event_name, code, errors, at, shorten(message), ERRORS_MAX],
        )?;
        for sample in &kind.sample_errors {
            // Others may send on the account: only weir's own rows are marked.
            tx.execute(
                "INSERT INTO refused_later(identifier, code, at)
                 SELECT identifier, ?2, ?3 FROM outbox WHERE identifier = ?1 ON CONFLICT DO NOTHING",
                params![sample.request.identifier, code, at],
            )?;
        }
        if kind.error_count > kind.sample_errors.len() as u64 {
            suspect(&tx, &event_name, &code, data, now)?;
        }
    }
    tx.commit()?;
    Ok(Outcome::Taken)
}

/// Marks a time as suspect: the report counts more errors than it names, so any row accepted then may be wrong.
fn suspect(db: &Connection, event_name: &str, code: &str, data: &Data, now: Timestamp) -> Result<(), LedgerError> {
    let to = data.validation_end.unwrap_or(now);
    // Stripe checks events after it accepted them, so the suspect time starts an hour earlier.
    let from = data.validation_start.unwrap_or(now).as_millis().saturating_sub(HOUR_MS);
    db.execute(
        "INSERT INTO suspect(event_name, from_at, to_at, code) VALUES (?1,?2,?3,?4)
         ON CONFLICT DO UPDATE SET compared_at = NULL",
        params![event_name, from, to.as_millis(), code],
    )?;
    db.execute(
        "DELETE FROM suspect WHERE to_at < (SELECT to_at FROM suspect ORDER BY to_at DESC LIMIT 1 OFFSET ?1)",
        [SUSPECTS_MAX],
    )?;
    Ok(())
}

fn word(text: &str) -> String {
    let short = shorten(text);
    short.chars().take(WORD_MAX_BYTES).collect()
}

/// All errors by meter and code, the latest first.
pub fn errors(db: &Connection) -> Result<Vec<ProviderError>, LedgerError> {
    let mut select = db.prepare(
        "SELECT event_name, code, errors, first_at, last_at, message FROM provider_error ORDER BY last_at DESC, 1, 2",
    )?;
    let rows = select.query_map([], |row| {
        let number = |column| row.get::<_, u64>(column);
        Ok(ProviderError {
            event_name: row.get(0)?,
            code: row.get(1)?,
            errors: number(2)?,
            first_at: Timestamp::from_millis(number(3)?),
            last_at: Timestamp::from_millis(number(4)?),
            message: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
