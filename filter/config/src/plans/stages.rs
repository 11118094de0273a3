//! What people write about the stages of budgets in a plan.
use serde::{Deserialize, Serialize};
use weir_contract::Class;

use super::{Bucket, Models};

/// What a plan does while a budget of the tenant is in a stage. A stage keeps the rules of the milder ones, unless it says
/// otherwise. A stage without rules changes nothing: requests pass, and their events name the stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Stages {
    /// From the first threshold on; by default 80 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<StageRules>,
    /// By default from 90 % on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degrade: Option<StageRules>,
    /// By default from 95 % on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contain: Option<StageRules>,
    /// By default from 100 % on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<StageRules>,
}

/// The rules of a stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StageRules {
    /// The models that may be used, in place of the plan's own; `otherwise: {replace: MODEL}` sends all others to a cheaper
    /// one. Name the models that must not be replaced under `allow`. Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Models>,
    /// The most output tokens of one answer, where that is less than before. Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_max: Option<u64>,
    /// The most answers of one request, where that is less than before. Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_max: Option<u64>,
    /// A limit of requests beside those of the plan, named `budget-requests`. Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Bucket>,
    /// A limit of tokens beside those of the plan, named `budget-tokens`. Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Bucket>,
    /// Refuses requests. Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<Refuse>,
}

/// The requests that a stage refuses. Without classes, features and routes it refuses all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Refuse {
    /// The HTTP status: 402, which SDKs pass on at once, or 429, which most of them retry. The answer says in `retry-after`
    /// how long the period lasts.
    #[serde(default = "default_status")]
    pub status: u16,
    /// The classes that are refused. Absent: none in particular; an empty list is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Class>>,
    /// The product features that are refused. A feature that a header names is the client's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// The names of the routes that are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
}

fn default_status() -> u16 {
    402
}
