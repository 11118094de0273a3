//! The outbox of messages: each is on disk before it is sent, and is sent until its receiver takes it.
//!
//! A change of a stage or of an alert becomes one message for each receiver that wants it, in the transaction that marks the change as told. So
//! no change is lost, and none is told twice under another id; an attempt whose answer was lost is repeated under the same.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_database::{Connection, OptionalExtension, Row, Transaction, params};
use weir_fault::{self as fault, Point};
use weir_ledger::LedgerError;

use crate::alert::state::{AlertChange, CHANGE_COLUMNS, read_change};
use crate::message::{self, Context};
use crate::receiver::Receiver;
use crate::view::{Transition, transition};

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

/// Makes messages of changes that nobody was told of. Returns whether there may be more.
pub fn take(
    db: &mut Connection,
    ledger: &str,
    receivers: &[Receiver],
    context: &Context,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let tx = db.transaction()?;
    if pending(&tx)? >= PENDING_MAX {
        return Ok(false);
    }
    let stages = untold_transitions(&tx)?;
    if fault::hit(Point::ToldApart) {
        tx.execute_batch("UPDATE budget_transition SET told = 1; COMMIT; BEGIN")?;
    }
    for change in &stages {
        let of = |name: &str| Stage::from_name(name).unwrap_or_default();
        let wants =
            |receiver: &&Receiver| receiver.wants(&change.subject, &change.budget, of(&change.was), of(&change.stage));
        for receiver in receivers.iter().filter(wants) {
            let body = message::of_transition(&receiver.target, change, context).to_string();
            let id = match fault::hit(Point::NoticeUnderNewId) {
                true => format!("msg_{ledger}_{}_{}_{}", change.id, receiver.name, now.as_millis()),
                false => format!("msg_{ledger}_{}_{}", change.id, receiver.name),
            };
            insert(&tx, &id, receiver, Some(change.id), &body, now)?;
        }
        if fault::hit(Point::NoticeUnderNewId) {
            tx.execute_batch("COMMIT; BEGIN")?;
        }
        tx.prepare_cached("UPDATE budget_transition SET told = 1 WHERE id = ?1")?.execute([change.id])?;
    }
    let alerts = untold_alerts(&tx)?;
    for change in &alerts {
        let wants =
            |receiver: &&Receiver| receiver.wants_alert(&change.rule, change.tenant.as_deref(), change.severity);
        for receiver in receivers.iter().filter(wants) {
            let body = message::of_alert(&receiver.target, change, context).to_string();
            let id = format!("msg_{ledger}_alert{}_{}", change.id, receiver.name);
            insert(&tx, &id, receiver, None, &body, now)?;
        }
        tx.prepare_cached("UPDATE alert_change SET told = 1 WHERE id = ?1")?.execute([change.id])?;
    }
    tx.prepare_cached("DELETE FROM notice WHERE state <> 'pending' AND at < ?1")?
        .execute([now.as_millis().saturating_sub(KEPT_MS)])?;
    tx.commit()?;
    Ok(stages.len() == STEP as usize || alerts.len() == STEP as usize)
}

/// The next changes of budgets that nobody was told of.
pub fn untold_transitions(db: &Connection) -> Result<Vec<Transition>, LedgerError> {
    let sql =
        "SELECT id, at, position, subject, budget, period_start, period_end, was, stage, used, amount, unit, mode,
               cause, why FROM budget_transition WHERE told = 0 ORDER BY id LIMIT ?1";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([STEP], transition)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The next changes of alerts that nobody was told of.
pub fn untold_alerts(db: &Connection) -> Result<Vec<AlertChange>, LedgerError> {
    let sql = format!("SELECT {CHANGE_COLUMNS} FROM alert_change WHERE told = 0 ORDER BY id LIMIT ?1");
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([STEP], read_change)?;
    Ok(rows.collect::<Result<_, _>>()?)
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
    let sql = "INSERT INTO notice(id, receiver, at, transition, body, state, next_at)
               VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?3) ON CONFLICT DO NOTHING";
    db.prepare_cached(sql)?.execute(params![id, receiver.name, now.as_millis(), transition, body])?;
    Ok(())
}

/// How many messages wait.
pub fn pending(db: &Connection) -> Result<u64, LedgerError> {
    let sql = "SELECT count(*) FROM notice INDEXED BY notice_pending WHERE state = 'pending'";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Whether changes wait to become messages.
pub fn has_untold(db: &Connection) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM budget_transition WHERE told = 0)
               OR EXISTS (SELECT 1 FROM alert_change WHERE told = 0)";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
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

fn read(row: &Row<'_>) -> Result<Notice, weir_database::Error> {
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
