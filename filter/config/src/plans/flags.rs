//! What people write about the feature flags of a plan.
use serde::{Deserialize, Serialize};
use weir_contract::Class;

use super::Models;
use crate::flags::FlagIs;

/// What a plan does while a flag holds: these rules stand in the place of the plan's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FlagRules {
    /// The flag: its name where it is true, or names with values.
    pub flag: FlagIs,
    /// The allowed classes. Absent: those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Class>>,
    /// The allowed models. Absent: those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Models>,
    /// The most output tokens of one answer. Absent: as in the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_max: Option<u64>,
    /// The most answers of one request. Absent: as in the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_max: Option<u64>,
}
