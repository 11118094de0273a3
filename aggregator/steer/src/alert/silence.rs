//! Silences: alerts of rules, and stages of budgets, of which nobody is told until a date; who asked for it, and why.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::time::HOUR_MS;
use weir_contract::{Timestamp, glob};
use weir_database::{Connection, OptionalExtension, Row, params};
use weir_ledger::{LedgerError, audit};

use crate::raise::WHY_MAX_CHARS;
use crate::subject;

/// The most silences in force: each is compared with every alert that begins.
const SILENCES_MAX: usize = 200;
/// The longest pattern, in characters.
const PATTERN_MAX_CHARS: usize = 200;
/// The silences of one answer.
const SHOWN: u32 = 500;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The longest silence, in days. What nobody ever wants to hear of belongs into weir.yaml.
const DAYS_MAX: u64 = 366;
/// How long silences are kept after their end, in milliseconds: 400 days, as changes of alerts are.
const KEPT_MS: u64 = 400 * DAY_MS;
/// Any text.
const ANY: &str = "*";

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// The rules, with `*` for any text; empty: none.
    pub rule: String,
    /// The budgets, with `*` for any text; empty: none.
    #[serde(default)]
    pub budget: String,
    /// The subjects, with `*` for any text.
    pub subject: String,
    /// The tenants that it is about, with `*` for any text.
    #[serde(default = "any")]
    pub tenant: String,
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

fn any() -> String {
    ANY.to_owned()
}

impl Silence {
    /// Whether it covers this alert of a rule.
    pub(crate) fn covers(&self, rule: &str, subject: &str, tenant: Option<&str>) -> bool {
        glob::matches(&self.rule, rule) && self.is_about(subject, tenant.unwrap_or_default())
    }

    /// Whether it covers the stages of this budget.
    pub(crate) fn covers_budget(&self, budget: &str, subject: &str) -> bool {
        glob::matches(&self.budget, budget) && self.is_about(subject, subject::tenant(subject))
    }

    fn is_about(&self, subject: &str, tenant: &str) -> bool {
        glob::matches(&self.subject, subject) && glob::matches(&self.tenant, tenant)
    }

    /// What it covers, for people.
    pub fn words(&self) -> String {
        let named =
            [("rules", &self.rule), ("budgets", &self.budget), ("subjects", &self.subject), ("tenants", &self.tenant)];
        let said = |(what, pattern): (&str, &String)| format!("{what} {pattern}");
        let named = named.into_iter().filter(|(what, pattern)| {
            !pattern.is_empty() && (matches!(*what, "rules" | "budgets") || pattern.as_str() != ANY)
        });
        named.map(said).collect::<Vec<_>>().join(", ")
    }
}

/// What a person asks for. Neither rules nor budgets: both, of the tenants that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewSilence {
    /// The rules.
    pub rule: Option<String>,
    /// The budgets.
    pub budget: Option<String>,
    /// The subjects; None for all.
    pub subject: Option<String>,
    /// The tenants; None for all, and for what is about no tenant.
    pub tenant: Option<String>,
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
    /// It would last longer than people remember it.
    #[error(
        "until: {0} is more than {DAYS_MAX} days ahead; silence for a shorter time, or leave a rule out for good: `alerts.without` in weir.yaml"
    )]
    Far(Timestamp),
    /// Nobody says why.
    #[error("why: give a reason of 1 to {WHY_MAX_CHARS} characters, none a control character; it stands in the audit")]
    Why,
    /// A pattern that names nothing.
    #[error(
        "rule, budget, subject and tenant: patterns of 1 to {PATTERN_MAX_CHARS} characters, none a control character, in which * stands for any text"
    )]
    Pattern,
    /// Nothing is named.
    #[error("name a rule, a budget or a tenant; the rule * is every rule, the budget * every budget")]
    Nothing,
    /// Too many of them.
    #[error("{SILENCES_MAX} silences are in force already; end some, or change the rules in weir.yaml")]
    TooMany,
}

fn check(new: &NewSilence, now: Timestamp) -> Result<(), SilenceError> {
    let is_pattern =
        |text: &String| (1..=PATTERN_MAX_CHARS).contains(&text.chars().count()) && !text.contains(char::is_control);
    if new.until <= now {
        return Err(SilenceError::Over(new.until));
    }
    if new.until > now.plus_millis(DAYS_MAX * DAY_MS) {
        return Err(SilenceError::Far(new.until));
    }
    if !is_reason(&new.why) {
        return Err(SilenceError::Why);
    }
    let patterns = [&new.rule, &new.budget, &new.subject, &new.tenant];
    if !patterns.into_iter().flatten().all(is_pattern) {
        return Err(SilenceError::Pattern);
    }
    if new.rule.is_none() && new.budget.is_none() && new.tenant.is_none() {
        return Err(SilenceError::Nothing);
    }
    Ok(())
}

/// Notes a silence, in the audit as well.
pub fn add(
    db: &mut Connection,
    new: &NewSilence,
    now: Timestamp,
) -> Result<Result<Silence, SilenceError>, LedgerError> {
    if let Err(wrong) = check(new, now) {
        return Ok(Err(wrong));
    }
    let tx = db.transaction()?;
    if active(&tx, now)?.len() >= SILENCES_MAX {
        return Ok(Err(SilenceError::TooMany));
    }
    let NewSilence { rule, budget, subject, tenant, until, who, why } = new.clone();
    let (rule, budget) = match (rule, budget) {
        (None, None) => (any(), any()),
        (rule, budget) => (rule.unwrap_or_default(), budget.unwrap_or_default()),
    };
    let (subject, tenant) = (subject.unwrap_or_else(any), tenant.unwrap_or_else(any));
    let sql = "INSERT INTO alert_silence(rule, budget, subject, tenant, until, who, why, at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id";
    let row = params![rule, budget, subject, tenant, until.as_millis(), who, why, now.as_millis()];
    let id = tx.query_row(sql, row, |row| row.get(0))?;
    let silence = Silence { id, rule, budget, subject, tenant, until, who, why, at: now, ended_at: None };
    let Silence { who, why, .. } = &silence;
    audit::note(&tx, now, who, "alerts.silence", &format!("{} until {until}: {why}", silence.words()))?;
    let sql = "DELETE FROM alert_silence WHERE until < ?1 AND id < (SELECT max(id) FROM alert_silence)";
    tx.prepare_cached(sql)?.execute([now.as_millis().saturating_sub(KEPT_MS)])?;
    tx.commit()?;
    Ok(Ok(silence))
}

/// Ends a silence before its date; None if none of that number is in force.
pub fn end(db: &mut Connection, id: i64, who: &str, now: Timestamp) -> Result<Option<Silence>, LedgerError> {
    let tx = db.transaction()?;
    let sql = "UPDATE alert_silence SET ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL AND until > ?2
               RETURNING id, rule, subject, until, who, why, at, ended_at, budget, tenant";
    let ended = tx.prepare_cached(sql)?.query_row(params![id, now.as_millis()], read).optional()?;
    if let Some(silence) = &ended {
        audit::note(&tx, now, who, "alerts.unsilence", &silence.words())?;
    }
    tx.commit()?;
    Ok(ended)
}

/// The silences in force.
pub fn active(db: &Connection, now: Timestamp) -> Result<Vec<Silence>, LedgerError> {
    let sql = "SELECT id, rule, subject, until, who, why, at, ended_at, budget, tenant FROM alert_silence
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
        budget: row.get(8)?,
        tenant: row.get(9)?,
    })
}

/// Whether a text is a reason: short, and on one line.
pub fn is_reason(why: &str) -> bool {
    crate::raise::is_reason(why) && !why.contains(char::is_control)
}
