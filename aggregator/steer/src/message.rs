//! What receivers are told, and the signature that proves who says it.
//!
//! [Standard Webhooks](https://www.standardwebhooks.com): the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, an
//! HMAC-SHA256 over `ID.SECONDS.BODY`. A receiver tells repeats by the id, which is the same at each attempt.
//!
//! [Alertmanager](https://prometheus.io/docs/alerting/latest/alerts_api/) tells alerts apart by their labels; an alert ends at
//! `endsAt`. A budget's alert has its stage as severity, so a change ends one and begins another.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_settings::secret::Secret;

use crate::alert::file::Severity;
use crate::alert::rule::Rule;
use crate::alert::state::{Alert, AlertChange};
use crate::cause::Cause;
use crate::receiver::{Playbook, Target};
use crate::subject;
use crate::view::Transition;

/// The beginning of a secret of Standard Webhooks.
const SECRET_PREFIX: &str = "whsec_";
/// How long Alertmanager believes an alert that nobody repeats, in milliseconds. The server repeats them more often.
const BELIEVED_MS: u64 = 15 * 60_000;

/// What messages say beside what has happened.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Who looks after each tenant.
    pub owners: BTreeMap<String, String>,
    /// What people do at each stage, by plan.
    pub playbooks: BTreeMap<String, Playbook>,
    /// The plan of each tenant.
    pub plans: Arc<HashMap<String, String>>,
    /// The rules.
    pub rules: Arc<[Rule]>,
    /// Likely reasons of changes of budgets, by their number.
    pub budget_drivers: HashMap<i64, String>,
    /// Likely reasons of alerts, by the number of the change.
    pub alert_drivers: HashMap<i64, String>,
}

/// A message in the words that every form has.
struct Words {
    kind: &'static str,
    at: Timestamp,
    title: String,
    summary: String,
    command: String,
    driver: Option<String>,
    owner: Option<String>,
    action: Option<String>,
    data: Value,
    alerts: Vec<Value>,
}

impl Words {
    /// The body for a receiver.
    fn body(self, target: &Target) -> Value {
        match target {
            Target::Webhook(_) => {
                let mut data = match &self.data {
                    Value::Object(data) => data.clone(),
                    _ => Map::new(),
                };
                data.insert("summary".to_owned(), self.summary.into());
                data.insert("command".to_owned(), self.command.into());
                let more = [("driver", self.driver), ("owner", self.owner), ("action", self.action)];
                for (name, text) in more.into_iter().filter_map(|(name, text)| Some((name, text?))) {
                    data.insert(name.to_owned(), text.into());
                }
                json!({"type": self.kind, "timestamp": self.at, "data": data})
            }
            Target::Slack(_) => json!({ "text": escaped(&self.text()) }),
            Target::Email(_) => json!({"subject": self.title, "text": self.text()}),
            Target::Alertmanager(_) => Value::Array(self.alerts),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![self.summary.clone(), format!("At: {}", self.at)];
        let more = [("Likely reason", &self.driver), ("What to do", &self.action), ("Owner", &self.owner)];
        lines.extend(more.into_iter().filter_map(|(name, text)| Some(format!("{name}: {}", text.as_ref()?))));
        lines.push(format!("`{}`", self.command));
        lines.join("\n")
    }
}

/// The body of a message about a change of a stage.
pub(crate) fn of_transition(target: &Target, change: &Transition, context: &Context) -> Value {
    let stage = Stage::from_name(&change.stage).unwrap_or_default();
    let tenant = subject::responsible(&change.subject);
    let plan = context.plans.get(tenant);
    let action = plan.and_then(|plan| context.playbooks.get(plan)).and_then(|playbook| playbook.at(stage));
    let words = Words {
        kind: "budget.stage",
        at: change.at,
        title: format!("Budget {} of {}: {}", change.budget, change.subject, change.stage),
        summary: summary(change),
        command: command(change),
        driver: context.budget_drivers.get(&change.id).cloned(),
        owner: context.owners.get(tenant).cloned(),
        action: action.map(str::to_owned),
        data: json!({
            "budget": change.budget,
            "subject": change.subject,
            "was": change.was,
            "stage": change.stage,
            "used": change.used,
            "amount": change.amount,
            "unit": change.unit,
            "mode": change.mode,
            "period_start": change.period_start,
            "period_end": change.period_end,
            "evaluated_through": change.evaluated_through,
        }),
        alerts: stages_as_alerts(change, context),
    };
    words.body(target)
}

/// The end of the former stage's alert, and the beginning of the new one's.
fn stages_as_alerts(change: &Transition, context: &Context) -> Vec<Value> {
    let severity = |name: &str| match Stage::from_name(name).unwrap_or_default() {
        Stage::Ok => None,
        Stage::Warn | Stage::Degrade => Some(Severity::Warning),
        Stage::Contain | Stage::Exceeded => Some(Severity::Critical),
    };
    let alert = |severity: Severity, end: Timestamp| {
        let mut labels = labels("weir_budget", severity);
        labels.insert("budget".to_owned(), change.budget.clone().into());
        labels.insert("subject".to_owned(), change.subject.clone().into());
        json!({
            "labels": labels,
            "annotations": annotations(&summary(change), &command(change), context.owners.get(subject::responsible(&change.subject))),
            "startsAt": change.at,
            "endsAt": end,
        })
    };
    let (was, is) = (severity(&change.was), severity(&change.stage));
    // Nobody repeats a budget's alert: it holds until its period ends.
    let far = change.period_end.unwrap_or(change.at.plus_millis(365 * 24 * 3_600_000));
    let ended = was.filter(|_| was != is).map(|severity| alert(severity, change.at));
    ended.into_iter().chain(is.map(|severity| alert(severity, far))).collect()
}

/// The body of a message about the beginning or end of an alert.
pub(crate) fn of_alert(target: &Target, change: &AlertChange, context: &Context) -> Value {
    let rule = context.rules.iter().find(|rule| *rule.name == *change.rule);
    let owner = change.tenant.as_ref().and_then(|tenant| context.owners.get(tenant));
    let state = if change.is_end() { "resolved" } else { change.severity.as_str() };
    let whose = if change.subject.is_empty() { String::new() } else { format!(" {}", change.subject) };
    let command = "weir alerts list".to_owned();
    let words = Words {
        kind: if change.is_end() { "alert.resolved" } else { "alert.firing" },
        at: change.at,
        title: format!("[{state}] {}{whose}", change.rule),
        summary: format!("[{state}] {}: {} (since {})", change.rule, change.summary, change.since),
        command: command.clone(),
        driver: context.alert_drivers.get(&change.id).cloned(),
        owner: owner.cloned(),
        action: rule.and_then(|rule| rule.action.as_deref()).filter(|_| !change.is_end()).map(str::to_owned),
        data: json!({
            "rule": change.rule,
            "subject": change.subject,
            "currency": change.currency,
            "tenant": change.tenant,
            "severity": change.severity,
            "state": change.state,
            "since": change.since,
            "value": change.value,
            "labels": rule.map(|rule| &rule.labels),
        }),
        alerts: vec![json!({
            "labels": labels_of(&change.rule, change.severity, [&change.subject, &change.currency], change.tenant.as_deref(), rule),
            "annotations": annotations(&change.summary, &command, owner),
            "startsAt": change.since,
            "endsAt": if change.is_end() { change.at } else { change.at.plus_millis(BELIEVED_MS) },
        })],
    };
    words.body(target)
}

/// The alerts that fire and are told, as Alertmanager takes them: it forgets one that nobody repeats.
pub fn standing<'a>(alerts: impl Iterator<Item = &'a Alert>, context: &Context, now: Timestamp) -> Value {
    let one = |alert: &Alert| {
        let rule = context.rules.iter().find(|rule| *rule.name == *alert.rule);
        let owner = alert.tenant.as_ref().and_then(|tenant| context.owners.get(tenant));
        json!({
            "labels": labels_of(&alert.rule, alert.severity, [&alert.subject, &alert.currency], alert.tenant.as_deref(), rule),
            "annotations": annotations(&alert.summary, "weir alerts list", owner),
            "startsAt": alert.since,
            "endsAt": now.plus_millis(BELIEVED_MS),
        })
    };
    Value::Array(alerts.map(one).collect())
}

fn labels(name: &str, severity: Severity) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert("alertname".to_owned(), name.into());
    labels.insert("service".to_owned(), "weir".into());
    labels.insert("severity".to_owned(), severity.as_str().into());
    labels
}

fn labels_of(
    name: &str,
    severity: Severity,
    [subject, currency]: [&str; 2],
    tenant: Option<&str>,
    rule: Option<&Rule>,
) -> Map<String, Value> {
    let mut labels = labels(name, severity);
    let more = [("subject", subject), ("currency", currency), ("tenant", tenant.unwrap_or_default())];
    for (name, text) in more.into_iter().filter(|(_, text)| !text.is_empty()) {
        labels.insert(name.to_owned(), text.into());
    }
    for (name, text) in rule.iter().flat_map(|rule| &rule.labels) {
        labels.insert(name.clone(), text.as_str().into());
    }
    labels
}

fn annotations(summary: &str, command: &str, owner: Option<&String>) -> Value {
    let mut annotations = json!({"summary": summary, "command": command});
    if let (Some(owner), Value::Object(map)) = (owner, &mut annotations) {
        map.insert("owner".to_owned(), owner.as_str().into());
    }
    annotations
}

/// The body of a test.
pub(crate) fn of_test(target: &Target, at: Timestamp) -> Value {
    let text = "This is a test of weir's alerts. Nothing has happened.";
    let mut labels = labels("weir_test", Severity::Warning);
    labels.insert("subject".to_owned(), "test".into());
    let words = Words {
        kind: "test",
        at,
        title: "A test of weir's alerts".to_owned(),
        summary: text.to_owned(),
        command: "weir alerts list".to_owned(),
        driver: None,
        owner: None,
        action: None,
        data: json!({}),
        alerts: vec![json!({
            "labels": labels,
            "annotations": annotations(text, "weir alerts list", None),
            "startsAt": at,
            "endsAt": at.plus_millis(60_000),
        })],
    };
    words.body(target)
}

/// What has happened, in a sentence.
fn summary(change: &Transition) -> String {
    let Transition { budget, subject, was, stage, used, amount, unit, .. } = change;
    let whose = match (subject::is_shared(subject), subject::user(subject)) {
        (true, _) => "which tenants share".to_owned(),
        (false, Some(user)) => format!("of the user {user} of {}", subject::tenant(subject)),
        (false, None) => format!("of {subject}"),
    };
    let ends = change.period_end.map_or_else(String::new, |end| format!("; the period ends at {end}"));
    let observed = if change.mode == "observe" { " (observed only)" } else { "" };
    let why = match change.cause {
        Cause::Usage => String::new(),
        cause if change.why.is_empty() => format!(" Why: {}.", cause.words()),
        _ => format!(" Why: {}.", change.why),
    };
    format!(
        "The budget {budget} {whose} went from {was} to {stage}{observed}: {used} of {amount} {unit} are used{ends}.{why}"
    )
}

/// The command that shows more.
fn command(change: &Transition) -> String {
    match subject::is_shared(&change.subject) {
        true => format!("weir budgets history --tenant '{}'", change.subject),
        false => format!("weir budgets show {}", subject::tenant(&change.subject)),
    }
}

/// Why a secret cannot sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not whsec_ and base64 of 24 to 64 bytes")]
pub struct SecretForm;

/// The header `webhook-signature` of a message.
pub fn signature(secret: &Secret, id: &str, at: Timestamp, body: &[u8]) -> Result<String, SecretForm> {
    let key = secret.expose().trim().strip_prefix(SECRET_PREFIX).ok_or(SecretForm)?;
    let key = STANDARD.decode(key).map_err(|_| SecretForm)?;
    if !(24..=64).contains(&key.len()) {
        return Err(SecretForm);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| SecretForm)?;
    for part in [id.as_bytes(), b".", at.as_secs().to_string().as_bytes(), b".", body] {
        mac.update(part);
    }
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// A text in which Slack sees neither links nor calls of people: clients choose the names in it. The three characters are those of
/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the specification's reference libraries.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let at = Timestamp::from_secs(1_614_265_330);
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn a_secret_of_another_form_signs_nothing() {
        for text in [
            "",
            "whsec_",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
        ] {
            let signed = signature(&Secret::new(text.to_owned()), "id", Timestamp::default(), b"");
            assert_eq!(signed, Err(SecretForm), "{text}");
        }
    }

    #[test]
    fn a_name_of_a_client_is_neither_a_link_nor_a_call_in_slack() {
        let text = escaped("feature <!channel> & <http://evil.example|click here> 82 %");
        assert_eq!(text, "feature &lt;!channel&gt; &amp; &lt;http://evil.example|click here&gt; 82 %");
    }
}
