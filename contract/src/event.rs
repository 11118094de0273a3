//! CloudEvents 1.0 in JSON, and the kinds of data that weir puts in them.
//!
//! The envelope is the [CloudEvents JSON format](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md)
//! with the `sequence` extension, so that any CloudEvents receiver can take weir's events.
pub mod attempts;
mod front;
pub mod security;
mod written;

pub use crate::class::Class;
pub use attempts::{AttemptFailure, AttemptsData, BreakerChange, LastFailure, ModelAttempts};
pub use security::{SearchData, SecurityData, SecurityFinding, SecurityKind, SecuritySample, Severity};
pub use written::{EventRef, PayloadRef};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::id::{EventId, Sequence, SourceId};
use crate::stage::Stage;
use crate::tenant::TenantId;
use crate::text::Text;
use crate::time::Timestamp;

/// `type` of a request's usage: [`UsageData`].
pub(crate) const USAGE_TYPE: &str = "weir.usage.v1";
/// `type` of a minute's refusals: [`RefusedData`].
pub(crate) const REFUSED_TYPE: &str = "weir.refused.v1";
/// `type` of a source's report on its numbers: [`SourceData`].
pub(crate) const SOURCE_TYPE: &str = "weir.source.v1";
/// `type` of a minute's findings about the borders between tenants: [`SecurityData`].
pub(crate) const SECURITY_TYPE: &str = "weir.security.v1";
/// `type` of a search of a vector store: [`SearchData`].
pub(crate) const SEARCH_TYPE: &str = "weir.search.v1";
/// `type` of a minute's attempts at providers: [`AttemptsData`].
pub(crate) const ATTEMPTS_TYPE: &str = "weir.attempts.v1";
/// `specversion` of every event.
pub(crate) const SPEC_VERSION: &str = "1.0";

/// An event: its source, its identity, the tenant, the time, and what happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Unique to one request; see [`EventId`].
    pub id: EventId,
    /// The worker VM that made it.
    pub source: SourceId,
    /// Its number in that source. Announcements ([`Payload::Source`]) take no number.
    pub sequence: Option<Sequence>,
    /// The tenant. None only in announcements and sums of attempts, and in refusals and findings that concern no known tenant.
    pub subject: Option<TenantId>,
    /// The request's end (usage), the minute's start (refused, security, attempts), the time of the announcement (source).
    pub time: Timestamp,
    /// What happened.
    pub payload: Payload<'a>,
}

/// What an event says, by its `type`.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload<'a> {
    /// `weir.usage.v1`
    Usage(Box<UsageData<'a>>),
    /// `weir.refused.v1`
    Refused(RefusedData),
    /// `weir.source.v1`
    Source(SourceData),
    /// `weir.security.v1`
    Security(SecurityData),
    /// `weir.search.v1`
    Search(Box<SearchData>),
    /// `weir.attempts.v1`
    Attempts(AttemptsData),
}

/// `data` of `weir.usage.v1`: what one request was and used.
///
/// Unknown values are absent. Nothing that a client can set decides what is billed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageData<'a> {
    /// The gateway's id of the request (`x-request-id`).
    #[serde(borrow)]
    pub request_id: Text<'a>,
    /// The provider's id of the answer (`chatcmpl-…`, `msg_…`).
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub response_id: Option<Text<'a>>,
    /// The trace that the request belongs to, by its W3C `traceparent`: 32 hex digits. The client names it, so it finds events and
    /// decides nothing.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub trace_id: Option<Text<'a>>,
    /// The span within the trace that sent the request: 16 hex digits.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub span_id: Option<Text<'a>>,
    /// The key or token issuer that identified the tenant; never the credential itself.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub credential_id: Option<Text<'a>>,
    /// SHA-256 (hex) of the caller's `Idempotency-Key`; recorded only.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub idempotency_key_hash: Option<Text<'a>>,
    /// The tenant's plan.
    #[serde(borrow)]
    pub plan: Text<'a>,
    /// What kind of request it was.
    pub class: Class,
    /// The configured route that matched.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub route: Option<Text<'a>>,
    /// The product feature, from route, key or header.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub feature: Option<Text<'a>>,
    /// The prompt's version, from a configured header; for analysis only.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub prompt_version: Option<Text<'a>>,
    /// `production`, `test`, …: from credential, route or config only, since it decides what is billed.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub environment: Option<Text<'a>>,
    /// The end user, as `hmac:` and hex.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub user: Option<Text<'a>>,
    /// The provider, by the shape of its answer: `openai`, `anthropic`, …
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub provider: Option<Text<'a>>,
    /// The model asked for.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub request_model: Option<Text<'a>>,
    /// The model that answered.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub response_model: Option<Text<'a>>,
    /// The provider's service tier.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub service_tier: Option<Text<'a>>,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// The HTTP status that the client saw; 0 if it saw none.
    pub status: u16,
    /// How the request ended.
    pub outcome: Outcome,
    /// What weir decided.
    pub decision: Decision,
    /// The budget whose stage held for this request, the most severe of several; absent where all budgets had room.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub budget: Option<Text<'a>>,
    /// The stage of that budget.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub budget_stage: Option<Stage>,
    /// The feature flags that the request was decided by or its upstream was told, with their values: a structured dictionary
    /// (RFC 8941).
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub flags: Option<Text<'a>>,
    /// Who pays the provider, where that is not the operator.
    #[serde(skip_serializing_if = "PaidBy::is_house", default)]
    pub paid_by: PaidBy,
    /// The configuration that decided.
    #[serde(borrow)]
    pub config_version: Text<'a>,
    /// What was used.
    pub usage: Usage,
    /// True if the provider keeps the answer, so that it can be read again. Its usage counts once per tenant and `response_id`.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub kept: bool,
    /// From the request's first header to its end, in milliseconds.
    pub duration_ms: u64,
    /// From the request's first header to the answer's first body byte, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time_to_first_token_ms: Option<u64>,
    /// Bytes of the request's body as the client sent it.
    pub request_bytes: u64,
    /// Bytes of the answer's body as the client received it.
    pub response_bytes: u64,
    /// The choice of a model; absent where the gateway chose none.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub routed: Option<Routed<'a>>,
}

/// Which model of a catalogue was chosen for a request. `request_model` is the one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed<'a> {
    /// The model that was to serve it, by its name in the catalogue.
    #[serde(borrow)]
    pub chosen: Text<'a>,
    /// Why: `named`, `cheapest`, `kept`, `split`, `last_resort`.
    #[serde(borrow)]
    pub reason: Text<'a>,
    /// The model that did; absent where none answered.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub served: Option<Text<'a>>,
    /// How many providers were tried.
    pub attempts: u64,
    /// Another one was not tried after the last, since the gateway's budget of retries was used up.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub retry_refused: bool,
    /// The model that served is less good for the request's class than the chosen one, by the catalogue's grades.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub downgraded: bool,
    /// Candidates that did not fit, each with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub dropped: BTreeMap<String, String>,
}

/// What a request used, in tokens. An absent number is unknown, not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How far the numbers can be trusted.
    pub status: UsageStatus,
    /// Every input token, cached ones included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub input_tokens: Option<u64>,
    /// Every output token, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output_tokens: Option<u64>,
    /// Part of the input: read from a cache.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cache_read_tokens: Option<u64>,
    /// Part of the input: written to a cache.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cache_write_tokens: Option<u64>,
    /// Part of the output: thinking.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reasoning_tokens: Option<u64>,
    /// Other numbers that the provider counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub details: BTreeMap<String, u64>,
    /// How the numbers were found, where they are not the provider's final ones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub estimate: Option<Estimate>,
}

/// How the numbers of an estimate were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// `input_tokens`
    pub input: EstimateMethod,
    /// `output_tokens`
    pub output: EstimateMethod,
}

/// How one number of an estimate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EstimateMethod {
    /// The provider said it before its answer broke off.
    Provider,
    /// By the weight of the texts in the request.
    RequestText,
    /// The request was not read: only what surrounds every conversation.
    RequestUnread,
    /// By the weight of the model's words that passed.
    AnswerText,
    /// The provider said only what both are together.
    Total,
}

/// How reliable a [`Usage`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UsageStatus {
    /// The provider's own final numbers.
    Complete,
    /// Estimated from what was seen of request and answer, because the provider's final numbers never came.
    Estimated,
    /// The request used nothing.
    #[default]
    None,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was sent, with a status below 400.
    #[default]
    Ok,
    /// The upstream answered 4xx.
    ClientError,
    /// The upstream answered 5xx, or could not be reached.
    UpstreamError,
    /// The client left before the answer's end.
    ClientClosed,
    /// The upstream broke off within its answer.
    UpstreamReset,
    /// A time-out ended it.
    Timeout,
}

/// What weir decided about a request that has an event of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Let through by the plan.
    #[default]
    Admitted,
    /// Let through because weir only observes; enforcing, it would have been refused.
    Observed,
}

/// Who pays the provider for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PaidBy {
    /// The operator, with its own key.
    #[default]
    House,
    /// The tenant, with a key of its own.
    Tenant,
}

impl PaidBy {
    /// Whether the operator pays.
    pub fn is_house(&self) -> bool {
        *self == PaidBy::House
    }
}

/// `data` of `weir.refused.v1`: how often a tenant was refused within one minute, and why. Unbilled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedData {
    /// Refusals by reason code (`rate_limited`, `invalid_credential`, …).
    pub counts: BTreeMap<String, u64>,
}

/// `data` of `weir.source.v1`: a source's report on its numbers, so that the aggregator can tell which are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceData {
    /// The first number given; 1.
    pub first: u64,
    /// The last number given; 0 when none was.
    pub last: u64,
    /// Events that left as log lines instead.
    pub spilled: u64,
    /// Events that the aggregator refused for good.
    pub refused: u64,
    /// Whether the source will give no further number.
    pub closed: bool,
}

/// Why bytes are not an event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON, or a field is missing or has the wrong type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Another CloudEvents version.
    #[error("specversion is {0:?}; only \"1.0\" is known")]
    SpecVersion(String),
    /// A type that this version does not know.
    #[error(
        "type {0:?} is not known; known are {USAGE_TYPE}, {REFUSED_TYPE}, {SOURCE_TYPE}, {SECURITY_TYPE}, {SEARCH_TYPE} and \
         {ATTEMPTS_TYPE}"
    )]
    Type(String),
    /// A field that the type requires.
    #[error("{kind} needs the field {field:?}")]
    Missing {
        /// The event's type.
        kind: &'static str,
        /// The field's name.
        field: &'static str,
    },
}

/// The envelope in JSON. `type` decides how `data` is read.
#[derive(Deserialize)]
struct Envelope<'a, D> {
    #[serde(borrow)]
    specversion: Text<'a>,
    #[serde(rename = "type")]
    kind: Text<'a>,
    id: EventId,
    source: SourceId,
    #[serde(default)]
    sequence: Option<Sequence>,
    #[serde(default)]
    subject: Option<TenantId>,
    time: Timestamp,
    /// Read so that it is a text or absent; the data is always JSON.
    #[serde(borrow, rename = "datacontenttype", default)]
    _datacontenttype: Option<Text<'a>>,
    data: D,
}

impl<'a> Event<'a> {
    /// Reads one event, borrowing from `json`. Unknown fields are ignored: to keep them, keep the bytes.
    pub fn parse(json: &'a [u8]) -> Result<Self, EventError> {
        let envelope: Envelope<'a, &'a serde_json::value::RawValue> = serde_json::from_slice(json)?;
        if &*envelope.specversion != SPEC_VERSION {
            return Err(EventError::SpecVersion(envelope.specversion.to_string()));
        }
        let data = envelope.data.get();
        let payload = match &*envelope.kind {
            USAGE_TYPE => {
                require(USAGE_TYPE, "subject", envelope.subject.is_some())?;
                require(USAGE_TYPE, "sequence", envelope.sequence.is_some())?;
                Payload::Usage(Box::new(serde_json::from_str(data)?))
            }
            REFUSED_TYPE => {
                require(REFUSED_TYPE, "sequence", envelope.sequence.is_some())?;
                Payload::Refused(serde_json::from_str(data)?)
            }
            SOURCE_TYPE => Payload::Source(serde_json::from_str(data)?),
            SECURITY_TYPE => {
                require(SECURITY_TYPE, "sequence", envelope.sequence.is_some())?;
                Payload::Security(serde_json::from_str(data)?)
            }
            SEARCH_TYPE => {
                require(SEARCH_TYPE, "subject", envelope.subject.is_some())?;
                require(SEARCH_TYPE, "sequence", envelope.sequence.is_some())?;
                Payload::Search(Box::new(serde_json::from_str(data)?))
            }
            ATTEMPTS_TYPE => {
                require(ATTEMPTS_TYPE, "sequence", envelope.sequence.is_some())?;
                Payload::Attempts(serde_json::from_str(data)?)
            }
            other => return Err(EventError::Type(other.to_owned())),
        };
        Ok(Event {
            id: envelope.id,
            source: envelope.source,
            sequence: envelope.sequence,
            subject: envelope.subject,
            time: envelope.time,
            payload,
        })
    }

    /// Appends the event as JSON.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), EventError> {
        let payload = match &self.payload {
            Payload::Usage(data) => PayloadRef::Usage(data),
            Payload::Refused(data) => PayloadRef::Refused(data),
            Payload::Source(data) => PayloadRef::Source(data),
            Payload::Security(data) => PayloadRef::Security(data),
            Payload::Search(data) => PayloadRef::Search(data),
            Payload::Attempts(data) => PayloadRef::Attempts(data),
        };
        let Event { id, source, sequence, subject, time, .. } = self;
        let (id, sequence, time, subject) = (*id, *sequence, *time, subject.as_ref());
        EventRef { id, source, sequence, subject, time, payload }.write(out)
    }
}

fn require(kind: &'static str, field: &'static str, present: bool) -> Result<(), EventError> {
    if present { Ok(()) } else { Err(EventError::Missing { kind, field }) }
}
