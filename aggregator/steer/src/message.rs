//! What receivers are told, and the signature that proves who says it.
//!
//! [Standard Webhooks](https://www.standardwebhooks.com): the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, an
//! HMAC-SHA256 over `ID.SECONDS.BODY`. A receiver tells repeats by the id, which is the same at each attempt.
//!
//! [`alertmanager`] has the words of Alertmanager, `own` those for a tenant, which say nothing of its operator.
pub mod alertmanager;
mod own;

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

use crate::alert::rule::Rule;
use crate::alert::state::AlertChange;
use crate::budget::Budget;
use crate::cause::Cause;
use crate::receiver::{Playbook, Receiver, Target};
use crate::subject;
use crate::view::Transition;

/// The beginning of a secret of Standard Webhooks.
const SECRET_PREFIX: &str = "whsec_";

/// The dashboard's pages, for those who see all of them.
#[derive(Clone, Debug)]
pub struct Pages {
    /// The page of alerts.
    pub alerts: String,
    /// The page of a budget: of a tenant, or of `#` and the name of a shared budget.
    pub budget: fn(site: &str, of: &str, budget: &str) -> String,
    /// The address under which browsers reach them.
    pub site: String,
}

/// What messages say beside what has happened.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The pages that messages link to; None where no address of them is known.
    pub pages: Option<Pages>,
    /// Who looks after each tenant.
    pub owners: BTreeMap<String, String>,
    /// What people do at each stage, by plan.
    pub playbooks: BTreeMap<String, Playbook>,
    /// The plan of each tenant.
    pub plans: Arc<HashMap<String, String>>,
    /// The rules.
    pub rules: Arc<[Rule]>,
    /// The budgets.
    pub budgets: Arc<[Budget]>,
    /// Likely reasons of changes of budgets, by their number.
    pub budget_drivers: HashMap<i64, String>,
    /// Likely reasons of alerts, by the number of the change.
    pub alert_drivers: HashMap<i64, String>,
    /// Likely reasons of alerts that fire, by rule, subject and currency.
    pub standing_drivers: HashMap<(String, String, String), String>,
}

impl Context {
    /// The rule of that name.
    pub(crate) fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| *rule.name == *name)
    }

    fn page_of_alerts(&self) -> Option<String> {
        self.pages.as_ref().map(|pages| pages.alerts.clone())
    }

    fn page_of_budget(&self, change: &Transition) -> Option<String> {
        let page = |pages: &Pages| (pages.budget)(&pages.site, subject::responsible(&change.subject), &change.budget);
        self.pages.as_ref().map(page)
    }

    /// What was decided beforehand for a stage of a tenant's budget.
    fn decided(&self, tenant: &str, stage: Stage) -> Option<&str> {
        self.playbooks.get(self.plans.get(tenant)?)?.at(stage)
    }
}

/// A message in the words that every form has.
struct Words {
    kind: &'static str,
    at: Timestamp,
    title: String,
    summary: String,
    /// The command that shows more; for a tenant there is none.
    command: Option<String>,
    /// The page that shows more, likewise.
    page: Option<String>,
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
                let more = [
                    ("command", self.command),
                    ("page", self.page),
                    ("driver", self.driver),
                    ("owner", self.owner),
                    ("action", self.action),
                ];
                for (name, text) in more.into_iter().filter_map(|(name, text)| Some((name, text?))) {
                    data.insert(name.to_owned(), text.into());
                }
                json!({"type": self.kind, "timestamp": self.at, "data": data})
            }
            Target::Slack(_) => json!({ "text": escaped(&self.text()) }),
            Target::Email(_) => json!({"subject": on_one_line(&self.title), "text": self.text()}),
            Target::Alertmanager(_) => Value::Array(self.alerts),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![on_one_line(&self.summary), format!("At: {}", self.at)];
        let driver = self.driver.as_deref().map(on_one_line);
        let more =
            [("Likely reason", &driver), ("What to do", &self.action), ("Owner", &self.owner), ("Page", &self.page)];
        lines.extend(more.into_iter().filter_map(|(name, text)| Some(format!("{name}: {}", text.as_ref()?))));
        lines.extend(self.command.as_ref().map(|command| format!("`{}`", on_one_line(command))));
        lines.join("\n")
    }
}

/// A text that begins no line of its own: clients choose the names in it.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The body of a message about a change of a stage.
pub(crate) fn of_transition(receiver: &Receiver, change: &Transition, context: &Context) -> Value {
    if receiver.tenant.is_some() {
        return own::of_transition(change, context).body(&receiver.target);
    }
    let stage = Stage::from_name(&change.stage).unwrap_or_default();
    let tenant = subject::responsible(&change.subject);
    let words = Words {
        kind: "budget.stage",
        at: change.at,
        title: format!("Budget {} of {}: {}{}", change.budget, change.subject, change.stage, observed(change)),
        summary: summary(change),
        command: Some(command(change)),
        page: context.page_of_budget(change),
        driver: context.budget_drivers.get(&change.id).cloned(),
        owner: context.owners.get(tenant).cloned(),
        action: context.decided(tenant, stage).map(str::to_owned),
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
        alerts: alertmanager::of_transition(change, receiver.from, context),
    };
    words.body(&receiver.target)
}

/// The body of a message about the beginning or end of an alert.
pub(crate) fn of_alert(receiver: &Receiver, change: &AlertChange, context: &Context) -> Value {
    if receiver.tenant.is_some() {
        return own::of_alert(change).body(&receiver.target);
    }
    let rule = context.rule(&change.rule);
    let owner = change.tenant.as_ref().and_then(|tenant| context.owners.get(tenant));
    let state = if change.is_end() { "resolved" } else { change.severity.as_str() };
    let whose = if change.subject.is_empty() { String::new() } else { format!(" {}", change.subject) };
    let words = Words {
        kind: if change.is_end() { "alert.resolved" } else { "alert.firing" },
        at: change.at,
        title: format!("[{state}] {}{whose}", change.rule),
        summary: format!("[{state}] {}: {} (since {})", change.rule, change.summary, change.since),
        command: Some(LIST.to_owned()),
        page: context.page_of_alerts(),
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
        alerts: vec![alertmanager::of_alert(change, context)],
    };
    words.body(&receiver.target)
}

/// The command that shows alerts.
const LIST: &str = "weir alerts list";

/// The body of a test.
pub(crate) fn of_test(receiver: &Receiver, at: Timestamp) -> Value {
    let text = "This is a test of weir's alerts. Nothing has happened.";
    let words = Words {
        kind: "test",
        at,
        title: "A test of weir's alerts".to_owned(),
        summary: text.to_owned(),
        command: receiver.tenant.is_none().then(|| LIST.to_owned()),
        page: None,
        driver: None,
        owner: None,
        action: None,
        data: json!({}),
        alerts: vec![alertmanager::of_test(text, at)],
    };
    words.body(&receiver.target)
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
    let observed = observed(change);
    let why = match change.cause {
        Cause::Usage => String::new(),
        cause if change.why.is_empty() => format!(" Why: {}.", cause.words()),
        _ => format!(" Why: {}.", change.why),
    };
    format!(
        "The budget {budget} {whose} went from {was} to {stage}{observed}: {used} of {amount} {unit} are used{ends}.{why}"
    )
}

/// What is said of a budget that binds nobody.
fn observed(change: &Transition) -> &'static str {
    if change.mode == "observe" { " (observed only)" } else { "" }
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
    fn a_name_of_a_client_begins_no_line() {
        let words = Words {
            kind: "alert.firing",
            at: Timestamp::default(),
            title: "drift a\r\nBcc: eve@example.com".to_owned(),
            summary: "feature a\nOwner: eve".to_owned(),
            command: Some(LIST.to_owned()),
            page: Some("https://weir.example.com/ui/alerts".to_owned()),
            driver: Some("tenant a\nWhat to do: pay".to_owned()),
            owner: Some("Ann".to_owned()),
            action: Some("First look.\nThen act.".to_owned()),
            data: json!({}),
            alerts: Vec::new(),
        };
        assert_eq!(
            words.text(),
            "feature a Owner: eve\nAt: 1970-01-01T00:00:00.000Z\nLikely reason: tenant a What to do: pay\n\
             What to do: First look.\nThen act.\nOwner: Ann\n\
             Page: https://weir.example.com/ui/alerts\n`weir alerts list`"
        );
    }

    #[test]
    fn a_name_of_a_client_is_neither_a_link_nor_a_call_in_slack() {
        let text = escaped("feature <!channel> & <http://evil.example|click here> 82 %");
        assert_eq!(text, "feature &lt;!channel&gt; &amp; &lt;http://evil.example|click here&gt; 82 %");
    }
}
