//! One event with what it cost.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::{Event, Timestamp, UsageData};
use weir_ledger::analysis::DIMENSIONS;
use weir_ledger::cost::Kind;
use weir_money::amount::{Currency, Pico};
use weir_money::cost::explain;
use weir_money::prices::Book;

/// An event and its cost. `weir events get` shows the cost line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventCost {
    /// When the request ended.
    pub time: Timestamp,
    /// The event's id.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// The gateway's id of the request.
    pub request_id: String,
    /// The provider's id of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// The trace that the request belongs to, by its `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The end user, as `hmac:` and hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model, class, route and so on, as sums name them; what is unknown is absent.
    pub dimensions: BTreeMap<String, String>,
    /// The feature flags that it saw, with their values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
    /// The outcome: `ok`, `upstream_error` and so on.
    pub outcome: String,
    /// Whether the upstream answered with an error, broke off or took too long.
    pub failed: bool,
    /// The status of its usage: `complete`, `estimated` and so on.
    pub usage: String,
    /// True if the provider keeps the answer, and its usage was counted with an earlier event: this one is a request without usage.
    #[serde(default)]
    pub counted_before: bool,
    /// Every input token, cached ones included.
    pub input_tokens: u64,
    /// Input tokens from a cache.
    pub cache_read_tokens: u64,
    /// Every output token.
    pub output_tokens: u64,
    /// The currency; absent if nothing has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// What the provider charges for everything that has a price. Absent if there was no price book.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Pico>,
    /// Units without a price, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unpriced: BTreeMap<String, u64>,
    /// Where the prices stand: layer and entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// SHA-256 of the request's idempotency key: a later request with the same one is a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key_hash: Option<String>,
}

impl EventCost {
    /// The cost of an event by the book that priced it.
    pub(super) fn new(
        event: &Event<'_>,
        data: &UsageData<'_>,
        values: [&str; DIMENSIONS.len()],
        book: Option<&Book>,
    ) -> Self {
        let text = |text: &Option<weir_contract::Text<'_>>| text.as_deref().map(str::to_owned);
        let known = DIMENSIONS.iter().zip(values).filter(|(_, value)| !value.is_empty());
        let priced = book.map(|book| explain(book, event.time, data));
        let unpriced = priced.iter().flat_map(|cost| &cost.lines).filter(|line| line.price.is_none());
        EventCost {
            time: event.time,
            id: event.id.to_string(),
            tenant: event.subject.as_ref().map(ToString::to_string).unwrap_or_default(),
            request_id: data.request_id.to_string(),
            response_id: text(&data.response_id),
            trace_id: text(&data.trace_id),
            user: text(&data.user),
            provider: text(&data.provider),
            dimensions: known.map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect(),
            flags: text(&data.flags),
            outcome: word(&data.outcome),
            failed: weir_ledger::analysis::failed(data),
            usage: word(&data.usage.status),
            counted_before: false,
            input_tokens: data.usage.input_tokens.unwrap_or(0),
            cache_read_tokens: data.usage.cache_read_tokens.unwrap_or(0),
            output_tokens: data.usage.output_tokens.unwrap_or(0),
            unpriced: unpriced.map(|line| (Kind::as_str(line.kind).to_owned(), line.quantity)).collect(),
            currency: priced.as_ref().and_then(|cost| cost.currency),
            cost: priced.as_ref().map(|cost| cost.cost),
            entry: priced.and_then(|cost| cost.entry),
            idempotency_key_hash: text(&data.idempotency_key_hash),
        }
    }
}

fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
