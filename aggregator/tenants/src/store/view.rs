//! What callers see of the database.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_contract::placement::Placement;
use weir_contract::scopes::Scopes;
use weir_contract::{TenantId, Timestamp};
use weir_ledger::amount::Pico;
use weir_ledger::periods::Interval;

/// The most rows of one answer.
pub const ROWS_MAX: u32 = 1_000;
/// The rows of one answer if the caller does not say how many.
pub(crate) const ROWS_DEFAULT: u32 = 100;

/// Where a tenant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may use the service.
    Active,
    /// It may not use the service for now: gateways answer 403.
    Suspended,
    /// It has left: gateways do not know it any more. Its usage until then is still billed.
    Archived,
}

impl Standing {
    /// As the database, the API and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Active => "active",
            Standing::Suspended => "suspended",
            Standing::Archived => "archived",
        }
    }
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantView {
    /// Its id.
    pub id: TenantId,
    /// Counts its changes; the ETag.
    pub version: u64,
    /// Where it stands.
    pub state: Standing,
    /// Its plan.
    pub plan: String,
    /// What it is known by beside its id.
    pub identifiers: Vec<String>,
    /// Where it is kept apart from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Box<Placement>>,
    /// The person or team that looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its own amounts of budgets, by the budget's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub budgets: BTreeMap<String, Pico>,
    /// The Stripe customer that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_customer: Option<String>,
    /// The beginning of one of its billing periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_anchor: Option<Timestamp>,
    /// The length of its billing periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_interval: Option<Interval>,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it or one of its keys was last changed.
    pub changed_at: Timestamp,
    /// How many of its keys are in force.
    pub keys: u64,
    /// What is valid and may not be meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A key, without its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Its name, which appears in events.
    pub id: String,
    /// Its tenant.
    pub tenant: TenantId,
    /// The key itself, in the one answer that makes it; nobody can be told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Overrides the tenant's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The environment of usage under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The product feature it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// What it may be used for; absent for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The day on which it was last used, where the ledger knows one: within 90 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}

/// A page of tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantsPage {
    /// By id.
    pub tenants: Vec<TenantView>,
    /// The cursor of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A change of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Counts all changes.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The person or token.
    pub who: String,
    /// The tenant's version after it.
    pub version: u64,
    /// What was done: `create`, `change`, `import`, `key create`, `key revoke`, `key rotate`.
    pub act: String,
    /// What changed, as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What changed, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A page of a tenant's history, the latest change first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The changes.
    pub changes: Vec<HistoryEntry>,
    /// The cursor of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which tenants to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantsQuery {
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Standing>,
    /// Only those with this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The previous page's `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most so many, 1 to [`ROWS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which changes to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// The previous page's `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most so many, 1 to [`ROWS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
