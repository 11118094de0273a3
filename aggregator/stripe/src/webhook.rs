//! Stripe's webhook: reports of errors that Stripe found after it had taken events, and changed subscriptions.
//!
//! A call is trusted if its signature is valid ([`signature`]). It names an object, which weir fetches from the provider. Each
//! report of errors counts once ([`reports`]). An object that cannot be fetched or read is not acknowledged, so that Stripe sends
//! it again, and is shown until it has been read.
pub mod reports;
pub mod signature;

use serde::Deserialize;
use serde_json::Value;
use weir_contract::Timestamp;

/// The longest body that is read, in bytes: a thin event has some hundreds, a subscription of twenty items some ten thousands.
pub const BODY_MAX_BYTES: usize = 256 * 1024;
/// The longest id, in bytes.
const ID_MAX_BYTES: usize = 128;

/// The outcome of a webhook call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The event was stored.
    Taken,
    /// The event was stored before.
    Duplicate,
    /// The type has no meaning for weir. Acknowledged.
    UnknownType,
    /// The event belongs to the other mode, live or test. Acknowledged and ignored.
    OtherMode,
    /// It belongs to an account that is connected to ours: acknowledged and ignored.
    OtherAccount,
    /// It is of a customer that no tenant has: acknowledged.
    OtherCustomer,
    /// Its signature does not hold, or is too old.
    BadSignature,
    /// The body is not an event.
    Malformed,
    /// What it names could not be fetched; it will come again.
    NotFetched,
    /// Weir cannot read the fetched object; Stripe will send it again.
    Unreadable,
}

impl Outcome {
    /// Every one: metrics show each from the start.
    pub const ALL: [Outcome; 7] = [
        Outcome::Taken,
        Outcome::Duplicate,
        Outcome::UnknownType,
        Outcome::OtherMode,
        Outcome::BadSignature,
        Outcome::Malformed,
        Outcome::NotFetched,
    ];

    /// As a word, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Taken => "taken",
            Outcome::Duplicate => "duplicate",
            Outcome::UnknownType => "unknown_type",
            Outcome::OtherMode => "other_mode",
            Outcome::OtherAccount => "other_account",
            Outcome::OtherCustomer => "other_customer",
            Outcome::BadSignature => "bad_signature",
            Outcome::Malformed => "malformed",
            Outcome::NotFetched => "not_fetched",
            Outcome::Unreadable => "unreadable",
        }
    }
}

/// A delivered event. A thin one names its object; one about a subscription contains it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ThinEvent {
    /// The event's id, shared by its full form.
    pub id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// True for real money, false for the test mode. Older events leave it out.
    #[serde(default)]
    pub livemode: Option<bool>,
    /// The meter concerned, if any.
    #[serde(default)]
    pub related_object: Option<Related>,
    /// The account that it is of, if that is not the one it is delivered to.
    #[serde(default)]
    context: Option<Value>,
    /// The same in events that hold their object.
    #[serde(default)]
    account: Option<Value>,
    /// What it holds.
    #[serde(default)]
    data: Option<Value>,
}

/// The object that an event concerns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Related {
    /// Its id.
    pub id: String,
}

/// Events that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Some events of a meter are wrong.
    ErrorReport,
    /// Events named a meter that does not exist.
    NoMeter,
    /// A customer's subscription changed, and with it perhaps where billing periods begin.
    Subscription,
}

impl ThinEvent {
    /// Reads a thin event; None if the body is not one.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let thin: ThinEvent = serde_json::from_slice(body).ok()?;
        is_id(&thin.id).then_some(thin)
    }

    /// The event's type, if weir handles it.
    pub fn kind(&self) -> Option<Kind> {
        match self.kind.as_str() {
            "v1.billing.meter.error_report_triggered" => Some(Kind::ErrorReport),
            "v1.billing.meter.no_meter_found" => Some(Kind::NoMeter),
            kind if kind.starts_with("customer.subscription.") => Some(Kind::Subscription),
            _ => None,
        }
    }

    /// Returns true if it belongs to the account with this id itself, not to a connected account.
    pub fn is_of(&self, account: &str) -> bool {
        let named = [&self.context, &self.account].into_iter().flatten();
        named.filter(|other| !other.is_null()).all(|other| other == account || other == "")
    }

    /// The customer whose subscription it holds.
    pub fn customer(&self) -> Option<&str> {
        let customer = self.data.as_ref()?.get("object")?.get("customer")?;
        customer.as_str().or_else(|| customer.get("id")?.as_str()).filter(|id| is_id(id))
    }
}

/// Returns true if `text` has the form of an id. Ids become parts of URL paths, so no other characters are allowed.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_MAX_BYTES && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A full event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FullEvent {
    /// The event's id.
    pub id: String,
    /// The event's data.
    pub data: Data,
}

/// The data of an error report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Data {
    /// A description.
    #[serde(default)]
    pub developer_message_summary: String,
    /// The errors.
    pub reason: Reason,
    /// The beginning of the time in which Stripe checked events.
    #[serde(default)]
    pub validation_start: Option<Timestamp>,
    /// The end of that time.
    #[serde(default)]
    pub validation_end: Option<Timestamp>,
}

impl Data {
    /// Whether it says anything of errors.
    pub fn is_report(&self) -> bool {
        self.reason.error_count > 0 || !self.reason.error_types.is_empty()
    }

    /// How many errors are counted, and stand under no code.
    pub(crate) fn without_code(&self) -> u64 {
        let named = self.reason.error_types.iter().fold(0_u64, |sum, kind| sum.saturating_add(kind.error_count));
        self.reason.error_count.saturating_sub(named)
    }
}

/// All errors of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Reason {
    /// The number of errors.
    #[serde(default)]
    pub error_count: u64,
    /// The errors by code.
    #[serde(default)]
    pub error_types: Vec<ErrorType>,
}

/// The errors of one code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ErrorType {
    /// The code.
    pub code: String,
    /// The number of errors.
    pub error_count: u64,
    /// A sample of them.
    #[serde(default)]
    pub sample_errors: Vec<SampleError>,
}

/// One error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SampleError {
    /// A description.
    #[serde(default)]
    pub error_message: String,
    /// The event concerned.
    #[serde(default)]
    pub request: SampleRequest,
}

/// The request of a wrong event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SampleRequest {
    /// The event's identifier.
    #[serde(default)]
    pub identifier: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_whose_id_is_a_path_is_no_event() {
        let body = |id: &str| serde_json::json!({"id": id, "type": "x"}).to_string().into_bytes();
        assert!(ThinEvent::parse(&body("evt_1a")).is_some());
        for id in ["", "../v1/account", "evt_1/../x", "evt 1", "evt_1?x=1", &"e".repeat(200)] {
            assert!(ThinEvent::parse(&body(id)).is_none(), "{id}");
        }
        assert!(ThinEvent::parse(b"[]").is_none());
    }
    fn event(more: &Value) -> ThinEvent {
        let mut body = serde_json::json!({"id": "evt_1", "type": "customer.subscription.updated"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        ThinEvent::parse(body.to_string().as_bytes()).expect("an event")
    }

    #[test]
    fn an_event_of_a_connected_account_is_not_ours() {
        let ours = [
            serde_json::json!({}),
            serde_json::json!({"context": null, "account": null}),
            serde_json::json!({"context": ""}),
            serde_json::json!({"context": "acct_1"}),
        ];
        let others = [
            serde_json::json!({"context": "acct_2"}),
            serde_json::json!({"account": "acct_2"}),
            serde_json::json!({"context": "acct_1/acct_2"}),
            serde_json::json!({"context": {"account": "acct_1"}}),
            serde_json::json!({"context": "acct_1", "account": "acct_2"}),
        ];
        assert!(ours.iter().all(|more| event(more).is_of("acct_1")));
        assert!(others.iter().all(|more| !event(more).is_of("acct_1")));
        assert!(
            !event(&serde_json::json!({"context": "acct_1"})).is_of(""),
            "an account without a name is none of these"
        );
    }

    #[test]
    fn a_subscription_names_its_customer_by_id_or_whole() {
        let of = |customer: Value| event(&serde_json::json!({"data": {"object": {"customer": customer}}}));
        assert_eq!(of("cus_1".into()).customer(), Some("cus_1"));
        assert_eq!(of(serde_json::json!({"id": "cus_1"})).customer(), Some("cus_1"));
        for none in [Value::Null, 7.into(), "../x".into(), serde_json::json!({})] {
            assert_eq!(of(none).customer(), None);
        }
        assert_eq!(event(&serde_json::json!({})).customer(), None);
    }
}
