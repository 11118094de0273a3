//! Stripe's webhook: reports of errors that Stripe found after it had taken events.
//!
//! A call is trusted if its signature is valid ([`signature`]). It carries a thin event with the id of a full one,
//! which weir fetches from Stripe. Each event counts once ([`reports`]). If the full event cannot be fetched, weir does
//! not acknowledge the call, so that Stripe repeats it.
pub mod reports;
pub mod signature;

use serde::Deserialize;
use weir_contract::Timestamp;

/// The longest body, in bytes; a thin event has some hundreds.
pub const BODY_MAX_BYTES: usize = 64 * 1024;
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
    /// The signature is invalid or too old.
    BadSignature,
    /// The body is not an event.
    Malformed,
    /// The full event could not be fetched; Stripe will repeat the call.
    NotFetched,
}

impl Outcome {
    /// The outcome as a word, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Taken => "taken",
            Outcome::Duplicate => "duplicate",
            Outcome::UnknownType => "unknown_type",
            Outcome::OtherMode => "other_mode",
            Outcome::BadSignature => "bad_signature",
            Outcome::Malformed => "malformed",
            Outcome::NotFetched => "not_fetched",
        }
    }
}

/// A thin event: id and type, without data.
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
}

/// The object that an event concerns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Related {
    /// Its id.
    pub id: String,
}

/// Event types that report errors in meter events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Some events of a meter are wrong.
    ErrorReport,
    /// Events named a meter that does not exist.
    NoMeter,
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
            _ => None,
        }
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
}
