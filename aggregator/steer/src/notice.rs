//! The outbox of messages: each is on disk before it is sent, and is sent until its receiver takes it.
//!
//! A change of a stage or of an alert becomes one message for each receiver that wants it, in the transaction that marks the change as told. So
//! no change is lost, and none is told twice under another id; an attempt whose answer was lost is repeated under the same. [`held`] keeps back
//! changes of budgets that a silence covers, [`outbox`] says which message is sent next.
pub mod held;
pub mod outbox;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Row, Transaction, params};
use weir_fault::{self as fault, Point};
use weir_ledger::LedgerError;

use crate::alert::file::Quantity;
use crate::alert::state::{AlertChange, CHANGE_COLUMNS, read_change};
use crate::message::{self, Context};
use crate::receiver::Receiver;
use crate::view::Transition;

/// The most messages that wait. Further changes wait in their own table until there is room.
pub(crate) const PENDING_MAX: u64 = 10_000;
/// The most changes that become messages in one transaction.
const STEP: u32 = 200;
/// How long messages that are done are kept, in milliseconds: 90 days.
const KEPT_MS: u64 = 90 * 24 * 3_600 * 1_000;

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
    let stages = held::plan(&tx, now)?;
    if fault::hit(Point::ToldApart) {
        tx.execute_batch("UPDATE budget_transition SET told = 1; COMMIT; BEGIN")?;
    }
    for change in &stages.told {
        tell_stage(&tx, ledger, receivers, change, context, now)?;
    }
    if fault::hit(Point::NoticeUnderNewId) {
        tx.execute_batch("COMMIT; BEGIN")?;
    }
    stages.note(&tx)?;
    let alerts = untold_alerts(&tx)?;
    for change in &alerts {
        tell_alert(&tx, ledger, receivers, change, context, now)?;
        tx.prepare_cached("UPDATE alert_change SET told = 1 WHERE id = ?1")?.execute([change.id])?;
    }
    let before = now.as_millis().saturating_sub(KEPT_MS);
    tx.prepare_cached("DELETE FROM notice WHERE state <> 'pending' AND at < ?1")?.execute([before])?;
    tx.prepare_cached("DELETE FROM notice_failing WHERE at < ?1")?.execute([before])?;
    tx.commit()?;
    Ok(stages.is_full || alerts.len() == STEP as usize)
}

/// Makes the messages of a change of a stage.
fn tell_stage(
    tx: &Transaction<'_>,
    ledger: &str,
    receivers: &[Receiver],
    change: &Transition,
    context: &Context,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let topic = topic_of_stage(change);
    for receiver in receivers.iter().filter(|receiver| receiver.wants(change)) {
        let body = message::of_transition(receiver, change, context).to_string();
        let id = match fault::hit(Point::NoticeUnderNewId) {
            true => format!("msg_{ledger}_{}_{}_{}", change.id, receiver.name, now.as_millis()),
            false => format!("msg_{ledger}_{}_{}", change.id, receiver.name),
        };
        insert(tx, &shown(receiver, id), (receiver, &topic), Some(change.id), &body, now)?;
    }
    Ok(())
}

/// Makes the messages of the beginning or end of an alert.
fn tell_alert(
    tx: &Transaction<'_>,
    ledger: &str,
    receivers: &[Receiver],
    change: &AlertChange,
    context: &Context,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let AlertChange { rule, subject, currency, tenant, severity, .. } = change;
    let topic = topic_of_alert(rule, subject, currency);
    // A rule of that name may be one of the operator's, about something else.
    let is_of_keys = |at: &crate::alert::rule::Condition| at.measure == Quantity::OwnKeyFailures;
    let is_for_tenants = context.rule(rule).is_none_or(|rule| rule.when.iter().all(is_of_keys));
    let wants = |receiver: &&Receiver| {
        receiver.wants_alert(rule, tenant.as_deref(), *severity) && (receiver.tenant.is_none() || is_for_tenants)
    };
    for receiver in receivers.iter().filter(wants) {
        let body = message::of_alert(receiver, change, context).to_string();
        let id = format!("msg_{ledger}_alert{}_{}", change.id, receiver.name);
        insert(tx, &shown(receiver, id), (receiver, &topic), None, &body, now)?;
    }
    Ok(())
}

/// The topic of messages about a budget.
pub fn topic_of_stage(change: &Transition) -> String {
    format!("budget {} of {}", change.budget, change.subject)
}

/// The topic of messages about an alert of a rule.
pub fn topic_of_alert(rule: &str, subject: &str, currency: &str) -> String {
    format!("rule {rule} of {subject} {currency}")
}

/// The id as the receiver sees it. A tenant learns neither the receiver's name nor how many changes there were.
fn shown(receiver: &Receiver, id: String) -> String {
    if receiver.tenant.is_none() {
        return id;
    }
    let hash = Sha256::digest(id.as_bytes());
    let hex = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
    format!("msg_{}", hex.collect::<String>())
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
    let id = shown(receiver, format!("msg_{ledger}_test_{}_{}", now.as_millis(), receiver.name));
    let body = message::of_test(receiver, now).to_string();
    // A test waits for nothing else.
    insert(db, &id, (receiver, &id), None, &body, now)?;
    Ok(id)
}

/// `topic`: what it is about; a receiver gets the messages of one topic in their order.
fn insert(
    db: &Connection,
    id: &str,
    (receiver, topic): (&Receiver, &str),
    transition: Option<i64>,
    body: &str,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let sql = "INSERT INTO notice(id, receiver, at, transition, body, state, next_at, topic, seq)
               VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?3, ?6, (SELECT coalesce(max(seq), 0) + 1 FROM notice))
               ON CONFLICT DO NOTHING";
    let row = params![id, receiver.name, now.as_millis(), transition, body, topic];
    db.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// How many messages wait.
pub fn pending(db: &Connection) -> Result<u64, LedgerError> {
    let sql = "SELECT count(*) FROM notice INDEXED BY notice_pending WHERE state = 'pending'";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Whether changes wait to become messages.
pub fn has_untold(db: &Connection, now: Timestamp) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM budget_transition WHERE told = 0)
               OR EXISTS (SELECT 1 FROM alert_change WHERE told = 0)";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))? || held::has_released(db, now)?)
}

/// The latest messages, at most `limit`.
pub fn history(db: &Connection, limit: u32) -> Result<Vec<Notice>, LedgerError> {
    let sql = "SELECT id, receiver, at, state, attempts, next_at, error, body FROM notice ORDER BY at DESC, seq DESC, id LIMIT ?1";
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
