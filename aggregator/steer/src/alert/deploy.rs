//! Marks of deploys: from a moment on, another version of a feature or of a prompt serves.
//!
//! A rule that compares a ratio by feature or prompt version with an earlier span ([`Rule::heeds_deploys`]) takes the last mark as its boundary:
//! its window never reaches back over the mark, and what it compares with ends there. Sums are kept by the hour, so the hour in which a mark
//! lies belongs to neither side. A mark holds from the first full hour after it until both spans lie behind it.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::time::HOUR_MS;
use weir_contract::{Timestamp, glob};
use weir_database::{Connection, OptionalExtension, Row, params};
use weir_ledger::{LedgerError, audit};

use super::rule::{Earlier, Rule, WINDOW_MAX_MS};

/// The most marks that are kept; the oldest go first.
pub(crate) const KEPT_MAX: u32 = 10_000;
/// How long marks are kept, in milliseconds: 400 days, as changes of alerts are.
const KEPT_MS: u64 = 400 * 24 * HOUR_MS;
/// The most marks of one answer.
pub const SHOWN_MAX: u32 = 1_000;
/// The latest marks that rules look at: each may ask for sums of its own.
const HEEDED_MAX: u32 = 100;
/// The longest name, in characters.
const NAME_MAX_CHARS: usize = 100;
/// The longest pattern, in characters.
const PATTERN_MAX_CHARS: usize = 200;
/// How far ahead of the server's clock a deploy may lie, in milliseconds.
const AHEAD_MAX_MS: u64 = 60_000;
/// A mark that names the same as one so shortly before it is that mark again, in milliseconds: a pipeline repeats a call whose answer it lost.
const SAME_MS: u64 = 10 * 60_000;

/// A mark of a deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deploy {
    /// Its number.
    pub id: i64,
    /// When it was deployed.
    pub at: Timestamp,
    /// What was deployed, for people.
    pub name: String,
    /// The features that it changed, with `*` for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// The prompt versions that it changed, with `*` for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    /// Who marked it.
    pub who: String,
    /// When it was marked.
    pub marked_at: Timestamp,
}

/// A mark that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeploy {
    /// What was deployed.
    pub name: String,
    /// The features that it changed. Neither these nor prompt versions: it may have changed any.
    pub feature: Option<String>,
    /// The prompt versions that it changed.
    pub prompt_version: Option<String>,
    /// When it was deployed; None for now.
    pub at: Option<Timestamp>,
    /// Who asks.
    pub who: String,
}

/// Why a deploy cannot be marked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// A name that says nothing.
    #[error("name: give what was deployed in 1 to {NAME_MAX_CHARS} characters, none a control character")]
    Name,
    /// A pattern that names nothing.
    #[error(
        "feature and prompt_version: patterns of 1 to {PATTERN_MAX_CHARS} characters, none a control character, in which * stands for \
         any text"
    )]
    Pattern,
    /// No rule would ever look at it.
    #[error("at: {0} is not within the last 90 days; rules look back no further, and not ahead")]
    At(Timestamp),
}

/// The spans on both sides of a mark, by full hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// The start of the window, which ends now.
    pub window_start: Timestamp,
    /// The end of the spans that the window is compared with.
    pub earlier_end: Timestamp,
}

impl Boundary {
    /// Where no deploy is marked: the earlier spans end where the window begins.
    pub fn without(rule: &Rule, now: Timestamp) -> Self {
        let start = before(now.hour(), rule.window_ms);
        Boundary { window_start: start, earlier_end: start }
    }
}

impl Deploy {
    /// Whether a value of `by` may have changed with it.
    fn concerns(&self, by: &str, value: &str) -> bool {
        match (&self.feature, &self.prompt_version) {
            (None, None) => true,
            (feature, prompt_version) => {
                let pattern = if by == "feature" { feature } else { prompt_version };
                pattern.as_ref().is_some_and(|pattern| glob::matches(pattern, value))
            }
        }
    }

    /// The spans of a rule on both sides of it; None if it is no boundary between them (yet, or any longer).
    pub fn boundary(&self, rule: &Rule, now: Timestamp) -> Option<Boundary> {
        let usual = Boundary::without(rule, now);
        let longest = rule.earlier().map(|Earlier(millis)| millis).max()?;
        let earlier_end = self.at.hour();
        let after = if earlier_end == self.at { self.at } else { earlier_end.plus_millis(HOUR_MS) };
        let is_between = after < now && earlier_end > before(usual.earlier_end, longest);
        is_between.then(|| Boundary { window_start: after.max(usual.window_start), earlier_end })
    }
}

/// The last mark that is a boundary for a value of a rule's `by`. `deploys`: the latest first.
pub fn last<'d>(deploys: &'d [Deploy], rule: &Rule, value: &str, now: Timestamp) -> Option<(&'d Deploy, Boundary)> {
    let by = rule.by.as_deref().filter(|_| rule.heeds_deploys())?;
    let concerning = deploys.iter().filter(|deploy| deploy.concerns(by, value));
    concerning.filter_map(|deploy| Some((deploy, deploy.boundary(rule, now)?))).next()
}

/// Marks a deploy, and notes so in the audit. The same mark again, within some minutes, is the one that is there.
pub fn add(db: &mut Connection, new: &NewDeploy, now: Timestamp) -> Result<Result<Deploy, DeployError>, LedgerError> {
    let at = new.at.unwrap_or(now);
    if let Err(wrong) = check(new, at, now) {
        return Ok(Err(wrong));
    }
    let tx = db.transaction()?;
    if let Some(known) = same(&tx, new, at)? {
        return Ok(Ok(known));
    }
    let NewDeploy { name, feature, prompt_version, who, .. } = new;
    let text = |pattern: &Option<String>| pattern.clone().unwrap_or_default();
    let sql = "INSERT INTO deploy(at, name, feature, prompt_version, who, marked_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               RETURNING id, at, name, feature, prompt_version, who, marked_at";
    let row = params![at.as_millis(), name, text(feature), text(prompt_version), who, now.as_millis()];
    let marked = tx.prepare_cached(sql)?.query_row(row, read)?;
    audit::note(&tx, now, who, "deploys.mark", &words(&marked))?;
    let sql = "DELETE FROM deploy WHERE at < ?1
               OR id IN (SELECT id FROM deploy ORDER BY at DESC, id DESC LIMIT ?2 OFFSET ?2)";
    tx.prepare_cached(sql)?.execute(params![now.as_millis().saturating_sub(KEPT_MS), KEPT_MAX])?;
    tx.commit()?;
    Ok(Ok(marked))
}

fn check(new: &NewDeploy, at: Timestamp, now: Timestamp) -> Result<(), DeployError> {
    let is_pattern =
        |text: &String| (1..=PATTERN_MAX_CHARS).contains(&text.chars().count()) && !text.contains(char::is_control);
    if new.name.trim().is_empty() || new.name.chars().count() > NAME_MAX_CHARS || new.name.contains(char::is_control) {
        return Err(DeployError::Name);
    }
    if !new.feature.iter().chain(&new.prompt_version).all(is_pattern) {
        return Err(DeployError::Pattern);
    }
    if at > now.plus_millis(AHEAD_MAX_MS) || at < before(now, WINDOW_MAX_MS) {
        return Err(DeployError::At(at));
    }
    Ok(())
}

/// The mark that this one repeats.
fn same(db: &Connection, new: &NewDeploy, at: Timestamp) -> Result<Option<Deploy>, LedgerError> {
    let sql = "SELECT id, at, name, feature, prompt_version, who, marked_at FROM deploy
               WHERE at BETWEEN ?1 AND ?2 AND name = ?3 AND feature = ?4 AND prompt_version = ?5 ORDER BY at DESC LIMIT 1";
    let text = |pattern: &Option<String>| pattern.clone().unwrap_or_default();
    let (from, to) = (before(at, SAME_MS).as_millis(), at.plus_millis(SAME_MS).as_millis());
    let key = params![from, to, new.name, text(&new.feature), text(&new.prompt_version)];
    Ok(db.prepare_cached(sql)?.query_row(key, read).optional()?)
}

/// Removes a mark, and notes so in the audit; None if there is none of that number.
pub fn remove(db: &mut Connection, id: i64, who: &str, now: Timestamp) -> Result<Option<Deploy>, LedgerError> {
    let tx = db.transaction()?;
    let sql = "DELETE FROM deploy WHERE id = ?1 RETURNING id, at, name, feature, prompt_version, who, marked_at";
    let removed = tx.prepare_cached(sql)?.query_row([id], read).optional()?;
    if let Some(deploy) = &removed {
        audit::note(&tx, now, who, "deploys.unmark", &words(deploy))?;
    }
    tx.commit()?;
    Ok(removed)
}

/// The latest marks, the latest first.
pub fn list(db: &Connection, limit: u32) -> Result<Vec<Deploy>, LedgerError> {
    let sql =
        "SELECT id, at, name, feature, prompt_version, who, marked_at FROM deploy ORDER BY at DESC, id DESC LIMIT ?1";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The marks that rules look at, the latest first.
pub fn heeded(db: &Connection) -> Result<Vec<Deploy>, LedgerError> {
    list(db, HEEDED_MAX)
}

/// How many marks are kept.
pub fn kept(db: &Connection) -> Result<u64, LedgerError> {
    Ok(db.prepare_cached("SELECT count(*) FROM deploy")?.query_row([], |row| row.get(0))?)
}

/// The mark as the audit names it.
fn words(deploy: &Deploy) -> String {
    let of = |what: &str, pattern: &Option<String>| pattern.as_ref().map(|pattern| format!(", {what} {pattern}"));
    let parts = [of("feature", &deploy.feature), of("prompt version", &deploy.prompt_version)];
    format!("{} at {}{}", deploy.name, deploy.at, parts.into_iter().flatten().collect::<String>())
}

fn read(row: &Row<'_>) -> Result<Deploy, weir_database::Error> {
    let pattern =
        |column| Ok::<_, weir_database::Error>(Some(row.get(column)?).filter(|text: &String| !text.is_empty()));
    Ok(Deploy {
        id: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        name: row.get(2)?,
        feature: pattern(3)?,
        prompt_version: pattern(4)?,
        who: row.get(5)?,
        marked_at: Timestamp::from_millis(row.get(6)?),
    })
}

fn before(at: Timestamp, millis: u64) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(millis))
}

#[cfg(test)]
mod tests;
