//! Which message is sent next, and what came of an attempt.
//!
//! Messages of one topic reach a receiver in the order of what happened: a later one waits until the one before is taken or given up. Messages of
//! other topics, and other receivers, wait for none of them.
use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Transaction, params};
use weir_fault::{self as fault, Point};
use weir_ledger::LedgerError;

use super::{Notice, read};
use crate::receiver::tenant_mail::of_receiver;

/// The pauses after failed attempts, in milliseconds; after the last one a message is given up. Some two days in all.
const PAUSES_MS: [u64; 11] =
    [5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000, 43_200_000, 86_400_000];
/// The longest pause.
const PAUSE_MAX_MS: u64 = 86_400_000;
/// The longest error that is kept, in characters.
const ERROR_MAX_CHARS: usize = 300;

/// The messages that are due, the oldest first, at most `limit` for each receiver. One that is due later than after the longest pause was put off by
/// a clock that was ahead.
pub fn due(db: &Connection, now: Timestamp, limit: u32) -> Result<Vec<Notice>, LedgerError> {
    let sql = "SELECT id, receiver, at, state, attempts, next_at, error, body FROM (
                 SELECT id, receiver, at, state, attempts, next_at, error, body, seq,
                        row_number() OVER (PARTITION BY receiver ORDER BY next_at, seq, id) AS turn
                 FROM notice AS one
                 WHERE state = 'pending' AND (next_at <= ?1 OR next_at > ?2) AND (?4 = 1 OR NOT EXISTS (
                   SELECT 1 FROM notice AS earlier
                   WHERE earlier.state = 'pending' AND earlier.receiver = one.receiver AND earlier.topic = one.topic
                     AND earlier.seq < one.seq))) AS ready
               WHERE turn <= ?3 ORDER BY next_at, seq, id";
    let put_off = now.as_millis() + PAUSE_MAX_MS;
    let overtakes = fault::hit(Point::NoticeOvertakes);
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map(params![now.as_millis(), put_off, limit, overtakes], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
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
    let sql = "SELECT attempts, receiver FROM notice WHERE id = ?1";
    let read = |row: &weir_database::Row<'_>| Ok((row.get::<_, usize>(0)?, row.get::<_, String>(1)?));
    let Some((attempts, receiver)) = tx.prepare_cached(sql)?.query_row([id], read).optional()? else {
        return Ok(());
    };
    note_receiver(tx, &receiver, attempt, now)?;
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

fn short(error: &str) -> String {
    error.chars().take(ERROR_MAX_CHARS).collect()
}

/// Notes whether a receiver takes what it is sent.
pub fn note_receiver(db: &Connection, receiver: &str, attempt: &Attempt, now: Timestamp) -> Result<(), LedgerError> {
    // An address of a tenant's own is the tenant's business, and there may be many of them.
    if of_receiver(receiver).is_some() {
        return Ok(());
    }
    match attempt {
        Attempt::Delivered => {
            db.prepare_cached("DELETE FROM notice_failing WHERE receiver = ?1")?.execute([receiver])?;
        }
        Attempt::Failed(why) | Attempt::Gone(why) => {
            let sql = "INSERT INTO notice_failing(receiver, since, at, error) VALUES (?1, ?2, ?2, ?3)
                       ON CONFLICT (receiver) DO UPDATE SET at = excluded.at, error = excluded.error";
            db.prepare_cached(sql)?.execute(params![receiver, now.as_millis(), short(why)])?;
        }
    }
    Ok(())
}

/// A receiver that did not take what it was sent last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failing {
    /// The first attempt that failed since one did not.
    pub since: Timestamp,
    /// The last attempt.
    pub at: Timestamp,
    /// Why it failed.
    pub error: String,
}

/// The receivers that fail, by name.
pub fn failing(db: &Connection) -> Result<HashMap<String, Failing>, LedgerError> {
    let mut select = db.prepare_cached("SELECT receiver, since, at, error FROM notice_failing")?;
    let rows = select.query_map([], |row| {
        let millis = |column| row.get::<_, u64>(column).map(Timestamp::from_millis);
        Ok((row.get(0)?, Failing { since: millis(1)?, at: millis(2)?, error: row.get(3)? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many messages wait for each receiver.
pub fn waiting(db: &Connection) -> Result<HashMap<String, u64>, LedgerError> {
    let sql = "SELECT receiver, count(*) FROM notice WHERE state = 'pending' GROUP BY receiver";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What the messages that wait for a receiver are about.
pub fn topics(db: &Connection, receiver: &str) -> Result<HashSet<String>, LedgerError> {
    let sql = "SELECT DISTINCT topic FROM notice WHERE state = 'pending' AND receiver = ?1";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([receiver], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
