//! Questions about budgets, and requests to change them: what server and commands share.
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use weir_steer::raise::NewRaise;
use weir_steer::view::{self, BudgetView, Lacking, Transition};

/// The transitions of one answer, unless another number is asked for.
const HISTORY_SHOWN: u32 = 100;

/// Which budgets are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetQuery {
    /// The budgets of this tenant, used or not; of `#` and the name of a shared budget, that one. Absent: those of all tenants that have used something in the current period.
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
) -> Result<Asked<Vec<BudgetView>>, LedgerError> {
    let least = query.stage.unwrap_or_default();
    let Some(tenant) = &query.tenant else { return Ok(Ok(view::list(reader.db(), rules, least, now)?)) };
    if let Some(name) = tenant.strip_prefix('#') {
        // Any of the tenants that share it stands for it.
        let found = find(rules, name).map(|budget| budget.named_tenants().next().filter(|_| budget.shared));
        let sharing = match found {
            Ok(Some(sharing)) => sharing,
            Ok(None) => return Ok(Err(NoBudget::NotShared { budget: name.to_owned() })),
            Err(unknown) => return Ok(Err(unknown)),
        };
        let mut budgets = view::of_tenant(reader.db(), rules, sharing, now)?;
        budgets.retain(|budget| budget.subject == *tenant && budget.stage >= least);
        return Ok(Ok(budgets));
    }
    if let Err(unknown) = check_tenant(rules, tenant)
        && !view::has_used(reader.db(), tenant)?
    {
        return Ok(Err(unknown));
    }
    let mut budgets = view::of_tenant(reader.db(), rules, tenant, now)?;
    budgets.retain(|budget| budget.stage >= least);
    Ok(Ok(budgets))
}

/// An answer, or what the question names and nobody knows.
pub type Asked<T> = Result<T, NoBudget>;

/// What budgets name and nobody has: a plan that neither a tenant nor a gateway has, a tenant that the tenants' home does not have. Each may
/// still come, so nothing is refused for it. `has_plan`: whether a gateway has a plan.
pub(crate) fn unmatched(rules: &Rules, has_plan: impl Fn(&str) -> bool) -> Vec<String> {
    if rules.plans.is_empty() {
        return Vec::new();
    }
    let is_plan = |plan: &str| rules.plans.values().any(|known| known == plan) || has_plan(plan);
    let mut problems = Vec::new();
    for budget in rules.budgets.iter() {
        let plans = budget.named_plans().filter(|plan| !is_plan(plan)).map(|plan| format!("the plan {plan:?}"));
        let tenants: BTreeSet<&str> = budget.named_tenants().chain(budget.overridden()).collect();
        let tenants = tenants.into_iter().filter(|tenant| !rules.plans.contains_key(*tenant));
        let named: Vec<String> = plans.chain(tenants.map(|tenant| format!("the tenant {tenant:?}"))).collect();
        if !named.is_empty() {
            let more = named.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let named = named.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
            problems.push(format!("the budget {} names {named}{more}, which nobody has", budget.name));
        }
    }
    problems
}

/// What a budget of cost cannot count, for people.
pub(crate) fn lacking_words(of: &Lacking) -> String {
    let Lacking { budget, currency, requests, subjects } = of;
    format!(
        "the budget {budget} lacks {requests} requests of {subjects} tenants or users that have no price in {currency}: `weir \
         margin` names the models; give them prices and `weir reprice`, or say `unpriced` of the budget"
    )
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
pub fn history(
    reader: &mut LedgerReader,
    rules: &Rules,
    query: &HistoryQuery,
) -> Result<Asked<Vec<Transition>>, LedgerError> {
    let limit = query.limit.unwrap_or(HISTORY_SHOWN).clamp(1, view::ROWS_MAX);
    let HistoryQuery { subject, budget, before, .. } = query;
    let db = &*reader.db();
    let found = view::history(db, subject.as_deref(), budget.as_deref(), *before, limit)?;
    // Budgets and tenants that are gone have a history all the same.
    let has_any = |subject: Option<&str>, budget: Option<&str>| {
        Ok::<_, LedgerError>(!view::history(db, subject, budget, None, 1)?.is_empty())
    };
    if let Some(budget) = budget.as_deref().filter(|_| found.is_empty())
        && let Err(unknown) = find(rules, budget)
        && !has_any(None, Some(budget))?
    {
        return Ok(Err(unknown));
    }
    if let Some(subject) = subject.as_deref().filter(|_| found.is_empty())
        && let Err(unknown) = check_subject(rules, subject)
        && !has_any(Some(subject), None)?
    {
        return Ok(Err(unknown));
    }
    Ok(Ok(found))
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
    /// The amount.
    pub amount: Pico,
    /// The first moment at which the usual amount counts again; at most a year away.
    pub until: Timestamp,
    /// The reason; it stands in the audit.
    pub why: String,
    /// Whether the amount may be below the one in force.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lower: bool,
}

/// Body of `POST /v1/budgets/pause`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// The budget.
    pub budget: String,
    /// The tenant; for a shared budget any of its tenants.
    pub tenant: String,
    /// The first moment at which the usual amount counts again; at most a year away.
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

/// Why there is nothing to show or to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBudget {
    /// The configuration has none of that name.
    #[error("there is no budget {budget:?}; {known}")]
    Unknown {
        /// The budget.
        budget: String,
        /// Which ones there are.
        known: String,
    },
    /// Each tenant has one of its own.
    #[error("the budget {budget:?} is not shared: name a tenant")]
    NotShared {
        /// The budget.
        budget: String,
    },
    /// There is no such tenant.
    #[error("there is no tenant {tenant:?}; {known}")]
    NoTenant {
        /// The tenant.
        tenant: String,
        /// Which ones there are.
        known: String,
    },
    /// The tenant does not have it.
    #[error("tenant {tenant:?} does not have the budget {budget:?}")]
    NotIts {
        /// The budget.
        budget: String,
        /// The tenant.
        tenant: String,
    },
}

/// The most names that an error lists.
const NAMED_MAX: usize = 20;

/// The names that there are, for an error: a few, and how many more.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.collect();
    let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "there are none".to_owned(),
        many if many > NAMED_MAX => format!("there are {shown} and {} more", many - NAMED_MAX),
        _ => format!("there are {shown}"),
    }
}

fn find<'r>(rules: &'r Rules, budget: &str) -> Result<&'r Budget, NoBudget> {
    let known = || listed(rules.budgets.iter().map(|known| &*known.name));
    let found = rules.budgets.iter().find(|known| *known.name == *budget);
    found.ok_or_else(|| NoBudget::Unknown { budget: budget.to_owned(), known: known() })
}

/// Refuses a tenant that neither the tenants' home nor a budget names. Without any tenants everybody may be one.
fn check_tenant(rules: &Rules, tenant: &str) -> Result<(), NoBudget> {
    let named = || rules.budgets.iter().flat_map(Budget::named_tenants);
    if rules.plans.is_empty() || rules.plans.contains_key(tenant) || named().any(|known| known == tenant) {
        return Ok(());
    }
    let known = listed(rules.plans.keys().map(String::as_str).chain(named()));
    Err(NoBudget::NoTenant { tenant: tenant.to_owned(), known })
}

/// The same of what is counted: a tenant, one of its users, or `#` and a shared budget.
fn check_subject(rules: &Rules, subject: &str) -> Result<(), NoBudget> {
    match subject.strip_prefix('#') {
        Some(budget) => find(rules, budget).map(drop),
        None => check_tenant(rules, weir_steer::subject::tenant(subject)),
    }
}

/// A budget of a tenant, and the key under which it is counted.
pub fn subject<'r>(rules: &'r Rules, budget: &str, tenant: &str) -> Result<(&'r Budget, String), NoBudget> {
    let known = find(rules, budget)?;
    check_tenant(rules, tenant)?;
    if !known.applies(tenant, rules.plans.get(tenant).map(String::as_str)) {
        return Err(NoBudget::NotIts { budget: budget.to_owned(), tenant: tenant.to_owned() });
    }
    Ok((known, known.subject(tenant)))
}

impl RaiseRequest {
    /// The raise, by a person or token of this name.
    pub fn by(self, rules: &Rules, who: impl Into<String>) -> Result<NewRaise, NoBudget> {
        let RaiseRequest { budget, tenant, amount, until, why, lower } = self;
        let pause = PauseRequest { budget, tenant, until, why };
        Ok(NewRaise { amount: Some(amount), lowers: lower, ..pause.by(rules, who)? })
    }
}

impl PauseRequest {
    /// The pause, by a person or token of this name.
    pub fn by(self, rules: &Rules, who: impl Into<String>) -> Result<NewRaise, NoBudget> {
        let (known, subject) = subject(rules, &self.budget, &self.tenant)?;
        let (usual, is_whole) = (known.amount(&subject), known.of.is_whole());
        let PauseRequest { budget, until, why, .. } = self;
        Ok(NewRaise { subject, budget, amount: None, until, who: who.into(), why, usual, is_whole, lowers: false })
    }
}
