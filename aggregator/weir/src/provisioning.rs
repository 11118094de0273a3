//! Requests for tenants to come or go, and how far they are: what server and commands share.
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_contract::{TenantId, Timestamp};
use weir_provisioning::{Mark, Phase, Progress, Saga, Step};
use weir_tenants::store::change::{NewTenant, object, objects};
use weir_tenants::store::provisioning::{FirstKeyKind, JournalEntry, Saved};

use crate::config::provisioning::{AnchorRule, Provisioning};
use weir_ledger::periods::{Anchor, Interval};

/// Body of `POST /v1/provisionings`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisionRequest {
    /// The tenant.
    #[serde(deserialize_with = "object")]
    pub tenant: NewTenant,
    /// Its keys, at most 16. Absent: one, `key-1`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "objects")]
    pub keys: Option<Vec<FirstKeyKind>>,
    /// The name of the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where invoices go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// Body of `POST /v1/deprovisionings`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeprovisionRequest {
    /// The tenant.
    pub tenant: TenantId,
}

/// Body of `POST /v1/tenants/{id}/provisioning/skip`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipRequest {
    /// The step to let go of.
    pub step: Step,
    /// The reason; it stands in the journal and the audit.
    pub why: String,
}

/// Which acts of a journal to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalQuery {
    /// The previous page's `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most so many, 1 to 1000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What a saga was begun for. It stays as it was begun, whatever the configuration says later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Names the saga at Stripe and in messages; 128 random bits.
    pub(crate) id: String,
    /// What was asked for.
    pub(crate) request: Value,
    /// The prices of the subscription.
    #[serde(default)]
    pub(crate) prices: Vec<String>,
    /// Where the first whole billing period begins.
    #[serde(default)]
    pub(crate) anchor: Option<Timestamp>,
    /// The name of the collection.
    #[serde(default)]
    pub(crate) collection: Option<String>,
    /// The subscription that ends.
    #[serde(default)]
    pub(crate) subscription: Option<String>,
}

impl Spec {
    /// What was asked for, of a provisioning.
    pub(crate) fn provision(&self) -> Option<ProvisionRequest> {
        serde_json::from_value(self.request.clone()).ok()
    }
}

/// Where a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisioningState {
    /// On its way.
    Running,
    /// A step failed, and the steps before it are being taken back.
    Undoing,
    /// Every step is done: the tenant is live, or gone.
    Done,
    /// A step failed, and everything is taken back.
    Undone,
    /// The tenant does not go after all.
    Stopped,
}

impl ProvisioningState {
    /// As the command line writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ProvisioningState::Running => "running",
            ProvisioningState::Undoing => "undoing",
            ProvisioningState::Done => "done",
            ProvisioningState::Undone => "undone",
            ProvisioningState::Stopped => "stopped",
        }
    }
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// The step.
    pub step: String,
    /// Why.
    pub why: String,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Its name.
    pub step: String,
    /// How far it is.
    pub mark: Mark,
    /// What it made or found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// How many calls in succession had no clear answer.
    #[serde(default)]
    pub attempts: u32,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// What the last call met with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A key that a tenant came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstKeyView {
    /// Its name.
    pub id: String,
    /// The key itself, in the one answer that tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether a caller was told it.
    pub told: bool,
}

/// How far a tenant is that comes or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisioningView {
    /// The tenant.
    pub tenant: TenantId,
    /// `provision` or `deprovision`.
    pub kind: String,
    /// Where it stands.
    pub state: ProvisioningState,
    /// Who asked for it.
    pub by: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it last went on.
    pub changed_at: Timestamp,
    /// When the tenant is live unless something fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_by: Option<Timestamp>,
    /// Why it failed or stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// The steps, in order.
    pub steps: Vec<StepView>,
    /// The keys that the tenant comes with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<FirstKeyView>,
    /// What is valid and may not be meant, such as a plan that no gateway has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The acts, the earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<JournalEntry>,
}

/// How long a tenant takes at most that waits for nobody outside, in milliseconds.
const LIVE_BY_MS: u64 = 30_000;

impl ProvisioningView {
    /// The view of a saga.
    pub(crate) fn new(saved: Saved, saga: &Saga, journal: Vec<JournalEntry>) -> Self {
        let failure = |step: &weir_provisioning::Step, why: &String| {
            Some(FailureView { step: step.as_str().to_owned(), why: why.clone() })
        };
        let (state, failure) = match saga.phase() {
            Phase::Forward => (ProvisioningState::Running, None),
            Phase::Done => (ProvisioningState::Done, None),
            Phase::Backward { step, why } => (ProvisioningState::Undoing, failure(step, why)),
            Phase::Undone { step, why } => (ProvisioningState::Undone, failure(step, why)),
            Phase::Stopped { step, why } => (ProvisioningState::Stopped, failure(step, why)),
        };
        let waits_ms: u64 = saga.steps().iter().filter_map(|progress| progress.patience_ms).sum();
        let is_coming = state == ProvisioningState::Running && saved.kind == "provision";
        ProvisioningView {
            tenant: saved.tenant,
            kind: saved.kind,
            state,
            by: saved.who,
            live_by: is_coming.then(|| saved.started_at.plus_millis(LIVE_BY_MS + waits_ms)),
            started_at: saved.started_at,
            changed_at: saved.changed_at,
            failure,
            steps: saga.steps().iter().map(StepView::new).collect(),
            keys: saved
                .keys
                .into_iter()
                .map(|key| FirstKeyView { id: key.new.id, key: None, told: key.told })
                .collect(),
            warnings: Vec::new(),
            journal,
        }
    }
}

impl StepView {
    fn new(progress: &Progress) -> Self {
        StepView {
            step: progress.step.as_str().to_owned(),
            mark: progress.mark,
            made: progress.made.clone(),
            attempts: progress.attempts,
            due: progress.due,
            why: progress.why.clone(),
        }
    }
}

impl Provisioning {
    /// Where the first whole billing period of a new subscription begins; None for now.
    pub(crate) fn anchor(&self, asked: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let by_rule = match self.stripe.as_ref().map(|billing| billing.anchor) {
            Some(AnchorRule::Month) => {
                let months = Anchor { at: Timestamp::default(), interval: Interval::Month };
                Some(months.period(now).end)
            }
            Some(AnchorRule::Start) | None => None,
        };
        asked.filter(|asked| *asked > now).or(by_rule)
    }
}
