//! Questions about budgets, and requests to change them: what server and commands share.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_ledger::LedgerError;
use weir_ledger::amount::Pico;
use weir_ledger::query::LedgerReader;
use weir_ledger::view::AuditEntry;
use weir_steer::acts;
use weir_steer::budget::Budget;
use weir_steer::engine::Rules;
use weir_steer::raise::{NewRaise, Raise};
use weir_steer::view::{self, BudgetView, Transition};

/// The transitions of one answer, unless another number is asked for.
const HISTORY_SHOWN: u32 = 100;

/// Which budgets are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetQuery {
    /// The budgets of this tenant, used or not. Absent: those of all tenants that have used something in the current period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only those in this stage or a more severe one. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
}

/// Answer to `GET /v1/budgets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetsView {
    /// The position of the log up to which budgets are evaluated.
    pub evaluated_through: u64,
    /// How long acknowledged events have been waiting to be evaluated, in milliseconds; 0 if none do.
    pub lag_ms: u64,
    /// The budgets, the most used first.
    pub budgets: Vec<BudgetView>,
}

/// Tenants' own amounts of budgets, by tenant and budget.
pub(crate) type OwnAmounts = HashMap<String, BTreeMap<String, Pico>>;

/// The configured budgets with tenants' own amounts.
pub(crate) fn with_amounts(configured: &[Budget], amounts: &OwnAmounts) -> Arc<[Budget]> {
    let mut budgets = configured.to_vec();
    for (tenant, amounts) in amounts {
        for budget in &mut budgets {
            if let Some(amount) = amounts.get(&*budget.name) {
                budget.set_amount(tenant, *amount);
            }
        }
    }
    budgets.into()
}

/// The budgets that a query asks for.
pub fn budgets(
    reader: &mut LedgerReader,
    rules: &Rules,
    query: &BudgetQuery,
    now: Timestamp,
) -> Result<Vec<BudgetView>, LedgerError> {
    let least = query.stage.unwrap_or_default();
    let Some(tenant) = &query.tenant else { return view::list(reader.db(), rules, least, now) };
    let mut budgets = view::of_tenant(reader.db(), rules, tenant, now)?;
    budgets.retain(|budget| budget.stage >= least);
    Ok(budgets)
}

/// Which transitions are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Only of this tenant, or of `#` and the name of a shared budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only of this budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// Only those before this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most so many, 1 to 1000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Transitions, the latest first.
pub fn history(reader: &mut LedgerReader, query: &HistoryQuery) -> Result<Vec<Transition>, LedgerError> {
    let limit = query.limit.unwrap_or(HISTORY_SHOWN).clamp(1, view::ROWS_MAX);
    view::history(reader.db(), query.subject.as_deref(), query.budget.as_deref(), query.before, limit)
}

/// The audit: acts of people and changes that weir made by itself, the latest first.
pub fn audit(reader: &mut LedgerReader) -> Result<Vec<AuditEntry>, LedgerError> {
    let mut entries = reader.audit()?;
    entries.extend(acts::automatic(reader.db(), view::ROWS_MAX)?);
    // A stable order: of one moment the person's act stays first.
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    entries.truncate(view::ROWS_MAX as usize);
    Ok(entries)
}

/// Body of `POST /v1/budgets/raise`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaiseRequest {
    /// The budget.
    pub budget: String,
    /// The tenant; for a shared budget any of its tenants.
    pub tenant: String,
    /// The amount. Absent: the budget is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Pico>,
    /// The first moment at which the usual amount counts again.
    pub until: Timestamp,
    /// The reason; it stands in the audit.
    pub why: String,
}

/// Body of `POST /v1/budgets/resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// The budget.
    pub budget: String,
    /// The tenant; for a shared budget any of its tenants.
    pub tenant: String,
}

/// Answer to `POST /v1/budgets/resume`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// Whether a raise or a pause was in force.
    pub resumed: bool,
}

/// Why there is nothing to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBudget {
    /// The configuration has none of that name.
    #[error("there is no budget {0:?}; `weir budgets list` shows them")]
    Unknown(String),
    /// The tenant does not have it.
    #[error("tenant {tenant:?} does not have the budget {budget:?}")]
    NotIts {
        /// The budget.
        budget: String,
        /// The tenant.
        tenant: String,
    },
}

/// The key under which a budget of a tenant is counted.
pub fn subject(rules: &Rules, budget: &str, tenant: &str) -> Result<String, NoBudget> {
    let known = rules.budgets.iter().find(|known| *known.name == *budget);
    let known = known.ok_or_else(|| NoBudget::Unknown(budget.to_owned()))?;
    if !known.applies(tenant, rules.plans.get(tenant).map(String::as_str)) {
        return Err(NoBudget::NotIts { budget: budget.to_owned(), tenant: tenant.to_owned() });
    }
    Ok(known.subject(tenant))
}

impl RaiseRequest {
    /// The raise, by a person or token of this name.
    pub fn by(self, rules: &Rules, who: impl Into<String>) -> Result<NewRaise, NoBudget> {
        let subject = subject(rules, &self.budget, &self.tenant)?;
        let RaiseRequest { budget, amount, until, why, .. } = self;
        Ok(NewRaise { subject, budget, amount, until, who: who.into(), why })
    }
}

/// Raises, as answers show them.
pub type Raises = Vec<Raise>;
