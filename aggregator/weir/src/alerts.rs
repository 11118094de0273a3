//! Questions about alerts, and requests of people: what server and commands share.
pub(crate) mod measure;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_ledger::LedgerError;
use weir_ledger::query::LedgerReader;
use weir_steer::alert::rule::Rule;
use weir_steer::alert::silence::{self, Silence};
use weir_steer::alert::state::{self, Alert};
use weir_steer::notice::outbox::{self, Failing};
use weir_steer::notice::{self, Notice};
use weir_steer::receiver::Receiver;

use crate::config::alerts::Alerts;

/// The marks of deploys in one answer, unless another number is asked for.
const DEPLOYS_SHOWN: u32 = 100;
/// The messages of one answer.
const NOTICES_SHOWN: u32 = 200;

/// Answer to `GET /v1/alerts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertsView {
    /// Alerts whose conditions hold, those that fire first.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// Silences in force.
    #[serde(default)]
    pub silences: Vec<Silence>,
    /// The rules.
    #[serde(default)]
    pub rules: Vec<RuleView>,
    /// Who is told.
    pub receivers: Vec<ReceiverView>,
    /// The latest messages, the latest first.
    pub notices: Vec<Notice>,
    /// How many messages wait.
    pub pending: u64,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// What has an alert of its own; absent: everything together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// `warning` or `critical`.
    pub severity: String,
    /// Whether it is one of weir's own.
    pub built_in: bool,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverView {
    /// Its name.
    pub name: String,
    /// `webhook`, `slack`, `email` or `alertmanager`.
    pub form: String,
    /// How many messages wait for it.
    #[serde(default)]
    pub waiting: u64,
    /// Since when it takes nothing, and why; absent if it took the last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

/// What fires, who is told, and what was.
pub fn alerts(reader: &mut LedgerReader, of: &Alerts, now: Timestamp) -> Result<AlertsView, LedgerError> {
    let rule = |rule: &Rule| RuleView {
        name: rule.name.to_string(),
        by: rule.by.as_deref().map(str::to_owned),
        severity: rule.severity.as_str().to_owned(),
        built_in: rule.built_in,
        action: rule.action.as_deref().map(str::to_owned),
    };
    let mut alerts = state::list(reader.db())?;
    alerts.truncate(state::SHOWN_MAX as usize);
    Ok(AlertsView {
        alerts,
        silences: silence::active(reader.db(), now)?,
        rules: of.rules.iter().map(rule).collect(),
        receivers: receivers(reader, of)?,
        notices: notice::history(reader.db(), NOTICES_SHOWN)?,
        pending: notice::pending(reader.db())?,
    })
}

/// Who is told, and who cannot be told at the moment.
pub(crate) fn receivers(reader: &mut LedgerReader, of: &Alerts) -> Result<Vec<ReceiverView>, LedgerError> {
    let (mut failing, waiting) = (outbox::failing(reader.db())?, outbox::waiting(reader.db())?);
    let view = |receiver: &Receiver| ReceiverView {
        name: receiver.name.clone(),
        form: receiver.target.form().to_owned(),
        waiting: waiting.get(&receiver.name).copied().unwrap_or_default(),
        failing: failing.remove(&receiver.name),
    };
    Ok(of.receivers.iter().map(view).collect())
}

/// Body of `POST /v1/alerts/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// The receiver.
    pub receiver: String,
}

/// Body of `POST /v1/alerts/silence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// The rules, with `*` for any text. Neither rules nor budgets: both, of the tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The budgets, with `*` for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// The subjects, with `*` for any text. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The tenants, with `*` for any text. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The first moment at which people are told again.
    pub until: Timestamp,
    /// The reason.
    pub why: String,
}

/// Body of `POST /v1/alerts/unsilence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsilenceRequest {
    /// The number of the silence.
    #[serde(deserialize_with = "weir_contract::whole::number")]
    pub id: i64,
}

/// Body of `POST /v1/alerts/ack`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// The rule.
    pub rule: String,
    /// The subject. Absent: the alert about everything together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The reason or remark.
    pub why: String,
}

/// Body of `POST /v1/deploys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// What was deployed, for people.
    pub name: String,
    /// The features that it changed, with `*` for any text. Neither these nor prompt versions: it may have changed any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// The prompt versions that it changed, with `*` for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    /// When it was deployed. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Which marks of deploys are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployQuery {
    /// The most marks, at most 1000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl DeployQuery {
    /// How many marks are shown.
    pub(crate) fn shown(self) -> u32 {
        self.limit.unwrap_or(DEPLOYS_SHOWN)
    }
}

/// Answer to `POST /v1/alerts/ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// How many alerts are acknowledged: one for each currency.
    pub acknowledged: u64,
}

/// Which changes of alerts are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertHistoryQuery {
    /// Only of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Only changes before this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// The most changes, at most 1000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
