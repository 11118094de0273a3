//! Keeps error reports in the ledger: counts each once, and marks the rows that it names.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::{Connection, params};

use super::super::wire::shorten;
use super::{Data, ErrorType, Outcome};
use weir_ledger::{LedgerError, LedgerFailure, audit};

/// How long an event's id is remembered, in milliseconds: ten times as long as Stripe repeats the event. A recorded
/// call that is played back later is refused after [`super::signature::TOLERANCE_SECS`].
const REMEMBERED_MS: u64 = 30 * 24 * HOUR_MS;
/// The most pairs of meter and code kept. The names come from the account, where others may send, too.
const ERRORS_MAX: u32 = 1_000;
/// The most suspect times kept; the oldest are dropped first.
const SUSPECTS_MAX: u32 = 10_000;
/// The largest count of one report, so that sums cannot overflow.
const ERROR_COUNT_MAX: i64 = 1_000_000_000;
/// The most reports that are shown as unread.
const UNREAD_MAX: u32 = 1_000;
/// The longest reason for acknowledging, in characters.
const WHY_MAX_CHARS: usize = 500;
/// The code for errors that a report counts without naming their code.
const WITHOUT_CODE: &str = "without_code";
/// The most bytes of a code or name that are kept.
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
    /// How many of them since a person acknowledged them last.
    #[serde(default)]
    pub unseen: u64,
    /// When Stripe first reported it.
    pub first_at: Timestamp,
    /// When they were last reported.
    pub last_at: Timestamp,
    /// The provider's description.
    pub message: String,
}

/// Body of `POST /v1/stripe/errors/seen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenRequest {
    /// What was done about them, in at most 500 characters.
    pub why: String,
}

/// Answer to `POST /v1/stripe/errors/seen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenView {
    /// Errors that are acknowledged now.
    pub errors: u64,
    /// Reports that could not be read, and are acknowledged.
    pub reports: u64,
}

/// Why errors were not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// The request does not say what was done.
    #[error("say what was done, in at most {WHY_MAX_CHARS} characters")]
    Why,
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<weir_database::Error> for SeenError {
    fn from(error: weir_database::Error) -> Self {
        SeenError::Ledger(error.into())
    }
}

impl LedgerFailure for SeenError {
    fn ledger(&self) -> Option<&LedgerError> {
        match self {
            SeenError::Ledger(error) => Some(error),
            SeenError::Why => None,
        }
    }
}

/// A report that could not be read so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadReport {
    /// The event's name.
    pub id: String,
    /// When it was tried last.
    pub at: Timestamp,
    /// What was wrong.
    pub detail: String,
}

/// Whether an event was taken in before.
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
    tx.execute("DELETE FROM unread_report WHERE id = ?1", [id])?;
    let event_name = word(event_name);
    let without_code = (data.without_code() > 0).then(|| ErrorType {
        code: WITHOUT_CODE.to_owned(),
        error_count: data.without_code(),
        sample_errors: Vec::new(),
    });
    for kind in data.reason.error_types.iter().chain(&without_code) {
        let (code, errors) =
            (word(&kind.code), i64::try_from(kind.error_count).unwrap_or(i64::MAX).min(ERROR_COUNT_MAX));
        let message =
            kind.sample_errors.first().map_or(&data.developer_message_summary, |sample| &sample.error_message);
        tx.execute(
            "INSERT INTO provider_error(event_name, code, errors, unseen, first_at, last_at, message)
             SELECT ?1,?2,?3,?3,?4,?4,?5
             WHERE (SELECT count(*) FROM provider_error) < ?6
               OR EXISTS (SELECT 1 FROM provider_error WHERE event_name = ?1 AND code = ?2)
             ON CONFLICT (event_name, code) DO UPDATE SET errors = provider_error.errors + excluded.errors,
               unseen = provider_error.unseen + excluded.unseen, last_at = excluded.last_at, message = excluded.message",
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
         ON CONFLICT (event_name, from_at, to_at, code) DO UPDATE SET compared_at = NULL",
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
        "SELECT event_name, code, errors, first_at, last_at, message, unseen FROM provider_error ORDER BY last_at DESC, 1, 2",
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
            unseen: number(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Records that a report could not be read. It is shown until Stripe has sent it again and weir has read it.
pub fn note_unread(db: &Connection, id: &str, detail: &str, now: Timestamp) -> Result<(), LedgerError> {
    let row = params![word(id), now.as_millis(), shorten(detail), UNREAD_MAX];
    db.execute(
        "INSERT INTO unread_report(id, at, detail) SELECT ?1, ?2, ?3
         WHERE (SELECT count(*) FROM unread_report) < ?4 OR EXISTS (SELECT 1 FROM unread_report WHERE id = ?1)
         ON CONFLICT (id) DO UPDATE SET at = excluded.at, detail = excluded.detail",
        row,
    )?;
    Ok(())
}

/// A change of subscriptions was read after all.
pub fn note_read(db: &Connection, id: &str) -> Result<(), LedgerError> {
    db.execute("DELETE FROM unread_report WHERE id = ?1", [word(id)])?;
    Ok(())
}

/// Reports that could not be read, the latest first.
pub fn unread(db: &Connection) -> Result<Vec<UnreadReport>, LedgerError> {
    let mut select = db.prepare_cached("SELECT id, at, detail FROM unread_report ORDER BY at DESC, id")?;
    let rows = select.query_map([], |row| {
        let at = Timestamp::from_millis(row.get::<_, i64>(1)?.unsigned_abs());
        Ok(UnreadReport { id: row.get(0)?, at, detail: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Acknowledges all errors, and all reports that could not be read, and notes who did and why.
pub fn acknowledge(db: &mut Connection, why: &str, who: &str, now: Timestamp) -> Result<SeenView, SeenError> {
    if why.trim().is_empty() || why.chars().count() > WHY_MAX_CHARS {
        return Err(SeenError::Why);
    }
    let tx = db.transaction()?;
    let errors: i64 = tx.query_row("SELECT coalesce(sum(unseen), 0) FROM provider_error", [], |row| row.get(0))?;
    tx.execute("UPDATE provider_error SET unseen = 0 WHERE unseen > 0", [])?;
    let reports = tx.execute("DELETE FROM unread_report", [])? as u64;
    audit::note(&tx, now, who, "stripe seen", &format!("{errors} errors, {reports} reports: {why}"))?;
    tx.commit()?;
    Ok(SeenView { errors: errors.unsigned_abs(), reports })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::{Reason, SampleError};
    use weir_database::testing::place;
    use weir_ledger::SqliteLedger;
    use weir_ledger::meters::{self, Meters};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn ledger() -> (tempfile::TempDir, SqliteLedger) {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let ledger = SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "log", meters).expect("a ledger");
        (dir, ledger)
    }

    fn data(counted: u64, named: &[(&str, u64)]) -> Data {
        let error_types = named.iter().map(|(code, error_count)| ErrorType {
            code: (*code).to_owned(),
            error_count: *error_count,
            sample_errors: vec![SampleError::default()],
        });
        let reason = Reason { error_count: counted, error_types: error_types.collect() };
        Data { reason, ..Data::default() }
    }

    #[test]
    fn errors_are_unseen_until_they_are_acknowledged_and_new_ones_are_again() {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        let unseen = |db: &Connection| {
            errors(db).expect("read").iter().map(|error| (error.errors, error.unseen)).collect::<Vec<_>>()
        };
        take(db, "evt_1", "m", &data(13, &[("no_meter", 13)]), NOW).expect("taken");
        assert_eq!(unseen(db), [(13, 13)]);
        assert!(acknowledge(db, " ", "ann", NOW).is_err(), "for a reason");
        let seen = acknowledge(db, "credited", "ann", NOW).expect("acknowledged");
        assert_eq!((seen, unseen(db)), (SeenView { errors: 13, reports: 0 }, vec![(13, 0)]));
        take(db, "evt_2", "m", &data(2, &[("no_meter", 2)]), NOW).expect("taken");
        assert_eq!(unseen(db), [(15, 2)]);
        let detail: String =
            db.query_row("SELECT who || ': ' || detail FROM audit", [], |row| row.get(0)).expect("noted");
        assert_eq!(detail, "ann: 13 errors, 0 reports: credited");
    }

    #[test]
    fn errors_that_are_counted_and_stand_under_no_code_count_all_the_same() {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        take(db, "evt_1", "m", &data(13, &[("no_meter", 3)]), NOW).expect("taken");
        let found: Vec<_> = errors(db).expect("read").into_iter().map(|error| (error.code, error.errors)).collect();
        assert_eq!(found, [("no_meter".to_owned(), 3), ("without_code".to_owned(), 10)]);
    }

    #[test]
    fn a_report_is_unread_until_it_is_taken() {
        let (_dir, mut ledger) = ledger();
        let db = ledger.db();
        for _ in 0..2 {
            note_unread(db, "evt_1", "no answer", NOW).expect("noted");
        }
        assert_eq!(unread(db).expect("read").len(), 1);
        take(db, "evt_1", "m", &data(1, &[("no_meter", 1)]), NOW).expect("taken");
        assert_eq!(unread(db).expect("read"), []);
        for number in 0..=UNREAD_MAX {
            note_unread(db, &format!("evt_{number}"), "no answer", NOW).expect("noted");
        }
        assert_eq!(unread(db).expect("read").len(), UNREAD_MAX as usize, "bounded");
    }
}
