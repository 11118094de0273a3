//! Who is told of alerts: `alerts` in the configuration.
pub mod tenant_mail;

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::TenantId;
use weir_contract::glob::Glob;
use weir_contract::stage::{Stage, is_budget_name};
use weir_settings::duration::Millis;
use weir_settings::secret::SecretSource;

use crate::alert::built_in;
use crate::alert::file::{RuleFile, Severity};
use crate::budget::Budget;
use crate::subject;
use crate::view::Transition;
use tenant_mail::TenantMailFile;

/// The most receivers: each gets a message for every change.
pub(crate) const RECEIVERS_MAX: usize = 32;

/// `alerts` in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertsFile {
    /// Who is told when a budget changes its stage and when an alert begins or ends, at most 32.
    #[serde(default)]
    pub receivers: Vec<ReceiverFile>,
    /// How often rules are compared, 1s to 1h. Comparing takes at most 2 % of one core: with many tenants the pause grows. Absent: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Millis>,
    /// Rules of your own, at most 100, beside the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleFile>,
    /// Built-in rules that are not wanted, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The mail server by which tenants are told of their own budgets, at addresses that they set on their own page. Absent: they set none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_mail: Option<TenantMailFile>,
    /// The person or team that looks after each tenant. Messages about the tenant name it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, String>,
    /// What people do at each stage of a budget, by plan. Messages about a tenant of the plan say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub playbooks: BTreeMap<String, Playbook>,
}

/// What people do at each stage of a budget, decided beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Playbook {
    /// At the stage `warn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn: Option<String>,
    /// At the stage `degrade`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degrade: Option<String>,
    /// At the stage `contain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contain: Option<String>,
    /// At the stage `exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<String>,
}

impl Playbook {
    /// What people do at a stage.
    pub(crate) fn at(&self, stage: Stage) -> Option<&str> {
        let text = match stage {
            Stage::Ok => None,
            Stage::Warn => self.warn.as_deref(),
            Stage::Degrade => self.degrade.as_deref(),
            Stage::Contain => self.contain.as_deref(),
            Stage::Exceeded => self.exceeded.as_deref(),
        };
        text.filter(|text| !text.is_empty())
    }
}

/// A receiver of alerts; exactly one of `webhook`, `slack`, `email` and `alertmanager`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiverFile {
    /// Its name: 1 to 40 of `a-z 0-9 . _ -`.
    pub name: String,
    /// An endpoint that gets JSON, signed as Standard Webhooks says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookFile>,
    /// The place of an address that takes Slack's JSON, such as an incoming webhook of Slack, Mattermost or Rocket.Chat. The
    /// address is a secret: whoever knows it can write there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SecretSource>,
    /// People who get e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailFile>,
    /// Alertmanager of Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<AlertmanagerFile>,
    /// The least severe stage of a budget that is told. A budget that falls below it again is told, too. Absent: `warn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Stage>,
    /// The least severe alert of a rule that is told. Absent: `warning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The tenant whose own address this is. It hears of its own budgets, and of its own keys that fail, in words without costs, names and
    /// commands of yours. Not together with `tenants` or `alertmanager`. Absent: the receiver is one of yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only what is about these tenants; for shared budgets `#` and the budget's name. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Only these budgets, and of rules none unless `rules` names them. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<String>,
    /// Only these rules, with `*` for any text, and no budgets unless `budgets` names them. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// Where e-mail goes, and by which server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailFile {
    /// The mail server: `smtps://HOST` (TLS from the start, port 465), `smtp://HOST` (STARTTLS is required, port 587), or
    /// `smtp+plain://127.0.0.1:PORT` (no encryption, for a relay on this machine only). A port may stand behind the host.
    pub server: String,
    /// The name to sign in with. Absent: without signing in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The place of its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
    /// The sender: `weir@example.com` or `Weir <weir@example.com>`.
    pub from: String,
    /// The receivers, 1 to 20.
    pub to: Vec<String>,
}

/// Alertmanager of Prometheus, by version 2 of its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerFile {
    /// Its address, `https://…` or `http://…`, without `/api/v2`.
    pub url: String,
    /// The place of a token for `authorization: Bearer`. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSource>,
}

/// An endpoint for signed JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookFile {
    /// The address, `https://…` or `http://…`.
    pub url: String,
    /// The place of the secret that signs: `whsec_` and base64 of 24 to 64 bytes.
    pub secret: SecretSource,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// The form of its messages, and where they go.
    pub target: Target,
    /// The tenant whose own address it is.
    pub tenant: Option<String>,
    pub(crate) from: Stage,
    severity: Severity,
    tenants: HashSet<String>,
    budgets: HashSet<String>,
    rules: Vec<Glob>,
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// JSON with the headers of Standard Webhooks.
    Webhook(WebhookFile),
    /// Slack's JSON; the address is read when it is used.
    Slack(SecretSource),
    /// E-mail.
    Email(EmailFile),
    /// Alertmanager's JSON.
    Alertmanager(AlertmanagerFile),
}

impl Target {
    /// The form, for lists.
    pub const fn form(&self) -> &'static str {
        match self {
            Target::Webhook(_) => "webhook",
            Target::Slack(_) => "slack",
            Target::Email(_) => "email",
            Target::Alertmanager(_) => "alertmanager",
        }
    }
}

/// Why receivers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("alerts.receivers[{at}]: {problem}")]
pub struct ReceiverError {
    /// The place in the list.
    pub at: usize,
    /// The problem, and what would be valid.
    pub problem: String,
}

/// Checks the receivers of a configuration.
pub fn compile(file: &AlertsFile) -> Result<Vec<Receiver>, ReceiverError> {
    let mut names = HashSet::new();
    let mut receivers = Vec::with_capacity(file.receivers.len());
    for (at, receiver) in file.receivers.iter().enumerate() {
        let wrong = |problem: String| ReceiverError { at, problem };
        if at >= RECEIVERS_MAX {
            return Err(wrong(format!("at most {RECEIVERS_MAX} receivers")));
        }
        if !is_budget_name(&receiver.name) || !names.insert(&receiver.name) {
            return Err(wrong("name: 1 to 40 characters of a-z 0-9 . _ -, and another for each".to_owned()));
        }
        receivers.push(Receiver::of(receiver).map_err(wrong)?);
    }
    Ok(receivers)
}

impl Receiver {
    fn of(file: &ReceiverFile) -> Result<Self, String> {
        let target = target(file)?;
        let from = file.from.unwrap_or(Stage::Warn);
        if from == Stage::Ok {
            return Err("from: name warn, degrade, contain or exceeded".to_owned());
        }
        if let Some(tenant) = &file.tenant {
            check_own(file, tenant)?;
        }
        Ok(Receiver {
            name: file.name.clone(),
            target,
            tenant: file.tenant.clone(),
            from,
            severity: file.severity.unwrap_or_default(),
            rules: file.rules.iter().map(|rule| Glob::new(rule)).collect(),
            tenants: file.tenants.iter().cloned().collect(),
            budgets: file.budgets.iter().cloned().collect(),
        })
    }

    /// Whether a change from one stage to another is for this receiver.
    pub(crate) fn wants(&self, change: &Transition) -> bool {
        let stage = |name: &str| Stage::from_name(name).unwrap_or_default();
        let of = |named: &HashSet<String>, name: &str| named.is_empty() || named.contains(name);
        let tenant = subject::tenant(&change.subject);
        let is_for_rules = self.budgets.is_empty() && !self.rules.is_empty();
        let is_meant = match self.tenant.as_deref() {
            // What only observes is the operator's trial.
            Some(own) => own == tenant && change.mode != OBSERVE,
            None => of(&self.tenants, &change.subject) || self.tenants.contains(tenant),
        };
        !is_for_rules
            && is_meant
            && (stage(&change.was) >= self.from || stage(&change.stage) >= self.from)
            && of(&self.budgets, &change.budget)
    }

    /// Whether the beginning or end of an alert is for this receiver.
    pub(crate) fn wants_alert(&self, rule: &str, tenant: Option<&str>, severity: Severity) -> bool {
        let is_named = self.rules.iter().any(|pattern| pattern.matches(rule));
        let is_meant = if self.rules.is_empty() { self.budgets.is_empty() } else { is_named };
        let is_about = match self.tenant.as_deref() {
            Some(own) => rule == built_in::OWN_KEY && tenant == Some(own),
            None => self.tenants.is_empty() || tenant.is_some_and(|tenant| self.tenants.contains(tenant)),
        };
        is_meant && severity >= self.severity && is_about
    }
}

/// The mode of a budget of which gateways are not told.
const OBSERVE: &str = "observe";

/// Checks a receiver that is a tenant's own address.
fn check_own(file: &ReceiverFile, tenant: &str) -> Result<(), String> {
    if TenantId::new(tenant).is_err() {
        return Err(format!("tenant: {tenant:?} is no id of a tenant"));
    }
    if !file.tenants.is_empty() || file.alertmanager.is_some() {
        return Err("tenant: an address of a tenant's own goes neither with tenants nor with alertmanager".to_owned());
    }
    if file.rules.iter().any(|rule| rule != built_in::OWN_KEY) {
        return Err(format!(
            "rules: a tenant hears of {} only; other rules are about costs and names of yours",
            built_in::OWN_KEY
        ));
    }
    Ok(())
}

/// The receivers, of which those for single tenants hear of the budgets that these share as well.
pub fn with_shared(receivers: &[Receiver], budgets: &[Budget]) -> Vec<Receiver> {
    let mut receivers = receivers.to_vec();
    for budget in budgets.iter().filter(|budget| budget.shared) {
        for receiver in &mut receivers {
            if budget.named_tenants().any(|tenant| receiver.tenants.contains(tenant)) {
                receiver.tenants.insert(subject::of_shared(&budget.name));
            }
        }
    }
    receivers
}

impl Receiver {
    /// Whether it is told of single tenants only, and of this subject because of them.
    pub fn is_limited_to(&self, subject: &str) -> bool {
        self.tenants.contains(subject)
    }
}

/// The most people that an e-mail goes to.
const TO_MAX: usize = 20;

fn target(file: &ReceiverFile) -> Result<Target, String> {
    let is_address = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    let target = match (&file.webhook, &file.slack, &file.email, &file.alertmanager) {
        (Some(webhook), None, None, None) => Target::Webhook(webhook.clone()),
        (None, Some(slack), None, None) => Target::Slack(slack.clone()),
        (None, None, Some(email), None) => Target::Email(email.clone()),
        (None, None, None, Some(alertmanager)) => Target::Alertmanager(alertmanager.clone()),
        _ => return Err("give exactly one of webhook, slack, email and alertmanager".to_owned()),
    };
    match &target {
        Target::Webhook(WebhookFile { url, .. }) if !is_address(url) => {
            Err(format!("webhook.url: {url:?} is no address; write https://…"))
        }
        Target::Alertmanager(AlertmanagerFile { url, .. }) if !is_address(url) => {
            Err(format!("alertmanager.url: {url:?} is no address; write https://…"))
        }
        Target::Email(email) => check_email(email).map(|()| target),
        _ => Ok(target),
    }
}

fn check_email(email: &EmailFile) -> Result<(), String> {
    let rest = |scheme: &str| email.server.strip_prefix(scheme);
    if let Some(host) = rest("smtp+plain://") {
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        if !matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
            return Err(
                "email.server: without encryption only a relay on this machine; write smtps:// or smtp://".to_owned()
            );
        }
    } else if rest("smtps://").or_else(|| rest("smtp://")).is_none_or(str::is_empty) {
        return Err(format!("email.server: {:?} is no mail server; write smtps://HOST or smtp://HOST", email.server));
    }
    if email.user.is_some() != email.password.is_some() {
        return Err("email: user and password go together".to_owned());
    }
    if !(1..=TO_MAX).contains(&email.to.len()) {
        return Err(format!("email.to: 1 to {TO_MAX} addresses"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use weir_contract::Timestamp;

    use super::*;
    use crate::cause::Cause;

    fn receivers(text: &str) -> Result<Vec<Receiver>, ReceiverError> {
        compile(&serde_saphyr::from_str(text).expect("the shape"))
    }

    fn change(subject: &str, budget: &str, was: &str, stage: &str) -> Transition {
        Transition {
            id: 1,
            at: Timestamp::default(),
            evaluated_through: 1,
            subject: subject.to_owned(),
            budget: budget.to_owned(),
            period_start: Timestamp::default(),
            period_end: None,
            was: was.to_owned(),
            stage: stage.to_owned(),
            used: "9".to_owned(),
            amount: "10".to_owned(),
            unit: "requests".to_owned(),
            mode: "enforce".to_owned(),
            cause: Cause::Usage,
            why: String::new(),
        }
    }

    #[test]
    fn an_address_of_a_tenants_own_hears_of_its_own_budgets_and_keys_and_of_nothing_else() {
        let own = receivers("receivers: [{name: o, slack: {env: S}, tenant: acme}]").expect("good").remove(0);
        assert!(own.wants(&change("acme", "monthly", "ok", "warn")));
        assert!(own.wants(&change("acme#hmac:00", "person", "ok", "warn")), "of its users as well");
        assert!(!own.wants(&change("globex", "monthly", "ok", "exceeded")));
        assert!(!own.wants(&change("#family", "family", "ok", "exceeded")), "others use it, too");
        let observed = Transition { mode: OBSERVE.to_owned(), ..change("acme", "monthly", "ok", "exceeded") };
        assert!(!own.wants(&observed));
        assert!(own.wants_alert("own-key-failing", Some("acme"), Severity::Warning));
        assert!(!own.wants_alert("own-key-failing", Some("globex"), Severity::Warning));
        assert!(!own.wants_alert("margin-low", Some("acme"), Severity::Critical));
    }

    #[test]
    fn a_receiver_gets_the_stages_tenants_and_budgets_that_it_names() {
        let text = "receivers: [{name: a, slack: {env: S}, from: degrade, tenants: [acme], budgets: [monthly]}]";
        let one = receivers(text).expect("good").remove(0);
        assert!(one.wants(&change("acme", "monthly", "ok", "degrade")));
        assert!(one.wants(&change("acme", "monthly", "exceeded", "ok")), "the end of what was told is told");
        assert!(!one.wants(&change("acme", "monthly", "ok", "warn")));
        assert!(!one.wants(&change("globex", "monthly", "ok", "exceeded")));
        assert!(!one.wants(&change("acme", "daily", "ok", "exceeded")));
    }

    #[test]
    fn a_receiver_of_rules_gets_no_budgets_and_the_other_way_round() {
        let text = "receivers: [{name: r, slack: {env: S}, rules: ['margin-*'], severity: critical}, \
                    {name: b, slack: {env: S}, budgets: [monthly]}, {name: t, slack: {env: S}, tenants: [acme]}]";
        let [rules, budgets, tenant] = receivers(text).expect("good").try_into().expect("three");
        assert!(rules.wants_alert("margin-negative", Some("acme"), Severity::Critical));
        assert!(!rules.wants_alert("margin-low", Some("acme"), Severity::Warning));
        assert!(!rules.wants_alert("rows-held", None, Severity::Critical));
        assert!(!rules.wants(&change("acme", "monthly", "ok", "exceeded")));
        assert!(!budgets.wants_alert("margin-low", Some("acme"), Severity::Critical));
        assert!(tenant.wants_alert("margin-low", Some("acme"), Severity::Warning));
        assert!(!tenant.wants_alert("rows-held", None, Severity::Warning), "it is about no tenant");
    }

    #[test]
    fn what_cannot_receive_is_refused_with_its_place() {
        let cases = [
            ("receivers: [{name: A, slack: {env: S}}]", "name"),
            ("receivers: [{name: a}]", "exactly one"),
            (
                "receivers: [{name: a, email: {server: 'smtp+plain://mail.example.com', from: w@x.org, to: [a@x.org]}}]",
                "this machine",
            ),
            ("receivers: [{name: a, email: {server: mail, from: w@x.org, to: [a@x.org]}}]", "smtps"),
            ("receivers: [{name: a, email: {server: 'smtps://m', from: w@x.org, to: []}}]", "1 to 20"),
            ("receivers: [{name: a, email: {server: 'smtps://m', user: u, from: w@x.org, to: [a@x.org]}}]", "together"),
            ("receivers: [{name: a, alertmanager: {url: 'am:9093'}}]", "https"),
            ("receivers: [{name: a, slack: {env: S}, from: ok}]", "from"),
            ("receivers: [{name: a, webhook: {url: ftp://x, secret: {env: S}}}]", "https"),
            ("receivers: [{name: a, slack: {env: S}, tenant: 'a b'}]", "no id"),
            ("receivers: [{name: a, slack: {env: S}, tenant: acme, tenants: [acme]}]", "neither with tenants"),
            ("receivers: [{name: a, alertmanager: {url: 'http://am'}, tenant: acme}]", "alertmanager"),
            ("receivers: [{name: a, slack: {env: S}, tenant: acme, rules: [margin-low]}]", "own-key-failing only"),
            ("receivers: [{name: a, slack: {env: S}}, {name: a, slack: {env: S}}]", "receivers[1]"),
        ];
        for (text, needle) in cases {
            let error = receivers(text).expect_err(text).to_string();
            assert!(error.starts_with("alerts.receivers[") && error.contains(needle), "{error}");
        }
    }
}
