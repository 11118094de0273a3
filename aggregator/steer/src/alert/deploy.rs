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

/// The most marks of the same features and prompt versions that are kept; the oldest go first. Rules look at the last one.
const OF_SAME_MAX: u32 = 20;
/// The most of them that may be marked within an hour.
const OF_SAME_HOURLY_MAX: u32 = 10;
/// The most different features and prompt versions that have marks.
const DIFFERENT_MAX: u32 = 500;
/// How long marks are kept, in milliseconds: 400 days, as changes of alerts are.
const KEPT_MS: u64 = 400 * 24 * HOUR_MS;
/// The most marks of one answer.
pub const SHOWN_MAX: u32 = 1_000;
/// The longest name, in characters.
const NAME_MAX_CHARS: usize = 100;
/// The longest pattern, in characters.
const PATTERN_MAX_CHARS: usize = 200;
/// How far ahead of the server's clock a deploy may lie, in milliseconds.
const AHEAD_MAX_MS: u64 = 60_000;
/// A mark that names the same as one so shortly before or after it is that mark again, in milliseconds: a pipeline repeats a call whose answer
/// it lost, and a person corrects the time.
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
    /// Somebody marks without end.
    #[error(
        "{OF_SAME_HOURLY_MAX} deploys of the same features and prompt versions were marked within the hour; mark each deploy once, or take marks \
         back with `weir deploys unmark`"
    )]
    TooOften,
    /// There is no room for another feature or prompt version.
    #[error(
        "{DIFFERENT_MAX} different features and prompt versions have marks; name several by one pattern, or take marks back with \
         `weir deploys unmark`"
    )]
    TooMany,
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
    /// Whether a value of `by` may have changed with it. A mark names features and prompt versions: of anything else one that names neither.
    pub fn concerns(&self, by: &str, value: &str) -> bool {
        match (&self.feature, &self.prompt_version) {
            (None, None) => true,
            (feature, prompt_version) => {
                let pattern = match by {
                    "feature" => feature,
                    "prompt_version" => prompt_version,
                    _ => &None,
                };
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

/// The columns of [`read`].
const COLUMNS: &str = "id, at, name, feature, prompt_version, who, marked_at";

/// The marks around which a rule compared, the latest first, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The marks that rules look at.
    pub deploys: Vec<Deploy>,
    /// When the rule was compared.
    pub now: Timestamp,
}

impl Marks {
    /// The mark from which a rule compares for a value of its `by`.
    pub(crate) fn last(&self, rule: &Rule, value: &str) -> Option<&Deploy> {
        last(&self.deploys, rule, value, self.now).map(|(deploy, _)| deploy)
    }
}

/// Marks a deploy, and notes so in the audit. The same mark again, within some minutes, is the one that is there; if it names another moment, it
/// corrects that one.
pub fn add(db: &mut Connection, new: &NewDeploy, now: Timestamp) -> Result<Result<Deploy, DeployError>, LedgerError> {
    let at = new.at.unwrap_or(now);
    if let Err(wrong) = check(new, at, now) {
        return Ok(Err(wrong));
    }
    let tx = db.transaction()?;
    let marked = match same(&tx, new, at)? {
        Some(known) if new.at.is_none_or(|at| at == known.at) => return Ok(Ok(known)),
        Some(known) => correct(&tx, &known, (at, &new.who), now)?,
        None => match room(&tx, new, now)? {
            Ok(()) => insert(&tx, new, at, now)?,
            Err(full) => return Ok(Err(full)),
        },
    };
    prune(&tx, now)?;
    tx.commit()?;
    Ok(Ok(marked))
}

/// Whether one more mark may be made.
fn room(tx: &Connection, new: &NewDeploy, now: Timestamp) -> Result<Result<(), DeployError>, LedgerError> {
    let sql = "SELECT count(*), coalesce(sum(CASE WHEN marked_at > ?3 THEN 1 ELSE 0 END), 0) FROM deploy
               WHERE removed = 0 AND feature = ?1 AND prompt_version = ?2";
    let key = params![text(&new.feature), text(&new.prompt_version), before(now, HOUR_MS).as_millis()];
    let (same, hourly): (u32, u32) = tx.prepare_cached(sql)?.query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))?;
    if hourly >= OF_SAME_HOURLY_MAX {
        return Ok(Err(DeployError::TooOften));
    }
    let sql = "SELECT count(*) FROM (SELECT DISTINCT feature, prompt_version FROM deploy WHERE removed = 0) AS named";
    let different: u32 = tx.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(if same == 0 && different >= DIFFERENT_MAX { Err(DeployError::TooMany) } else { Ok(()) })
}

fn insert(tx: &Connection, new: &NewDeploy, at: Timestamp, now: Timestamp) -> Result<Deploy, LedgerError> {
    let NewDeploy { name, feature, prompt_version, who, .. } = new;
    let sql = format!(
        "INSERT INTO deploy(at, name, feature, prompt_version, who, marked_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING {COLUMNS}"
    );
    let row = params![at.as_millis(), name, text(feature), text(prompt_version), who, now.as_millis()];
    let marked = tx.prepare_cached(&sql)?.query_row(row, read)?;
    audit::note(tx, now, who, "deploys.mark", &words(&marked))?;
    Ok(marked)
}

/// Moves a mark to the moment that a person or pipeline now says.
fn correct(
    tx: &Connection,
    known: &Deploy,
    (at, who): (Timestamp, &str),
    now: Timestamp,
) -> Result<Deploy, LedgerError> {
    let sql = format!("UPDATE deploy SET at = ?2, who = ?3, marked_at = ?4 WHERE id = ?1 RETURNING {COLUMNS}");
    let row = params![known.id, at.as_millis(), who, now.as_millis()];
    let moved = tx.prepare_cached(&sql)?.query_row(row, read)?;
    audit::note(tx, now, who, "deploys.correct", &format!("{}; it stood at {}", words(&moved), known.at))?;
    Ok(moved)
}

/// Drops marks that are old or too many. The last one stays, so that no number is used again.
fn prune(tx: &Connection, now: Timestamp) -> Result<(), LedgerError> {
    let sql = "DELETE FROM deploy WHERE id < (SELECT max(id) FROM deploy) AND (removed = 1 OR at < ?1 OR id IN (
                 SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY feature, prompt_version ORDER BY at DESC, id DESC) AS turn
                                 FROM deploy WHERE removed = 0) AS turns
                 WHERE turn > ?2))";
    tx.prepare_cached(sql)?.execute(params![now.as_millis().saturating_sub(KEPT_MS), OF_SAME_MAX])?;
    Ok(())
}

/// A pattern as it is kept.
fn text(pattern: &Option<String>) -> &str {
    pattern.as_deref().unwrap_or_default()
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

/// The mark that this one repeats or corrects.
fn same(db: &Connection, new: &NewDeploy, at: Timestamp) -> Result<Option<Deploy>, LedgerError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deploy WHERE removed = 0 AND at BETWEEN ?1 AND ?2
           AND name = ?3 AND feature = ?4 AND prompt_version = ?5 ORDER BY at DESC LIMIT 1"
    );
    let (from, to) = (before(at, SAME_MS).as_millis(), at.plus_millis(SAME_MS).as_millis());
    let key = params![from, to, new.name, text(&new.feature), text(&new.prompt_version)];
    Ok(db.prepare_cached(&sql)?.query_row(key, read).optional()?)
}

/// Removes a mark, and notes so in the audit; None if there is none of that number.
pub fn remove(db: &mut Connection, id: i64, who: &str, now: Timestamp) -> Result<Option<Deploy>, LedgerError> {
    let tx = db.transaction()?;
    let sql = format!("UPDATE deploy SET removed = 1 WHERE id = ?1 AND removed = 0 RETURNING {COLUMNS}");
    let removed = tx.prepare_cached(&sql)?.query_row([id], read).optional()?;
    if let Some(deploy) = &removed {
        audit::note(&tx, now, who, "deploys.unmark", &words(deploy))?;
        prune(&tx, now)?;
    }
    tx.commit()?;
    Ok(removed)
}

/// The latest marks, the latest first.
pub fn list(db: &Connection, limit: u32) -> Result<Vec<Deploy>, LedgerError> {
    let sql = format!("SELECT {COLUMNS} FROM deploy WHERE removed = 0 ORDER BY at DESC, id DESC LIMIT ?1");
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The marks that rules look at, the latest first: the last one of each feature and prompt version behind which a full hour has begun.
pub fn heeded(db: &Connection, now: Timestamp) -> Result<Vec<Deploy>, LedgerError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM (
           SELECT {COLUMNS}, row_number() OVER (PARTITION BY feature, prompt_version ORDER BY at DESC, id DESC) AS turn
           FROM deploy WHERE removed = 0 AND at <= ?1) AS turns
         WHERE turn = 1 ORDER BY at DESC, id DESC"
    );
    let begun = before(now, 1).hour();
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([begun.as_millis()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many marks are kept.
pub fn kept(db: &Connection) -> Result<u64, LedgerError> {
    Ok(db.prepare_cached("SELECT count(*) FROM deploy WHERE removed = 0")?.query_row([], |row| row.get(0))?)
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
