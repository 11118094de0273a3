//! Silences: alerts of which nobody is told until a date; who asked for it, and why.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::{Timestamp, glob};
use weir_database::{Connection, OptionalExtension, Row, params};
use weir_ledger::{LedgerError, audit};

use crate::raise::{WHY_MAX_CHARS, is_reason};

/// The most silences in force: each is compared with every alert that begins.
const SILENCES_MAX: usize = 200;
/// The longest pattern, in bytes.
const PATTERN_MAX_BYTES: usize = 200;
/// The silences of one answer.
const SHOWN: u32 = 500;

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// The rules, with `*` for any text.
    pub rule: String,
    /// The subjects, with `*` for any text.
    pub subject: String,
    /// The first moment at which people are told again.
    pub until: Timestamp,
    /// Who asked for it.
    pub who: String,
    /// The reason.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// When it was taken back before its date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl Silence {
    /// Whether it is in force for this alert.
    pub(crate) fn covers(&self, rule: &str, subject: &str) -> bool {
        glob::matches(&self.rule, rule) && glob::matches(&self.subject, subject)
    }
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSilence {
    /// The rules.
    pub rule: String,
    /// The subjects.
    pub subject: String,
    /// The first moment at which people are told again.
    pub until: Timestamp,
    /// Who asks.
    pub who: String,
    /// The reason.
    pub why: String,
}

/// Why nothing can be silenced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// It ends before it begins.
    #[error("until: {0} is over; name a moment in the future")]
    Over(Timestamp),
    /// Nobody says why.
    #[error("why: give a reason of 1 to {WHY_MAX_CHARS} characters; it stands in the audit")]
    Why,
    /// A pattern that names nothing.
    #[error("rule and subject: patterns of 1 to {PATTERN_MAX_BYTES} bytes, in which * stands for any text")]
    Pattern,
    /// Too many of them.
    #[error("{SILENCES_MAX} silences are in force already; end some, or change the rules in weir.yaml")]
    TooMany,
}

/// Notes a silence, in the audit as well.
pub fn add(
    db: &mut Connection,
    new: &NewSilence,
    now: Timestamp,
) -> Result<Result<Silence, SilenceError>, LedgerError> {
    let is_pattern = |text: &str| (1..=PATTERN_MAX_BYTES).contains(&text.len());
    if new.until <= now {
        return Ok(Err(SilenceError::Over(new.until)));
    }
    if !is_reason(&new.why) {
        return Ok(Err(SilenceError::Why));
    }
    if !is_pattern(&new.rule) || !is_pattern(&new.subject) {
        return Ok(Err(SilenceError::Pattern));
    }
    let tx = db.transaction()?;
    if active(&tx, now)?.len() >= SILENCES_MAX {
        return Ok(Err(SilenceError::TooMany));
    }
    let NewSilence { rule, subject, until, who, why } = new.clone();
    let sql = "INSERT INTO alert_silence(rule, subject, until, who, why, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               RETURNING id";
    let row = params![rule, subject, until.as_millis(), who, why, now.as_millis()];
    let id = tx.query_row(sql, row, |row| row.get(0))?;
    audit::note(&tx, now, &who, "alerts.silence", &format!("{rule} of {subject} until {until}: {why}"))?;
    tx.commit()?;
    Ok(Ok(Silence { id, rule, subject, until, who, why, at: now, ended_at: None }))
}

/// Ends a silence before its date; None if none of that number is in force.
pub fn end(db: &mut Connection, id: i64, who: &str, now: Timestamp) -> Result<Option<Silence>, LedgerError> {
    let tx = db.transaction()?;
    let sql = "UPDATE alert_silence SET ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL AND until > ?2
               RETURNING id, rule, subject, until, who, why, at, ended_at";
    let ended = tx.prepare_cached(sql)?.query_row(params![id, now.as_millis()], read).optional()?;
    if let Some(Silence { rule, subject, .. }) = &ended {
        audit::note(&tx, now, who, "alerts.unsilence", &format!("{rule} of {subject}"))?;
    }
    tx.commit()?;
    Ok(ended)
}

/// The silences in force.
pub fn active(db: &Connection, now: Timestamp) -> Result<Vec<Silence>, LedgerError> {
    let sql = "SELECT id, rule, subject, until, who, why, at, ended_at FROM alert_silence
               WHERE until > ?1 AND ended_at IS NULL ORDER BY id LIMIT ?2";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map(params![now.as_millis(), SHOWN], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> Result<Silence, weir_database::Error> {
    let millis = |column| row.get::<_, u64>(column).map(Timestamp::from_millis);
    Ok(Silence {
        id: row.get(0)?,
        rule: row.get(1)?,
        subject: row.get(2)?,
        until: millis(3)?,
        who: row.get(4)?,
        why: row.get(5)?,
        at: millis(6)?,
        ended_at: row.get::<_, Option<u64>>(7)?.map(Timestamp::from_millis),
    })
}
