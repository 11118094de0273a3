//! The states of alerts: pending while their conditions have not held for long enough, firing after that, gone once they no longer
//! hold.
use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Row, Transaction, params};
use weir_ledger::{LedgerError, audit};

use super::deploy::Deploy;
use super::evaluate::{Finding, Findings};
use super::file::Severity;
use super::rule::Rule;
use super::silence::{self, Silence, is_reason};

/// The alerts of one answer.
pub const SHOWN_MAX: u32 = 1_000;
/// How long changes are kept, in milliseconds: 400 days.
const KEPT_MS: u64 = 400 * 24 * 3_600 * 1_000;

/// An alert whose conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The rule.
    pub rule: String,
    /// The value of the rule's `by`; of a budget, its name and its subject; empty for everything together.
    pub subject: String,
    /// The currency of its amounts; empty if it has none.
    pub currency: String,
    /// The tenant that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `warning` or `critical`.
    #[schemars(with = "String")]
    pub severity: Severity,
    /// `pending` or `firing`.
    pub state: String,
    /// Its conditions hold since then.
    pub since: Timestamp,
    /// When it began to fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<Timestamp>,
    /// The quantity of its first condition.
    pub value: String,
    /// What holds, in a sentence.
    pub summary: String,
    /// Who looks after it, since when and why, if somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// Whether people are told of it: false while it is pending or silenced.
    pub announced: bool,
    /// The number of the deploy's mark from which its rule compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<i64>,
}

impl Alert {
    /// Whether it fires.
    pub fn fires(&self) -> bool {
        self.state == "firing"
    }

    /// Whether one of these silences, those in force, covers it.
    pub fn is_silenced(&self, silences: &[Silence]) -> bool {
        silences.iter().any(|silence| silence.covers(&self.rule, &self.subject, self.tenant.as_deref()))
    }

    /// Whether it waits for a person: it fires, nobody has acknowledged it, and no silence covers it.
    pub fn is_open(&self, silences: &[Silence]) -> bool {
        self.fires() && self.acknowledged.is_none() && !self.is_silenced(silences)
    }

    /// Its state for people, who have to know that they are not told of it.
    pub fn words(&self, silences: &[Silence]) -> &str {
        if self.fires() && self.is_silenced(silences) { "firing, silenced" } else { &self.state }
    }
}

/// Who looks after an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    /// The name.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// The reason or remark.
    pub why: String,
}

/// The beginning or end of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertChange {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// The rule.
    pub rule: String,
    /// The subject.
    pub subject: String,
    /// The currency; empty if it has none.
    pub currency: String,
    /// The tenant that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `warning` or `critical`.
    #[schemars(with = "String")]
    pub severity: Severity,
    /// `firing` or `resolved`.
    pub state: String,
    /// When its conditions began to hold.
    pub since: Timestamp,
    /// The quantity of its first condition.
    pub value: String,
    /// What holds or no longer holds.
    pub summary: String,
    /// Whether a silence held it back.
    pub silenced: bool,
}

impl AlertChange {
    /// Whether the alert is over.
    pub(crate) fn is_end(&self) -> bool {
        self.state != "firing"
    }
}

type Key = (String, String);

/// Takes in what a rule found. Returns whether anybody has to be told.
pub fn apply(db: &mut Connection, rule: &Rule, findings: &Findings, now: Timestamp) -> Result<bool, LedgerError> {
    let tx = db.transaction()?;
    let silences = silence::active(&tx, now)?;
    let mut known: HashMap<Key, Alert> = HashMap::new();
    for alert in of_rule(&tx, &rule.name)? {
        known.insert((alert.subject.clone(), alert.currency.clone()), alert);
    }
    let mut is_told = false;
    for finding in &findings.found {
        let currency = finding.currency.map_or_else(String::new, |currency| currency.to_string());
        let before = known.remove(&(finding.subject.clone(), currency.clone()));
        let deploy = findings.marks.last(rule, &finding.subject).map(|deploy| deploy.id);
        let begun = Begun { rule, finding, currency: &currency, deploy };
        is_told |= hold(&tx, begun, before, &silences, now)?;
    }
    for alert in known.into_values() {
        let why = why_over(&alert, findings.marks.last(rule, &alert.subject));
        is_told |= end(&tx, &alert, &silences, &why, now)?;
    }
    tx.commit()?;
    Ok(is_told)
}

/// Ends the alerts of rules that are no longer configured, and drops old history. Returns whether anybody has to be told.
pub fn tidy(db: &mut Connection, rules: &[Rule], now: Timestamp) -> Result<bool, LedgerError> {
    let names: HashSet<&str> = rules.iter().map(|rule| &*rule.name).collect();
    let tx = db.transaction()?;
    let silences = silence::active(&tx, now)?;
    let mut is_told = false;
    for alert in list(&tx)?.into_iter().filter(|alert| !names.contains(alert.rule.as_str())) {
        is_told |= end(&tx, &alert, &silences, "its rule is no longer configured", now)?;
    }
    let before = now.as_millis().saturating_sub(KEPT_MS);
    tx.execute("DELETE FROM alert_change WHERE at < ?1 AND told = 1", [before])?;
    tx.commit()?;
    Ok(is_told)
}

/// Why an alert is over. A mark of a deploy that was set or taken back since makes the rule compare with other sums: that says nothing
/// about the conditions that held before.
fn why_over(alert: &Alert, deploy: Option<&Deploy>) -> String {
    match deploy {
        Some(deploy) if alert.deploy != Some(deploy.id) => format!(
            "the deploy {} at {} was marked by {}, and the comparison starts anew there; before, this held",
            deploy.name, deploy.at, deploy.who
        ),
        None if alert.deploy.is_some() => {
            "the mark of the deploy counts no longer, and the comparison is another; before, this held".to_owned()
        }
        _ => "it no longer holds".to_owned(),
    }
}

/// A rule whose conditions hold for a subject.
struct Begun<'a> {
    rule: &'a Rule,
    finding: &'a Finding,
    currency: &'a str,
    /// The mark from which it compares.
    deploy: Option<i64>,
}

/// Writes that a rule's conditions hold for a subject.
fn hold(
    tx: &Transaction<'_>,
    begun: Begun<'_>,
    before: Option<Alert>,
    silences: &[Silence],
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let Begun { rule, finding, currency, deploy } = begun;
    let fired = before.as_ref().and_then(|alert| alert.fired_at);
    let since = before.as_ref().map_or(now, |alert| alert.since);
    let fires = fired.is_some() || now.millis_since(since) >= rule.hold_ms;
    let was_announced = before.as_ref().is_some_and(|alert| alert.announced);
    let silenced =
        silences.iter().any(|silence| silence.covers(&rule.name, &finding.subject, finding.tenant.as_deref()));
    let alert = Alert {
        rule: rule.name.to_string(),
        subject: finding.subject.clone(),
        currency: currency.to_owned(),
        tenant: finding.tenant.clone(),
        severity: rule.severity,
        state: if fires { "firing" } else { "pending" }.to_owned(),
        since,
        fired_at: fires.then(|| fired.unwrap_or(now)),
        value: finding.value.to_string(),
        summary: finding.summary.clone(),
        acknowledged: before.as_ref().and_then(|alert| alert.acknowledged.clone()),
        announced: was_announced || (fires && !silenced),
        deploy,
    };
    if before.as_ref() != Some(&alert) {
        write(tx, &alert)?;
    }
    let announces = alert.announced && !was_announced;
    // Of a silenced one the history says when it began; once the silence ends while it still fires, people are told.
    if announces || (fires && fired.is_none()) {
        change(tx, &alert, "firing", &alert.summary, (!announces, !announces), now)?;
    }
    Ok(announces)
}

/// Removes an alert, and notes its end if it fired.
fn end(
    tx: &Transaction<'_>,
    alert: &Alert,
    silences: &[Silence],
    why: &str,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let sql = "DELETE FROM alert WHERE rule = ?1 AND subject = ?2 AND currency = ?3";
    tx.prepare_cached(sql)?.execute(params![alert.rule, alert.subject, alert.currency])?;
    if alert.fired_at.is_none() {
        return Ok(false);
    }
    let silenced = silences.iter().any(|silence| silence.covers(&alert.rule, &alert.subject, alert.tenant.as_deref()));
    // Whoever was told of the beginning is told of the end, silence or not.
    change(tx, alert, "resolved", &format!("{why}: {}", alert.summary), (silenced, !alert.announced), now)?;
    Ok(alert.announced)
}

fn write(tx: &Transaction<'_>, alert: &Alert) -> Result<(), LedgerError> {
    let sql = "INSERT INTO alert(rule, subject, currency, tenant, severity, state, since, fired_at, value, summary,
               announced, acknowledged_by, acknowledged_at, acknowledged_why, deploy)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
               ON CONFLICT (rule, subject, currency) DO UPDATE SET tenant = excluded.tenant, severity = excluded.severity,
                 state = excluded.state, since = excluded.since, fired_at = excluded.fired_at, value = excluded.value,
                 summary = excluded.summary, announced = excluded.announced, acknowledged_by = excluded.acknowledged_by,
                 acknowledged_at = excluded.acknowledged_at, acknowledged_why = excluded.acknowledged_why,
                 deploy = excluded.deploy";
    let acknowledged = alert.acknowledged.as_ref();
    tx.prepare_cached(sql)?.execute(params![
        alert.rule,
        alert.subject,
        alert.currency,
        alert.tenant,
        alert.severity.as_str(),
        alert.state,
        alert.since.as_millis(),
        alert.fired_at.map(Timestamp::as_millis),
        alert.value,
        alert.summary,
        alert.announced,
        acknowledged.map(|by| &by.who),
        acknowledged.map(|by| by.at.as_millis()),
        acknowledged.map(|by| &by.why),
        alert.deploy,
    ])?;
    Ok(())
}

fn change(
    tx: &Transaction<'_>,
    alert: &Alert,
    state: &str,
    summary: &str,
    (silenced, told): (bool, bool),
    now: Timestamp,
) -> Result<(), LedgerError> {
    let sql = "INSERT INTO alert_change(at, rule, subject, currency, tenant, severity, state, since, value, summary, silenced, told)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    tx.prepare_cached(sql)?.execute(params![
        now.as_millis(),
        alert.rule,
        alert.subject,
        alert.currency,
        alert.tenant,
        alert.severity.as_str(),
        state,
        alert.since.as_millis(),
        alert.value,
        summary,
        silenced,
        told
    ])?;
    Ok(())
}

const ALERT_COLUMNS: &str =
    "rule, subject, currency, tenant, severity, state, since, fired_at, value, summary, announced,
                             acknowledged_by, acknowledged_at, acknowledged_why, deploy";

fn of_rule(db: &Connection, rule: &str) -> Result<Vec<Alert>, LedgerError> {
    let mut select = db.prepare_cached(&format!("SELECT {ALERT_COLUMNS} FROM alert WHERE rule = ?1"))?;
    let rows = select.query_map([rule], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All alerts, those that fire first, the most severe of them first.
pub fn list(db: &Connection) -> Result<Vec<Alert>, LedgerError> {
    let sql = format!("SELECT {ALERT_COLUMNS} FROM alert ORDER BY state, severity, rule, subject, currency");
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes that a person looks after the alerts of a rule and subject. Returns how many there are.
pub fn acknowledge(
    db: &mut Connection,
    (rule, subject): (&str, &str),
    (who, why): (&str, &str),
    now: Timestamp,
) -> Result<usize, LedgerError> {
    if !is_reason(why) {
        return Ok(0);
    }
    let tx = db.transaction()?;
    let sql = "UPDATE alert SET acknowledged_by = ?3, acknowledged_at = ?4, acknowledged_why = ?5
               WHERE rule = ?1 AND subject = ?2 AND state = 'firing'";
    let changed = tx.execute(sql, params![rule, subject, who, now.as_millis(), why])?;
    if changed > 0 {
        audit::note(&tx, now, who, "alerts.acknowledge", &format!("{rule} of {subject}: {why}"))?;
    }
    tx.commit()?;
    Ok(changed)
}

/// The columns of [`read_change`].
pub(crate) const CHANGE_COLUMNS: &str =
    "id, at, rule, subject, currency, tenant, severity, state, since, value, summary, silenced";

/// Changes, the latest first, at most `limit`, before the number `before`.
pub fn history(
    db: &Connection,
    rule: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AlertChange>, LedgerError> {
    let sql = format!(
        "SELECT {CHANGE_COLUMNS} FROM alert_change WHERE (?1 IS NULL OR rule = ?1) AND (?2 IS NULL OR id < ?2)
         ORDER BY id DESC LIMIT ?3"
    );
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map(params![rule, before, limit.min(SHOWN_MAX)], read_change)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many alerts fire.
pub fn firing(db: &Connection, severity: Severity) -> Result<u64, LedgerError> {
    let sql = "SELECT count(*) FROM alert WHERE state = 'firing' AND severity = ?1";
    Ok(db.prepare_cached(sql)?.query_row([severity.as_str()], |row| row.get(0)).optional()?.unwrap_or_default())
}

pub(crate) fn read_change(row: &Row<'_>) -> Result<AlertChange, weir_database::Error> {
    let millis = |column| row.get::<_, u64>(column).map(Timestamp::from_millis);
    Ok(AlertChange {
        id: row.get(0)?,
        at: millis(1)?,
        rule: row.get(2)?,
        subject: row.get(3)?,
        currency: row.get(4)?,
        tenant: row.get(5)?,
        severity: Severity::from_name(row.get_ref(6)?.as_str().unwrap_or_default()),
        state: row.get(7)?,
        since: millis(8)?,
        value: row.get(9)?,
        summary: row.get(10)?,
        silenced: row.get(11)?,
    })
}

fn read(row: &Row<'_>) -> Result<Alert, weir_database::Error> {
    let millis = |column| Ok::<_, weir_database::Error>(row.get::<_, Option<u64>>(column)?.map(Timestamp::from_millis));
    let acknowledged = match (row.get::<_, Option<String>>(11)?, millis(12)?, row.get::<_, Option<String>>(13)?) {
        (Some(who), Some(at), Some(why)) => Some(Acknowledged { who, at, why }),
        _ => None,
    };
    Ok(Alert {
        rule: row.get(0)?,
        subject: row.get(1)?,
        currency: row.get(2)?,
        tenant: row.get(3)?,
        severity: Severity::from_name(row.get_ref(4)?.as_str().unwrap_or_default()),
        state: row.get(5)?,
        since: millis(6)?.unwrap_or_default(),
        fired_at: millis(7)?,
        value: row.get(8)?,
        summary: row.get(9)?,
        announced: row.get(10)?,
        acknowledged,
        deploy: row.get(14)?,
    })
}
