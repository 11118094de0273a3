//! The shape of `budgets` in the configuration.
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use weir_contract::stage::{Scope, Stage};
use weir_ledger::amount::{Currency, Pico};

/// The most budgets: each is looked at for every tenant that has used something.
pub(crate) const BUDGETS_MAX: usize = 100;

/// A budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetFile {
    /// Its name, which clients see: 1 to 40 of `a-z 0-9 . _ -`.
    pub name: String,
    /// The measured quantity.
    pub of: Measure,
    /// The amount of one period: of money with `of: cost` and `revenue`, of credits, else a whole number.
    #[schemars(schema_with = "amount")]
    pub amount: Pico,
    /// The currency of `of: cost` and `revenue`. What is priced in another currency counts as usage without a price. Absent: USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "currency")]
    pub currency: Option<Currency>,
    /// The period that the amount is for.
    pub period: Span,
    /// The time zone in which days, weeks and months begin. Absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The plans whose tenants have the budget. Without `plans` and `tenants` all have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub plans: Vec<String>,
    /// Tenants that have the budget, whatever their plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub tenants: Vec<String>,
    /// Whether all `tenants` share one amount, instead of having the amount each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Whether each end user of a tenant has the amount, instead of the tenant: `user`, as events name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// The requests that the budget covers: `{feature: NAME}`, or `route`, `class`, `model` (with `*` for any text; the model that
    /// served), `key`, or `keys` for a group of 2 to 16 keys that share it. Absent: all. A feature that a header names is the client's own choice: such a budget can be
    /// evaded.
    #[serde(default, skip_serializing_if = "Scope::is_whole")]
    pub only: Scope,
    /// The used share, in percent, at which each stage begins.
    #[serde(default)]
    pub stages: Thresholds,
    /// Of a budget of cost: the stage in which it stands at least while its period has usage that the used amount lacks, since it has no
    /// price or one in another currency: `ok` (as if it cost nothing), `warn`, `degrade`, `contain` or `exceeded`. Absent: `warn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "stage")]
    pub unpriced: Option<Stage>,
    /// Amounts of single tenants.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "amounts")]
    pub overrides: BTreeMap<String, Pico>,
    /// `enforce` tells gateways about stages; `observe` only records them.
    #[serde(default)]
    pub mode: BudgetMode,
    /// Whether no request may begin beyond the amount: weir serve leases it to gateways, as it does with limits of the fleet. For
    /// `of: tokens` and `requests` by day, week or month.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
}

/// Who has an amount of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each end user.
    User,
}

/// The quantity that a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// What providers charge.
    Cost,
    /// Input and output tokens.
    Tokens,
    /// Input tokens, cached ones included.
    InputTokens,
    /// Output tokens, reasoning included.
    OutputTokens,
    /// Requests.
    Requests,
    /// What the tenant pays, by its price plan: its bill of the period so far.
    Revenue,
    /// Credits that usage burns, by the tenant's price plan, granted or not.
    Credits,
}

impl Measure {
    /// Whether it is computed from the sums by price plans now and then, instead of event by event.
    pub const fn is_charged(self) -> bool {
        matches!(self, Measure::Revenue | Measure::Credits)
    }

    /// Whether its amounts are money.
    pub(crate) const fn is_money(self) -> bool {
        matches!(self, Measure::Cost | Measure::Revenue)
    }

    /// Whether it counts whole things.
    pub const fn is_whole(self) -> bool {
        !self.is_money() && !matches!(self, Measure::Credits)
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Measure::Cost => "cost",
            Measure::Tokens => "tokens",
            Measure::InputTokens => "input_tokens",
            Measure::OutputTokens => "output_tokens",
            Measure::Requests => "requests",
            Measure::Revenue => "revenue",
            Measure::Credits => "credits",
        }
    }
}

/// The period of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// The tenant's billing period: of its Stripe subscription or its entry in the tenants file, else a calendar month in UTC.
    BillingPeriod,
    /// No periods: the amount is for ever.
    Total,
}

impl Span {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Span::Day => "day",
            Span::Week => "week",
            Span::Month => "month",
            Span::BillingPeriod => "billing_period",
            Span::Total => "total",
        }
    }
}

/// Used shares, in percent, that rise from stage to stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// People are told.
    pub warn: u32,
    /// Cheaper models serve, where the plan says so.
    pub degrade: u32,
    /// Less important requests are held back, where the plan says so.
    pub contain: u32,
    /// Used up.
    pub exceeded: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { warn: 80, degrade: 90, contain: 95, exceeded: 100 }
    }
}

/// Whether a budget binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetMode {
    /// Gateways do what the plans say of its stages.
    #[default]
    Enforce,
    /// Its stages are recorded and told to people only.
    Observe,
}

impl BudgetMode {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            BudgetMode::Enforce => "enforce",
            BudgetMode::Observe => "observe",
        }
    }

    /// The mode of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [BudgetMode::Enforce, BudgetMode::Observe].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// Reads a list that names something: an empty one looks like nobody, and would mean everybody.
fn not_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(D::Error::custom("an empty list names nobody; leave the field out if everybody is meant"));
    }
    Ok(list)
}

fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "number"], "description": "a decimal with at most 12 decimals", "examples": ["500"]})
}

fn amounts(generator: &mut SchemaGenerator) -> Schema {
    let amount = amount(generator);
    json_schema!({"type": "object", "additionalProperties": amount})
}

fn stage(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": Stage::ALL.map(Stage::as_str)})
}

fn currency(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[A-Za-z]{3}$", "examples": ["USD"]})
}
