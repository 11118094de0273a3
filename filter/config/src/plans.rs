//! What people write about plans, routes and classes: a part of [`super::shape`].
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use weir_contract::Class;

use super::duration::Span;
use super::rate::Rate;
use crate::shared::Shared;

/// What a tenant may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How many requests. Absent: as many as it likes.
    #[serde(default)]
    pub requests: Option<Bucket>,
    /// How many LLM tokens, input and output. A request reserves what it is likely to use, and is settled at its end.
    #[serde(default)]
    pub tokens: Option<Bucket>,
    /// Further buckets, for some requests or for each of some value.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// The classes of requests that are allowed. Absent: all.
    #[serde(default)]
    pub classes: Option<Vec<Class>>,
    /// Which models. Absent: all.
    #[serde(default)]
    pub models: Option<Models>,
    /// The most output tokens of one answer: a higher cap is lowered, a missing one is put in.
    #[serde(default)]
    pub output_tokens_max: Option<u64>,
    /// The most answers that one request may ask for (`n`, `best_of`, `candidateCount`).
    #[serde(default)]
    pub n_max: Option<u64>,
    /// The largest request body, in bytes.
    #[serde(default)]
    pub request_max_bytes: Option<u64>,
    /// How long a whole answer may take (Envoy). Streams have a time of their own.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// How long a streamed answer may take (Envoy). Absent: as long as it likes.
    #[serde(default)]
    pub stream_timeout: Option<Span>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// How fast it refills.
    pub rate: Rate,
    /// How much it holds: the burst that is let through at once. Absent: the rate's units.
    #[serde(default)]
    pub capacity: Option<u64>,
}

/// A further limit of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Its name in `RateLimit` headers: 1 to 40 of `a-z 0-9 . _ -`, and not `requests` or `tokens`.
    pub name: String,
    /// What it counts.
    pub count: Count,
    /// How fast it refills.
    pub rate: Rate,
    /// How much it holds. Absent: the rate's units.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// One bucket for each of these, instead of one for the tenant.
    #[serde(default)]
    pub per: Vec<Per>,
    /// Only requests of these classes. Empty: of all.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// Only requests for these models, with `*` for any text. Empty: for all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Only requests of the routes of these names. Empty: of all.
    #[serde(default)]
    pub routes: Vec<String>,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Requests.
    Requests,
    /// LLM tokens.
    Tokens,
}

/// What a limit has a bucket for each of.
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

/// Which models a plan allows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// Names, with `*` for any text.
    pub allow: Vec<String>,
    /// What becomes of a request for another one.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// What becomes of a request for a model that is not allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It is refused.
    #[default]
    Refuse,
    /// It gets this model, in the body and in the path. Where the path cannot be changed (on Kong, or where the client has
    /// signed it) such a request is refused.
    Replace(String),
}

/// What holds for requests that match.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The route's name: in events, in limits, and for the gateway's own routes to name it by.
    #[serde(default)]
    pub name: Option<String>,
    /// Which requests it is about. Absent: those of gateway routes that name it in their metadata
    /// (Envoy: `filter_metadata: {weir: {route: NAME}}`).
    #[serde(rename = "match", default)]
    pub matches: Option<Match>,
    /// Let them through, unidentified and uncounted: health checks. Only with an exact path.
    #[serde(default)]
    pub bypass: bool,
    /// The class, whatever path and body say.
    #[serde(default)]
    pub class: Option<Class>,
    /// The product feature, in events.
    #[serde(default)]
    pub feature: Option<String>,
    /// The environment, in events, where the credential names none: it decides what is billed.
    #[serde(default)]
    pub environment: Option<String>,
    /// The provider in events, whatever the answer's shape says; how it is read the shape still tells.
    #[serde(default)]
    pub provider: Option<String>,
    /// Whether usage is read from the answers there. Absent: where a model is known to work, by the path or by the class
    /// that this route or a rule names.
    #[serde(default)]
    pub usage: Option<RouteUsage>,
    /// Whether streams there are asked to end with their usage. Absent: as the whole configuration says, and never of a
    /// provider that is known to refuse it.
    #[serde(default)]
    pub ask_for_usage: Option<AskForUsage>,
    /// Whether `input_tokens` of the answers there includes cached tokens although their shape is Anthropic's, in which it
    /// does not (SGLang, oMLX).
    #[serde(default)]
    pub input_includes_cache: bool,
    /// A request without a credential is its subdomain's tenant's.
    #[serde(default)]
    pub anonymous: bool,
    /// Let a connection be upgraded (WebSocket) or tunnelled (CONNECT). Its usage is bytes and time.
    #[serde(default)]
    pub upgrade: bool,
    /// Operations that touch what all tenants of one provider account share; each is refused unless it is named here.
    #[serde(default)]
    pub permit: Vec<Shared>,
}

/// Whether the usage of a route's answers is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteUsage {
    /// A model answers there, whatever path and class say.
    Read,
    /// Nothing is read there, whatever path and class say.
    Ignore,
}

/// Whether streams are asked to end with their usage.
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

/// As it is written.
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

/// Which requests a route is about: exactly one of the fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The whole path, without the query.
    #[serde(default)]
    pub path: Option<String>,
    /// What the path starts with, at a `/` boundary.
    #[serde(default)]
    pub path_prefix: Option<String>,
}

/// A class for requests that match: the first rule that does counts, after the routes and before weir's own knowledge.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClassRule {
    /// The class.
    pub class: Class,
    /// What must hold, all of it.
    #[serde(rename = "match")]
    pub matches: ClassMatch,
}

/// What a [`ClassRule`] looks at; at least one field.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClassMatch {
    /// What the path starts with, at a `/` boundary.
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

/// Which headers tell clients how their limits stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitHeaders {
    /// On which answers.
    #[serde(default)]
    pub on: OnAnswers,
    /// `X-RateLimit-Limit`, `-Remaining`, `-Reset` too.
    #[serde(default)]
    pub x_ratelimit: bool,
    /// Those of the provider whose API is spoken too, which its SDKs read: `x-ratelimit-remaining-requests`,
    /// `anthropic-ratelimit-requests-remaining`.
    #[serde(default)]
    pub vendor: bool,
}

/// Which answers carry limit headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnAnswers {
    /// Those that refuse for a limit: nobody else needs them, and each costs a call into the gateway.
    #[default]
    Refused,
    /// All.
    All,
}

fn any() -> String {
    "*".to_owned()
}
