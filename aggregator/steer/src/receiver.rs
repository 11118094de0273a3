//! Who is told of alerts: `alerts` in the configuration.
use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::stage::{Stage, is_budget_name};
use weir_settings::secret::SecretSource;

/// The most receivers: each gets a message for every change.
pub(crate) const RECEIVERS_MAX: usize = 32;

/// `alerts` in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertsFile {
    /// Who is told when a budget changes its stage, and of critical findings about the borders between tenants; at most 32.
    #[serde(default)]
    pub receivers: Vec<ReceiverFile>,
}

/// A receiver of alerts; exactly one of `webhook` and `slack`.
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
    /// The least severe stage that is told. A budget that falls below it again is told, too. Absent: `warn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Stage>,
    /// Only budgets of these tenants; for shared budgets `#` and the budget's name. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Only these budgets. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<String>,
    /// Whether critical findings are told, too: a record or a name of another tenant stood in an answer.
    #[serde(default = "told")]
    pub findings: bool,
}

const fn told() -> bool {
    true
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
    from: Stage,
    tenants: HashSet<String>,
    budgets: HashSet<String>,
    findings: bool,
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// JSON with the headers of Standard Webhooks.
    Webhook(WebhookFile),
    /// Slack's JSON; the address is read when it is used.
    Slack(SecretSource),
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
        let target = match (&file.webhook, &file.slack) {
            (Some(webhook), None) => Target::Webhook(webhook.clone()),
            (None, Some(slack)) => Target::Slack(slack.clone()),
            _ => return Err("give either webhook or slack".to_owned()),
        };
        if let Target::Webhook(webhook) = &target
            && !webhook.url.starts_with("https://")
            && !webhook.url.starts_with("http://")
        {
            return Err(format!("webhook.url: {:?} is no address; write https://…", webhook.url));
        }
        let from = file.from.unwrap_or(Stage::Warn);
        if from == Stage::Ok {
            return Err("from: name warn, degrade, contain or exceeded".to_owned());
        }
        Ok(Receiver {
            name: file.name.clone(),
            target,
            from,
            tenants: file.tenants.iter().cloned().collect(),
            budgets: file.budgets.iter().cloned().collect(),
            findings: file.findings,
        })
    }

    /// Whether a critical finding about a request of that tenant is for this receiver.
    pub(crate) fn wants_findings_of(&self, tenant: &str) -> bool {
        self.findings && (self.tenants.is_empty() || self.tenants.contains(tenant))
    }

    /// Whether a change from one stage to another is for this receiver.
    pub(crate) fn wants(&self, subject: &str, budget: &str, was: Stage, stage: Stage) -> bool {
        let of = |named: &HashSet<String>, name: &str| named.is_empty() || named.contains(name);
        (was >= self.from || stage >= self.from) && of(&self.tenants, subject) && of(&self.budgets, budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers(text: &str) -> Result<Vec<Receiver>, ReceiverError> {
        compile(&serde_saphyr::from_str(text).expect("the shape"))
    }

    #[test]
    fn a_receiver_gets_the_stages_tenants_and_budgets_that_it_names() {
        let text = "receivers: [{name: a, slack: {env: S}, from: degrade, tenants: [acme], budgets: [monthly]}]";
        let one = receivers(text).expect("good").remove(0);
        assert!(one.wants("acme", "monthly", Stage::Ok, Stage::Degrade));
        assert!(one.wants("acme", "monthly", Stage::Exceeded, Stage::Ok), "the end of what was told is told");
        assert!(!one.wants("acme", "monthly", Stage::Ok, Stage::Warn));
        assert!(!one.wants("globex", "monthly", Stage::Ok, Stage::Exceeded));
        assert!(!one.wants("acme", "daily", Stage::Ok, Stage::Exceeded));
    }

    #[test]
    fn what_cannot_receive_is_refused_with_its_place() {
        let cases = [
            ("receivers: [{name: A, slack: {env: S}}]", "name"),
            ("receivers: [{name: a}]", "either"),
            ("receivers: [{name: a, slack: {env: S}, from: ok}]", "from"),
            ("receivers: [{name: a, webhook: {url: ftp://x, secret: {env: S}}}]", "https"),
            ("receivers: [{name: a, slack: {env: S}}, {name: a, slack: {env: S}}]", "receivers[1]"),
        ];
        for (text, needle) in cases {
            let error = receivers(text).expect_err(text).to_string();
            assert!(error.starts_with("alerts.receivers[") && error.contains(needle), "{error}");
        }
    }
}
