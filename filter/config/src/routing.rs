//! What people write about models, the providers that serve them, and the rules that choose among them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::stage::Stage;
use weir_contract::{Class, TenantId};

use super::flags::FlagIs;
use super::tenant_key::KeyHeader;

/// Who serves models. Envoy has a cluster of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ModelProvider"))]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its name, and that of its cluster: 1 to 32 of `a-z 0-9 -`.
    pub name: String,
    /// The API that it speaks.
    pub dialect: Dialect,
    /// The region in which it works. A plan with a `region` is served by its providers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The dedicated deployment that it is. A plan with an `endpoint` is served by it only, and no other plan is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The `:authority` of its requests. Absent: the client's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The path of its requests; `{model}` stands for the model's name there. Absent: that of its dialect, `/v1/messages`,
    /// `/v1/chat/completions` or, at Bedrock, `/model/{model}/invoke`. Vertex AI needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path of requests for a stream, where it is another one. Absent: `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_path: Option<String>,
    /// Names in `anthropic-beta` that a cloud knows beside those that weir knows of it (`docs/translation.md`). For `vertex_anthropic` and
    /// `bedrock_anthropic`. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub betas: Vec<String>,
    /// How long an attempt at a stream may take here until its first byte, in milliseconds. Absent: what `routing` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms_max: Option<u32>,
    /// How long an attempt at an answer that comes whole may take here, in milliseconds. Absent: what `routing` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_ms_max: Option<u32>,
    /// Sends requests up with the tenant's own key at this provider. It needs `directory`. Absent: with the operator's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_key: Option<ProviderKey>,
    /// The name of the pool that requests draw from that go to it first, one of `pools`. Where it is saturated, the next candidate is
    /// chosen. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// The key of their own that tenants have at a provider of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProviderKey {
    /// The provider whose key it is, by weir's name of it: `openai`, `anthropic`, …
    pub provider: String,
    /// The header that carries the key. Absent: the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<KeyHeader>,
    /// Whether models of this provider drop out for a tenant without a key. `false`: the operator's key serves it. A key that has
    /// expired or cannot be used drops them out in either case, unless the tenant's record says `fallback: house`.
    #[serde(default = "yes")]
    pub required: bool,
}

/// The API that a provider speaks, and which fields of it the provider refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ModelDialect"))]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Chat Completions of OpenAI, also at Azure.
    #[serde(rename = "openai")]
    OpenAi,
    /// Messages of Anthropic.
    Anthropic,
    /// Chat Completions of vLLM.
    Vllm,
    /// Chat Completions of Mistral.
    Mistral,
    /// Chat Completions of Ollama.
    Ollama,
    /// Messages of Anthropic's models at Google's Vertex AI (`rawPredict`).
    VertexAnthropic,
    /// Messages of Anthropic's models at Amazon Bedrock (`InvokeModel`), whole answers only.
    BedrockAnthropic,
}

/// A model that requests can be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CatalogueModel"))]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name here: 1 to 64 of `A-Z a-z 0-9 . _ : / -`.
    pub name: String,
    /// The provider that serves it.
    pub provider: String,
    /// Its name there. Absent: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The most tokens of input and output together.
    pub context_max_tokens: u64,
    /// The most tokens of one answer.
    pub output_max_tokens: u64,
    /// How good it is, 0 to 100, by class of request. A class that is not named: 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quality: BTreeMap<Class, u8>,
    /// What it costs.
    pub price: Price,
    /// How it is told to think before it answers.
    #[serde(default)]
    pub thinking: Thinking,
    /// Whether `temperature` and the like may be set.
    #[serde(default = "yes")]
    pub sampling: bool,
    /// Whether it calls tools.
    #[serde(default = "yes")]
    pub tools: bool,
    /// Whether it reads images.
    #[serde(default = "yes")]
    pub images: bool,
}

/// The price of a model's tokens, in millionths of the currency for a million tokens: 3000000 is 3.00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ModelPrice"))]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of input.
    pub input: u64,
    /// Of output.
    pub output: u64,
    /// Of input that the provider reads from its cache. It counts in hard budgets of cost alone; absent: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// Of input that the provider writes to its cache. It counts in hard budgets of cost alone; absent: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
}

/// How a model is told to think before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// It does not think.
    #[default]
    Never,
    /// By a number of tokens.
    Budget,
    /// By an effort.
    Effort,
}

/// How models are chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// Where models and rules come from. With `directory` those of weir serve replace the ones here as soon as it answers;
    /// `providers` stay, since the gateway has a cluster for each. It needs `directory`. Absent: `inline`.
    #[serde(default, skip_serializing_if = "Source::is_inline")]
    pub from: Source,
    /// The rules; the first that matches a request names its candidates.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The most providers that one request tries: 1 to 4.
    #[serde(default = "default_attempts_max")]
    pub attempts_max: usize,
    /// By how many percent another model must be cheaper before a tenant leaves the one that it has.
    #[serde(default = "default_hysteresis_percent")]
    pub hysteresis_percent: u8,
    /// The currency of all prices, by ISO 4217. A hard budget of cost in another one cannot be kept.
    #[serde(default = "default_currency")]
    pub currency: String,
    /// Tells clients the choice and who served, in `x-weir-route` and `x-weir-served`.
    #[serde(default)]
    pub tell_client: bool,
    /// How long an attempt at a stream may take until its first byte, in milliseconds; then the next provider is tried. Absent: as
    /// long as the provider may say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms_max: Option<u32>,
    /// How long an attempt at an answer that comes whole may take, in milliseconds; then the next provider is tried. Absent: as long
    /// as the provider may say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_ms_max: Option<u32>,
    /// How many attempts beyond the first all requests of a worker may take together.
    #[serde(default, skip_serializing_if = "RetryBudget::is_default")]
    pub retry_budget: RetryBudget,
}

/// How many attempts beyond the first a worker of the gateway makes in ten seconds: a share of its routed requests of that time, or
/// the floor where that is more. A request beyond it gets the answer of the attempt that it has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RetryBudget {
    /// The share in percent, 0 to 300.
    pub percent: u16,
    /// The attempts that are always granted.
    pub floor: u32,
}

impl Default for RetryBudget {
    /// Each request may leave one provider that fails. What is bounded are outages of several at once.
    fn default() -> Self {
        RetryBudget { percent: 100, floor: 10 }
    }
}

impl RetryBudget {
    /// Whether it is the one that holds where nobody says another.
    pub fn is_default(&self) -> bool {
        *self == RetryBudget::default()
    }
}

/// Where models and rules come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RoutingSource"))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// This configuration.
    #[default]
    Inline,
    /// The directory of weir serve.
    Directory,
}

impl Source {
    fn is_inline(&self) -> bool {
        *self == Source::Inline
    }
}

/// A catalogue as weir serve hands it to gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivered {
    /// The providers.
    pub providers: Vec<Provider>,
    /// Their models.
    pub models: Vec<Model>,
    /// How models are chosen.
    pub routing: Routing,
}

/// A rule: what a client asks for, and the models that may serve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RoutingRule"))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name that the client asks for: `auto`, `fast`, or any other.
    pub model: String,
    /// What else must be true of the request. Absent: nothing.
    #[serde(default, rename = "match", skip_serializing_if = "RuleMatch::is_empty")]
    pub matches: RuleMatch,
    /// The models that may serve it: the cheapest that fits does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// Or the models that share the requests, each with its part: `{a: 90, b: 10}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub split: BTreeMap<String, u32>,
    /// The order in which candidates are tried.
    #[serde(default, skip_serializing_if = "Order::is_cost")]
    pub order: Order,
    /// Whose requests stay together in a split.
    #[serde(default)]
    pub split_by: SplitBy,
    /// The least quality, 0 to 100, for the class of the request.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quality_min: u8,
    /// Within how many milliseconds 99 of 100 answers of a model to requests of this class must have ended lately, over all gateways. A
    /// model with fewer than 20 answers in 15 minutes fits. It needs `directory`, which brings the figures. Absent: any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms_max: Option<u32>,
}

/// What must be true of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RoutingMatch"))]
#[serde(deny_unknown_fields)]
pub struct RuleMatch {
    /// Its class is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Class>,
    /// The plan of its tenant is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<String>,
    /// Its tenant is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantId>,
    /// The stage of the tenant's budget is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// It has each of these headers, once and with this value, and comes from a caller that is believed: one whose address or
    /// certificate a `header` source of `identity` names. From anybody else it matches no such rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Its prompt has at most so many tokens, by weir's estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_max: Option<u64>,
    /// It has tools, or has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// It has images, or has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    /// The feature flag: its name where it is true, or names with values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<FlagIs>,
}

impl RuleMatch {
    fn is_empty(&self) -> bool {
        *self == RuleMatch::default()
    }
}

/// The order in which candidates are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RoutingOrder"))]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The cheapest that fits first.
    #[default]
    Cost,
    /// As they are written: the first is tried while it fits.
    Listed,
}

impl Order {
    fn is_cost(&self) -> bool {
        *self == Order::Cost
    }
}

/// Whose requests stay together in a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// All of a tenant's.
    #[default]
    Tenant,
    /// Those of each end user. A request that names none goes with its tenant's.
    User,
}

/// The configuration of the role `upstream`: what weir does in front of one provider, as an upstream filter of its cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The version of this format: 1.
    pub version: u32,
    /// `upstream`.
    pub role: Role,
    /// The provider, as in the catalogue.
    pub provider: Provider,
    /// Its models, as in the catalogue.
    pub models: Vec<Model>,
    /// How long Envoy lets the provider say nothing: the route's `per_try_idle_timeout`, in seconds. An attempt that got no answer for
    /// so long counts as silent. Absent: it counts as reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_max_seconds: Option<u64>,
}

/// What a filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It speaks the provider's dialect, on each attempt of a request.
    Upstream,
}

fn yes() -> bool {
    true
}

fn is_zero(quality: &u8) -> bool {
    *quality == 0
}

fn default_attempts_max() -> usize {
    3
}

fn default_currency() -> String {
    "USD".to_owned()
}

fn default_hysteresis_percent() -> u8 {
    10
}
