//! The outbox of messages: each is on disk before it is sent, and is sent until its receiver takes it.
//!
//! A change of a stage becomes one message for each receiver that wants it, in the transaction that marks the change as told. So
//! no change is lost, and none is told twice under another id; an attempt whose answer was lost is repeated under the same.
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_ledger::LedgerError;

use crate::findings::{self, Finding};
use crate::message;
use crate::receiver::{Receiver, Target};
use crate::view::transition;

/// The most messages that wait. Further changes wait in their own table until there is room.
pub(crate) const PENDING_MAX: u64 = 10_000;
/// The most changes that become messages in one transaction.
const STEP: u32 = 200;
/// The pauses after failed attempts, in milliseconds; after the last one a message is given up. Some two days in all.
const PAUSES_MS: [u64; 11] =
    [5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000, 43_200_000, 86_400_000];
/// How long messages that are done are kept, in milliseconds: 90 days.
const KEPT_MS: u64 = 90 * 24 * 3_600 * 1_000;
/// The longest error that is kept, in characters.
const ERROR_MAX_CHARS: usize = 300;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// Its id, the same at each attempt.
    pub id: String,
    /// The receiver.
    pub receiver: String,
    /// When it was made.
    pub at: Timestamp,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is sent next, if it is pending.
    pub next_at: Timestamp,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is sent.
    pub body: String,
}

/// Makes messages of changes and of critical findings that nobody was told of. Returns whether there may be more.
pub fn take(db: &mut Connection, ledger: &str, receivers: &[Receiver], now: Timestamp) -> Result<bool, LedgerError> {
    let tx = db.transaction()?;
    if pending(&tx)? >= PENDING_MAX {
        return Ok(false);
    }
    let changes = {
        let sql =
            "SELECT id, at, position, subject, budget, period_start, period_end, was, stage, used, amount, unit, mode
                   FROM budget_transition WHERE told = 0 ORDER BY id LIMIT ?1";
        let mut select = tx.prepare_cached(sql)?;
        select.query_map([STEP], transition)?.collect::<Result<Vec<_>, _>>()?
    };
    for change in &changes {
        let of = |name: &str| Stage::from_name(name).unwrap_or_default();
        let wants =
            |receiver: &&Receiver| receiver.wants(&change.subject, &change.budget, of(&change.was), of(&change.stage));
        for receiver in receivers.iter().filter(wants) {
            let body = message::of_transition(&receiver.target, change).to_string();
            let id = format!("msg_{ledger}_{}_{}", change.id, receiver.name);
            insert(&tx, &id, receiver, Some(change.id), &body, now)?;
        }
        tx.prepare_cached("UPDATE budget_transition SET told = 1 WHERE id = ?1")?.execute([change.id])?;
    }
    take_findings(&tx, ledger, receivers, now)?;
    tx.prepare_cached("DELETE FROM notice WHERE state <> 'pending' AND at < ?1")?
        .execute([now.as_millis().saturating_sub(KEPT_MS)])?;
    tx.commit()?;
    Ok(changes.len() == STEP as usize)
}

/// Makes one message of the findings that nobody was told of, for each receiver that wants them.
fn take_findings(
    tx: &Transaction<'_>,
    ledger: &str,
    receivers: &[Receiver],
    now: Timestamp,
) -> Result<(), LedgerError> {
    if !findings::are_due(tx, now)? {
        return Ok(());
    }
    let untold = findings::untold(tx)?;
    let Some(last) = untold.last().map(|finding| finding.id) else { return Ok(()) };
    for receiver in receivers {
        let is_for = |finding: &&Finding| finding.is_fresh(now) && receiver.wants_findings_of(&finding.tenant);
        let findings: Vec<&Finding> = untold.iter().filter(is_for).collect();
        if !findings.is_empty() {
            let body = message::of_findings(&receiver.target, &findings, now).to_string();
            insert(tx, &format!("msg_{ledger}_findings_{last}_{}", receiver.name), receiver, None, &body, now)?;
        }
    }
    findings::mark_told(tx, last)
}

/// Makes a test for a receiver, and returns its id.
pub fn test(db: &Connection, ledger: &str, receiver: &Receiver, now: Timestamp) -> Result<String, LedgerError> {
    let id = format!("msg_{ledger}_test_{}_{}", now.as_millis(), receiver.name);
    let body = message::of_test(&receiver.target, now).to_string();
    insert(db, &id, receiver, None, &body, now)?;
    Ok(id)
}

fn insert(
    db: &Connection,
    id: &str,
    receiver: &Receiver,
    transition: Option<i64>,
    body: &str,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let sql = "INSERT OR IGNORE INTO notice(id, receiver, at, transition, body, state, next_at)
               VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?3)";
    db.prepare_cached(sql)?.execute(params![id, receiver.name, now.as_millis(), transition, body])?;
    Ok(())
}

/// How many messages wait.
pub fn pending(db: &Connection) -> Result<u64, LedgerError> {
    let sql = "SELECT count(*) FROM notice INDEXED BY notice_pending WHERE state = 'pending'";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Whether changes or findings wait to become messages now.
pub fn has_untold(db: &Connection, now: Timestamp) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM budget_transition WHERE told = 0)";
    let changes: bool = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(changes || findings::are_due(db, now)?)
}

/// The messages that are due, the oldest first.
pub fn due(db: &Connection, now: Timestamp, limit: u32) -> Result<Vec<Notice>, LedgerError> {
    let sql = "SELECT id, receiver, at, state, attempts, next_at, error, body FROM notice
               WHERE state = 'pending' AND next_at <= ?1 ORDER BY next_at, id LIMIT ?2";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map(params![now.as_millis(), limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The latest messages, at most `limit`.
pub fn history(db: &Connection, limit: u32) -> Result<Vec<Notice>, LedgerError> {
    let sql =
        "SELECT id, receiver, at, state, attempts, next_at, error, body FROM notice ORDER BY at DESC, id LIMIT ?1";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One message.
pub fn get(db: &Connection, id: &str) -> Result<Option<Notice>, LedgerError> {
    let sql = "SELECT id, receiver, at, state, attempts, next_at, error, body FROM notice WHERE id = ?1";
    Ok(db.prepare_cached(sql)?.query_row([id], read).optional()?)
}

fn read(row: &Row<'_>) -> Result<Notice, rusqlite::Error> {
    let millis = |column| row.get::<_, u64>(column).map(Timestamp::from_millis);
    Ok(Notice {
        id: row.get(0)?,
        receiver: row.get(1)?,
        at: millis(2)?,
        state: row.get(3)?,
        attempts: row.get(4)?,
        next_at: millis(5)?,
        error: row.get(6)?,
        body: row.get(7)?,
    })
}

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver took the message.
    Delivered,
    /// It did not, for this reason.
    Failed(String),
    /// It says that it takes no more: 410, or the receiver is no longer configured.
    Gone(String),
}

/// Notes the result of an attempt.
pub fn note(db: &mut Connection, id: &str, attempt: &Attempt, now: Timestamp) -> Result<(), LedgerError> {
    let tx = db.transaction()?;
    settle(&tx, id, attempt, now)?;
    Ok(tx.commit()?)
}

fn settle(tx: &Transaction<'_>, id: &str, attempt: &Attempt, now: Timestamp) -> Result<(), LedgerError> {
    let sql = "SELECT attempts FROM notice WHERE id = ?1";
    let Some(attempts) = tx.prepare_cached(sql)?.query_row([id], |row| row.get::<_, usize>(0)).optional()? else {
        return Ok(());
    };
    let short = |error: &str| error.chars().take(ERROR_MAX_CHARS).collect::<String>();
    let (state, pause_ms, error) = match attempt {
        Attempt::Delivered => ("delivered", 0, None),
        Attempt::Gone(why) => ("failed", 0, Some(short(why))),
        Attempt::Failed(why) => match PAUSES_MS.get(attempts) {
            Some(pause_ms) => ("pending", *pause_ms, Some(short(why))),
            None => ("failed", 0, Some(short(why))),
        },
    };
    let sql = "UPDATE notice SET state = ?2, attempts = attempts + 1, next_at = ?3, error = ?4 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, state, now.as_millis() + pause_ms, error])?;
    Ok(())
}

/// The form of a receiver's messages, for lists.
pub fn form(target: &Target) -> &'static str {
    match target {
        Target::Webhook(_) => "webhook",
        Target::Slack(_) => "slack",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{AGE_MAX_MS, DISTANCE_MS};

    const NOW: u64 = 1_800_000_000_000;

    fn receivers(text: &str) -> Vec<Receiver> {
        crate::receiver::compile(&serde_saphyr::from_str(text).expect("the shape")).expect("receivers")
    }

    fn ledger() -> Connection {
        let db = Connection::open_in_memory().expect("a database");
        for step in [
            // What a migration before them has made, as far as they need it.
            "CREATE TABLE cost(tenant TEXT, window_start INTEGER)",
            include_str!("../../ledger/src/migrations/10_security.sql"),
            include_str!("../../ledger/src/migrations/15_budgets.sql"),
            include_str!("../../ledger/src/migrations/17_told_findings.sql"),
        ] {
            db.execute_batch(step).expect("a migration");
        }
        db
    }

    fn find(db: &Connection, minute: u64, tenant: &str, told: bool) {
        let sql = "INSERT INTO security(minute, tenant, kind, severity, operation, route, count, owners, samples, told)
                   VALUES (?1, ?2, 'foreign_record', 'critical', 'points.query', '', 2, '[\"globex\"]', '[]', ?3)";
        db.execute(sql, params![minute, tenant, told]).expect("a finding");
    }

    fn told(db: &mut Connection, receivers: &[Receiver], at: u64) -> Vec<(String, String)> {
        let now = Timestamp::from_millis(at);
        let before = history(db, 100).expect("messages").len();
        if has_untold(db, now).expect("an answer") {
            take(db, "l", receivers, now).expect("messages");
        }
        let all = history(db, 100).expect("messages");
        let new = all.len() - before;
        all.into_iter().take(new).map(|notice| (notice.receiver, notice.body)).collect()
    }

    #[test]
    fn findings_are_told_once_together_and_not_too_often() {
        let (mut db, all) = (ledger(), receivers("receivers: [{name: a, slack: {env: S}}]"));
        find(&db, NOW, "acme", false);
        find(&db, NOW, "hooli", false);
        find(&db, NOW, "initech", true);
        let first = told(&mut db, &all, NOW);
        assert_eq!(first.len(), 1);
        assert!(first[0].1.contains("acme") && first[0].1.contains("hooli") && !first[0].1.contains("initech"));
        find(&db, NOW + 60_000, "acme", false);
        assert!(told(&mut db, &all, NOW + 60_000).is_empty(), "too soon after the last");
        assert_eq!(told(&mut db, &all, NOW + DISTANCE_MS + 1).len(), 1);
        assert!(told(&mut db, &all, NOW + 2 * DISTANCE_MS + 2).is_empty(), "all were told");
    }

    #[test]
    fn a_receiver_gets_what_it_asks_for_and_nobody_old_findings() {
        let text =
            "receivers: [{name: a, slack: {env: S}, tenants: [acme]}, {name: b, slack: {env: S}, findings: false}]";
        let (mut db, some) = (ledger(), receivers(text));
        find(&db, NOW - AGE_MAX_MS - 1, "acme", false);
        assert!(told(&mut db, &some, NOW).is_empty());
        find(&db, NOW, "hooli", false);
        find(&db, NOW, "acme", false);
        let messages = told(&mut db, &some, NOW);
        assert_eq!(messages.iter().map(|(receiver, _)| receiver.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(!messages[0].1.contains("hooli"));
    }
}
