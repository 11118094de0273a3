//! Views of cost. Every sum stands beside its currency and beside the units that have no price.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_contract::Timestamp;

use crate::amount::{Currency, Pico};

/// A query for cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostQuery {
    /// Only this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only windows from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Windows that start before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// How time is divided.
    #[serde(default)]
    pub step: Step,
    /// Dimensions of the analysis, with commas between them: `model,class`. Absent: by tenant alone, for as long as there
    /// are sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// How a query divides time, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Not at all.
    #[default]
    Total,
    /// By hours.
    Hour,
    /// By days.
    Day,
    /// By calendar months.
    Month,
}

/// The cost of one tenant in one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostRow {
    /// Where the step begins; absent for [`Step::Total`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// The tenant.
    pub tenant: String,
    /// The values of the dimensions, in the order asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The currency; absent for requests of which nothing has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// The sums.
    #[serde(flatten)]
    pub sums: CostSums,
}

/// Sums of requests and of what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostSums {
    /// Requests of any outcome.
    pub requests: u64,
    /// Requests that failed: the upstream answered with an error, broke off or took too long.
    pub failed_requests: u64,
    /// Requests that repeat an earlier one by their idempotency key.
    pub retried_requests: u64,
    /// Requests whose usage is estimated.
    pub estimated_requests: u64,
    /// Requests that used something without a price.
    pub unpriced_requests: u64,
    /// Requests that tenants pay for themselves, with keys of their own.
    pub own_key_requests: u64,
    /// Every input token, cached ones included.
    pub input_tokens: u64,
    /// Every output token, reasoning included.
    pub output_tokens: u64,
    /// Input tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to a cache.
    pub cache_write_tokens: u64,
    /// Output tokens spent thinking.
    pub reasoning_tokens: u64,
    /// Tokens without a price. No amount includes them.
    pub unpriced_tokens: u64,
    /// What the providers charge.
    pub cost: Pico,
    /// The part of it for failed requests.
    pub failed_cost: Pico,
    /// The part of it for repeated requests.
    pub retried_cost: Pico,
    /// The part of it that rests on estimates of usage.
    pub estimated_cost: Pico,
}

impl CostSums {
    /// Adds other sums of the same currency.
    pub fn add(&mut self, other: &CostSums) {
        self.requests += other.requests;
        self.failed_requests += other.failed_requests;
        self.retried_requests += other.retried_requests;
        self.estimated_requests += other.estimated_requests;
        self.unpriced_requests += other.unpriced_requests;
        self.own_key_requests += other.own_key_requests;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.unpriced_tokens += other.unpriced_tokens;
        self.cost += other.cost;
        self.failed_cost += other.failed_cost;
        self.retried_cost += other.retried_cost;
        self.estimated_cost += other.estimated_cost;
    }
}

/// A query for quantities by model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PricedQuery {
    /// Only this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only windows from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Windows that start before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// How time is divided.
    #[serde(default)]
    pub step: Step,
    /// A row for each tenant instead of one over all.
    #[serde(default)]
    pub by_tenant: bool,
}

/// What was used of one model under one tariff, and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedRow {
    /// Where the step begins; absent for [`Step::Total`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// The tenant; empty over all tenants.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// The provider; empty if unknown.
    pub provider: String,
    /// The model that served; the one asked for if the provider names none.
    pub model: String,
    /// The service tier; empty for the usual one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tier: String,
    /// Input tokens above which the context tier begins; 0 for the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub over: u64,
    /// The currency; absent if nothing has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// Requests.
    pub requests: u64,
    /// Units by kind.
    pub quantities: BTreeMap<String, u64>,
    /// What the provider charges.
    pub cost: Pico,
    /// The units among them without a price, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unpriced: BTreeMap<String, u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a repricing changed, or would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepriceView {
    /// Windows that begin at this moment or later.
    pub from: Timestamp,
    /// Requests that were priced again.
    pub requests: u64,
    /// Requests whose cost stays: they are summed without their model, or date from before units were kept by kind.
    pub left_requests: u64,
    /// Sums that changed.
    pub rows: Vec<RepricedRow>,
}

impl Default for RepriceView {
    fn default() -> Self {
        RepriceView { from: Timestamp::from_millis(0), requests: 0, left_requests: 0, rows: Vec::new() }
    }
}

/// The cost of a tenant's requests before and after a repricing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepricedRow {
    /// The tenant.
    pub tenant: String,
    /// The currency; absent for requests of which nothing has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// The sum before.
    pub old: Pico,
    /// The sum after.
    pub new: Pico,
}

/// A repricing of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepricingView {
    /// When it was done.
    pub at: Timestamp,
    /// Who asked for it.
    pub who: String,
    /// Why.
    pub why: String,
    /// Windows that begin at this moment or later.
    pub from: Timestamp,
    /// Sums that it changed.
    pub rows: Vec<RepricedRow>,
}

/// The sum of a tenant's readings of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingSum {
    /// Where the step begins; absent for [`Step::Total`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// The tenant.
    pub tenant: String,
    /// The name of the readings.
    pub name: String,
    /// The sum, in millionths.
    pub micro: u128,
}
