//! The shape of `alerts.rules` in the configuration.
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use weir_ledger::amount::{Currency, Pico};
use weir_settings::duration::Millis;

/// A rule: when its conditions hold for long enough, its alert fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Its name: 1 to 40 of `a-z 0-9 . _ -`. A rule with the name of a built-in one replaces it.
    pub name: String,
    /// One to four conditions, which must hold together. All are about the same kind of quantity.
    pub when: Vec<ConditionFile>,
    /// What has an alert of its own: `tenant`, `plan`, `feature`, `prompt_version`, `model`, `class`, `route` or `credential`. Absent:
    /// everything together. Only for quantities of requests and money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only requests of this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only values of `by` that match this pattern, in which `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// The span that is looked at, which ends now; 1h to 90d, in whole hours. Absent: 1d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Millis>,
    /// With fewer requests in the window nothing is said. Absent: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at_least_requests: u64,
    /// With fewer values of `by` nothing is said: a share of few is large by nature. Absent: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at_least_values: u64,
    /// How long the conditions hold before the alert fires. Absent: it fires at once.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Millis>,
    /// How severe it is. Absent: `warning`.
    #[serde(default)]
    pub severity: Severity,
    /// Labels that messages carry; in Alertmanager those of the alert. At most 10.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What to do about it, for whoever is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only amounts in this currency. Absent: each currency has an alert of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "currency")]
    pub currency: Option<Currency>,
}

/// A condition; exactly one of `above`, `below`, `rises_by` and `falls_by`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionFile {
    /// The quantity.
    pub measure: Quantity,
    /// It holds where the quantity is greater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub above: Option<Pico>,
    /// It holds where the quantity is smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub below: Option<Pico>,
    /// It holds where the quantity is greater than before by more than so many percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub rises_by: Option<Pico>,
    /// It holds where the quantity is smaller than before by more than so many percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub falls_by: Option<Pico>,
    /// The span before the window that is "before", 1h to 90d. What grows with time is compared per hour. Absent: 7d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Millis>,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Revenue less cost.
    Margin,
    /// The margin in percent of revenue.
    MarginPercent,
    /// What tenants pay.
    Revenue,
    /// What providers charge.
    Cost,
    /// The cost of one request.
    CostPerRequest,
    /// The share of all cost, in percent.
    CostSharePercent,
    /// Requests of any outcome.
    Requests,
    /// Requests that did not fail, in percent.
    SuccessPercent,
    /// Requests that repeat another, in percent.
    RetryPercent,
    /// Tokens without a price.
    UnpricedTokens,
    /// What a budget will have used at the end of its period, in percent of its amount, if it goes on as since the period began. Said
    /// once a tenth of the period is over.
    BudgetForecastPercent,
    /// Numbers of events that never came, of gateways heard of within the window.
    MissingNumbers,
    /// Seconds since any gateway was last heard.
    SecondsWithoutEvents,
    /// Rows of billing that wait for a person.
    HeldRows,
    /// Differences found when weir last compared with Stripe.
    Differences,
    /// Records and names of other tenants that were taken out of answers, within the window.
    CriticalFindings,
    /// Requests of a tenant that failed for its own key at a provider, within the window: it was missing, had expired, could not be
    /// used, or the provider refused it.
    OwnKeyFailures,
}

/// What a quantity is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests and money: it has a window, and values of `by`.
    Sums,
    /// Budgets.
    Budgets,
    /// The whole installation.
    System,
}

impl Quantity {
    /// What it is about.
    pub const fn kind(self) -> Kind {
        match self {
            Quantity::BudgetForecastPercent => Kind::Budgets,
            Quantity::MissingNumbers
            | Quantity::SecondsWithoutEvents
            | Quantity::HeldRows
            | Quantity::Differences
            | Quantity::CriticalFindings
            | Quantity::OwnKeyFailures => Kind::System,
            _ => Kind::Sums,
        }
    }

    /// Its name in sentences.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Quantity::Margin => "the margin",
            Quantity::MarginPercent => "the margin in percent of revenue",
            Quantity::Revenue => "the revenue",
            Quantity::Cost => "the cost",
            Quantity::CostPerRequest => "the cost per request",
            Quantity::CostSharePercent => "the share of all cost in percent",
            Quantity::Requests => "the number of requests",
            Quantity::SuccessPercent => "the share of successful requests in percent",
            Quantity::RetryPercent => "the share of repeated requests in percent",
            Quantity::UnpricedTokens => "the number of tokens without a price",
            Quantity::BudgetForecastPercent => "the forecast use of the budget in percent",
            Quantity::MissingNumbers => "the number of missing events",
            Quantity::SecondsWithoutEvents => "the time without a word of any gateway in seconds",
            Quantity::HeldRows => "the number of held rows",
            Quantity::Differences => "the number of differences from Stripe",
            Quantity::CriticalFindings => "the number of records and names of other tenants in answers",
            Quantity::OwnKeyFailures => "the number of requests that failed for a key of the tenant's own",
        }
    }

    /// Whether it grows with the length of its window.
    pub(crate) const fn grows(self) -> bool {
        matches!(
            self,
            Quantity::Margin | Quantity::Revenue | Quantity::Cost | Quantity::Requests | Quantity::UnpricedTokens
        )
    }

    /// Whether it is an amount of money, or a ratio of such amounts.
    pub(crate) const fn has_currency(self) -> bool {
        self.is_money() || matches!(self, Quantity::MarginPercent | Quantity::CostSharePercent)
    }

    /// Whether it is an amount of money.
    pub(crate) const fn is_money(self) -> bool {
        matches!(self, Quantity::Margin | Quantity::Revenue | Quantity::Cost | Quantity::CostPerRequest)
    }
}

/// How severe an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody should look today.
    #[default]
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// The severity of that name; an unknown one is a warning.
    pub(crate) fn from_name(name: &str) -> Self {
        if name == "critical" { Severity::Critical } else { Severity::Warning }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "number"], "description": "a decimal with at most 12 decimals", "examples": ["50"]})
}

fn currency(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[A-Za-z]{3}$", "examples": ["USD"]})
}
