//! What people write about plans, routes and classes: a part of [`super::shape`].
pub mod flags;
pub mod pools;
pub mod stages;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use weir_contract::Class;

use super::duration::Span;
use super::rate::Rate;
use crate::guard::Guard;
use crate::shared::Permit;
use crate::tenant_key::TenantKey;
use flags::FlagRules;
use stages::Stages;

/// A plan: limits and rules of its tenants.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The limit of requests. Absent: none.
    #[serde(default)]
    pub requests: Option<Bucket>,
    /// The limit of LLM tokens, input and output together. A request reserves its likely usage; weir corrects the
    /// reservation at its end.
    #[serde(default)]
    pub tokens: Option<Bucket>,
    /// Further limits: for some requests, or per class, route, key, user or model.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// The allowed classes of requests. Absent: all.
    #[serde(default)]
    pub classes: Option<Vec<Class>>,
    /// The allowed models. Absent: all.
    #[serde(default)]
    pub models: Option<Models>,
    /// The most output tokens of one answer. Weir lowers a higher cap and adds a missing one.
    #[serde(default)]
    pub output_tokens_max: Option<u64>,
    /// The most answers that one request may ask for (`n`, `best_of`, `candidateCount`).
    #[serde(default)]
    pub n_max: Option<u64>,
    /// The largest request body, in bytes.
    #[serde(default)]
    pub request_max_bytes: Option<u64>,
    /// The longest time that a whole answer may take (Envoy). Streams have a limit of their own.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The longest time that a streamed answer may take (Envoy). Absent: no bound.
    #[serde(default)]
    pub stream_timeout: Option<Span>,
    /// The region that must serve its tenants, where a model is chosen for them: residency. It is never widened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The dedicated endpoint that must serve its tenants, where a model is chosen for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The tier of its tenants in `pools`. Absent: the tier that has the plan's name, where a pool has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// What changes while a budget of the tenant is in a stage (`budgets` of weir.yaml). Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<Stages>,
    /// What changes while a feature flag holds, at most 8 times; the first whose flag holds applies. Absent: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<FlagRules>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The rate at which the bucket refills.
    pub rate: Rate,
    /// The bucket's size: the largest burst. Absent: the rate's units.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// How far the limit reaches.
    #[serde(default, skip_serializing_if = "Scope::is_default")]
    pub scope: Scope,
    /// How a gateway goes on once its lease has run out and weir serve does not answer. For `scope: fleet`; absent: `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<Unreachable>,
}

/// How far a limit reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each gateway process has a bucket of its own, so N gateways admit up to N times the limit.
    #[default]
    Gateway,
    /// All gateways share one bucket, which weir serve divides among them. Needs `leases` or `directory`.
    Fleet,
}

impl Scope {
    fn is_default(&self) -> bool {
        *self == Scope::default()
    }
}

/// How a gateway treats requests once its lease on a limit of the fleet has run out and weir serve does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unreachable {
    /// Refuses them. The limit holds.
    #[default]
    Refuse,
    /// Admits the gateway's share of the rate, which weir serve has set aside for it. The limit holds.
    Share,
    /// Admits them all, and counts them. The limit does not hold.
    Open,
}

/// A further limit of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Its name in `RateLimit` headers: 1 to 40 of `a-z 0-9 . _ -`, and not `requests` or `tokens`.
    pub name: String,
    /// The unit that the limit counts.
    pub count: Count,
    /// The rate at which the bucket refills.
    pub rate: Rate,
    /// The bucket's size: the largest burst. Absent: the rate's units.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// How far the limit reaches.
    #[serde(default, skip_serializing_if = "Scope::is_default")]
    pub scope: Scope,
    /// How a gateway goes on once its lease has run out and weir serve does not answer. For `scope: fleet`; absent: `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<Unreachable>,
    /// One bucket for each of these, instead of one for the tenant.
    #[serde(default)]
    pub per: Vec<Per>,
    /// The classes that the limit covers. Empty: all.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// The models that the limit covers, with `*` for any text. Empty: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// The names of the routes that the limit covers. Empty: all.
    #[serde(default)]
    pub routes: Vec<String>,
}

/// The unit that a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Requests.
    Requests,
    /// LLM tokens.
    Tokens,
}

/// The values that each get a bucket of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each class.
    Class,
    /// Each named route.
    Route,
    /// Each API key or token issuer.
    Key,
    /// Each end user that a token names.
    User,
    /// Each model.
    Model,
}

/// The models that a plan allows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// Names of models, with `*` for any text.
    pub allow: Vec<String>,
    /// How weir treats a request for another model.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// How weir treats a request for a model that is not allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// Refuses it.
    #[default]
    Refuse,
    /// Replaces the model by this one, in the body and in the path. Where the path cannot be changed (on Kong, or where
    /// the client has signed it) weir refuses the request.
    Replace(String),
}

/// Rules for matching requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The route's name: in events, in limits, and as the name that the gateway's own routes refer to.
    #[serde(default)]
    pub name: Option<String>,
    /// The requests that the route covers. Absent: those of gateway routes that name it in their metadata (Envoy:
    /// `filter_metadata: {weir: {route: NAME}}`).
    #[serde(rename = "match", default)]
    pub matches: Option<Match>,
    /// Passes requests unidentified and uncounted, for health checks. Needs an exact path.
    #[serde(default)]
    pub bypass: bool,
    /// Answers instead of the upstream whether weir can decide about requests: 200, or 503 until tenants and keys have arrived.
    /// For load balancers; needs an exact path.
    #[serde(default)]
    pub readiness: bool,
    /// The class; overrides what path and body show.
    #[serde(default)]
    pub class: Option<Class>,
    /// The product feature, in events.
    #[serde(default)]
    pub feature: Option<String>,
    /// The environment, in events, where the credential names none. It decides whether a request is billed.
    #[serde(default)]
    pub environment: Option<String>,
    /// The provider's name in events. The answer's shape still decides how weir reads it.
    #[serde(default)]
    pub provider: Option<String>,
    /// Whether usage is read from the answers there. Absent: where a model is known to work, by the path or by the class
    /// that this route or a rule names.
    #[serde(default)]
    pub usage: Option<RouteUsage>,
    /// Whether weir asks streams of this route for their usage. Absent: as in the top-level `ask_for_usage`, except for
    /// providers that are known to refuse the request.
    #[serde(default)]
    pub ask_for_usage: Option<AskForUsage>,
    /// Whether `input_tokens` of the answers there includes cached tokens although their shape is Anthropic's, in which it
    /// does not (SGLang, oMLX).
    #[serde(default)]
    pub input_includes_cache: bool,
    /// Accepts a request without a credential as one of its subdomain's tenant.
    #[serde(default)]
    pub anonymous: bool,
    /// Allows a connection to be upgraded (WebSocket) or tunnelled (CONNECT). Weir measures its bytes and time.
    #[serde(default)]
    pub upgrade: bool,
    /// Operations on resources that all tenants of one provider account share. Weir refuses each that is not named
    /// here. A list of kinds lets tenants share them; `{files: sealed}` keeps each tenant's own apart, which needs
    /// `sealed_ids` and the `provider`.
    #[serde(default)]
    pub permit: Permit,
    /// Keeps tenants apart in the vector store behind the route. Needs `hold`. Absent: nothing is guarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Whether identifiers of other tenants are taken out of the answers there. Absent: as `redact` of the whole
    /// configuration says.
    #[serde(default)]
    pub redact: Option<bool>,
    /// Whether the upstream there is told the feature flags of each request, in `x-weir-flags`. Absent: as `flags_header` of the whole
    /// configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<bool>,
    /// The name of the pool that requests draw from, one of `pools`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Sends the requests there up with the tenant's own key, which `weir byok` keeps. Needs `directory`, and Envoy. Absent: with
    /// the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_key: Option<TenantKey>,
}

/// Whether the usage of a route's answers is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteUsage {
    /// A model answers there, whatever path and class say.
    Read,
    /// Reads no usage there, whatever path and class are.
    Ignore,
}

/// Whether weir asks streams for their usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "AskForUsageShape")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "AskForUsageShape"))]
pub enum AskForUsage {
    /// They are; a request whose body cannot be read strictly, so that it cannot be asked, is refused.
    #[default]
    Always,
    /// They are where the body can be read; of others the usage is estimated.
    WhenReadable,
    /// They are not, and their usage is estimated unless the provider tells it by itself.
    Never,
}

/// The form in YAML.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum AskForUsageShape {
    /// `true` for always, `false` for never.
    Always(bool),
    /// Where the body can be read.
    Word(AskForUsageWord),
}

/// The word beside `true` and `false`.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum AskForUsageWord {
    /// Where the body can be read; the usage of others is estimated.
    WhenReadable,
}

impl<'de> Deserialize<'de> for AskForUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AskForUsageVisitor)
    }
}

struct AskForUsageVisitor;

impl Visitor<'_> for AskForUsageVisitor {
    type Value = AskForUsage;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`true`, `false` or `when_readable`")
    }

    fn visit_bool<E: serde::de::Error>(self, asks: bool) -> Result<AskForUsage, E> {
        Ok(if asks { AskForUsage::Always } else { AskForUsage::Never })
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<AskForUsage, E> {
        match word {
            "when_readable" => Ok(AskForUsage::WhenReadable),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }
}

impl From<AskForUsage> for AskForUsageShape {
    fn from(ask: AskForUsage) -> Self {
        match ask {
            AskForUsage::Always => AskForUsageShape::Always(true),
            AskForUsage::Never => AskForUsageShape::Always(false),
            AskForUsage::WhenReadable => AskForUsageShape::Word(AskForUsageWord::WhenReadable),
        }
    }
}

/// The requests that a route covers: exactly one of the fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The whole path, without the query.
    #[serde(default)]
    pub path: Option<String>,
    /// The beginning of the path, ending at a `/` boundary.
    #[serde(default)]
    pub path_prefix: Option<String>,
}

/// A class for matching requests. The first matching rule applies, after `routes` and before weir's defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClassRule {
    /// The class.
    pub class: Class,
    /// The conditions; all must hold.
    #[serde(rename = "match")]
    pub matches: ClassMatch,
}

/// The conditions of a [`ClassRule`]; at least one field.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClassMatch {
    /// The beginning of the path, ending at a `/` boundary.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// The method.
    #[serde(default)]
    pub method: Option<String>,
    /// A header and its value.
    #[serde(default)]
    pub header: Option<HeaderMatch>,
    /// The model, with `*` for any text.
    #[serde(default)]
    pub model: Option<String>,
    /// The smallest body, in bytes.
    #[serde(default)]
    pub size_min_bytes: Option<u64>,
}

/// A header and its value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Its name.
    pub name: String,
    /// Its value, with `*` for any text.
    #[serde(default = "any")]
    pub value: String,
}

/// The headers that tell clients what is left of their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitHeaders {
    /// The answers that carry them.
    #[serde(default)]
    pub on: OnAnswers,
    /// Also sends `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    #[serde(default)]
    pub x_ratelimit: bool,
    /// Also sends the headers of the provider whose API the client calls, which its SDKs read:
    /// `x-ratelimit-remaining-requests`, `anthropic-ratelimit-requests-remaining`.
    #[serde(default)]
    pub vendor: bool,
    /// Tells on every answer how far the tenant's budgets are used, where one is past its first threshold:
    /// `x-weir-budget: monthly;stage=degrade;used=0.9;resets=@1796083200`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub budget: bool,
}

/// The answers that carry limit headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnAnswers {
    /// Only answers that refuse for a limit; each header costs a call into the gateway.
    #[default]
    Refused,
    /// All answers.
    All,
}

fn any() -> String {
    "*".to_owned()
}
