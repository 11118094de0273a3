//! Stripe's webhook: reports of errors that Stripe found after it had taken events.
//!
//! A call is believed when its signature holds ([`signature`]); it is a thin event that names a whole one, which is fetched
//! from the provider. Each event counts once ([`reports`]); what cannot be fetched now is not acknowledged, so that it comes
//! again.
pub mod reports;
pub mod signature;

use serde::Deserialize;
use weir_contract::Timestamp;

/// The longest body that is read, in bytes: a thin event has some hundreds.
pub const BODY_MAX_BYTES: usize = 64 * 1024;
/// The longest id, in bytes.
const ID_MAX_BYTES: usize = 128;

/// What became of a webhook call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was taken in.
    Taken,
    /// It was taken in before.
    Duplicate,
    /// It is of a type that means nothing to weir: acknowledged.
    UnknownType,
    /// It is of the other mode than our key: acknowledged, and not looked at.
    OtherMode,
    /// Its signature does not hold, or is too old.
    BadSignature,
    /// It is no event.
    Malformed,
    /// The whole event could not be fetched; it will come again.
    NotFetched,
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
            Outcome::BadSignature => "bad_signature",
            Outcome::Malformed => "malformed",
            Outcome::NotFetched => "not_fetched",
        }
    }
}

/// A thin event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ThinEvent {
    /// Its name; the whole event has the same.
    pub id: String,
    /// What it tells of.
    #[serde(rename = "type")]
    pub kind: String,
    /// Real money, or the test mode. Older events do not say.
    #[serde(default)]
    pub livemode: Option<bool>,
    /// The meter, where there is one.
    #[serde(default)]
    pub related_object: Option<Related>,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Related {
    /// Its id.
    pub id: String,
}

/// Events that tell of errors in meter events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Some events of a meter are wrong.
    ErrorReport,
    /// Events named a meter that does not exist.
    NoMeter,
}

impl ThinEvent {
    /// Reads one.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let thin: ThinEvent = serde_json::from_slice(body).ok()?;
        is_id(&thin.id).then_some(thin)
    }

    /// What it tells, if that means something here.
    pub fn kind(&self) -> Option<Kind> {
        match self.kind.as_str() {
            "v1.billing.meter.error_report_triggered" => Some(Kind::ErrorReport),
            "v1.billing.meter.no_meter_found" => Some(Kind::NoMeter),
            _ => None,
        }
    }
}

/// Ids become parts of paths: nothing else fits in.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_MAX_BYTES && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A whole event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FullEvent {
    /// Its name.
    pub id: String,
    /// What it says.
    pub data: Data,
}

/// What a report of errors says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Data {
    /// In words.
    #[serde(default)]
    pub developer_message_summary: String,
    /// Which errors.
    pub reason: Reason,
    /// When the events were looked at, from.
    #[serde(default)]
    pub validation_start: Option<Timestamp>,
    /// To.
    #[serde(default)]
    pub validation_end: Option<Timestamp>,
}

/// All errors of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Reason {
    /// How many there are.
    #[serde(default)]
    pub error_count: u64,
    /// By code.
    #[serde(default)]
    pub error_types: Vec<ErrorType>,
}

/// All errors of a code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ErrorType {
    /// The code.
    pub code: String,
    /// How many there are.
    pub error_count: u64,
    /// Some of them.
    #[serde(default)]
    pub sample_errors: Vec<SampleError>,
}

/// One error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SampleError {
    /// In words.
    #[serde(default)]
    pub error_message: String,
    /// Of which event.
    #[serde(default)]
    pub request: SampleRequest,
}

/// The event that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SampleRequest {
    /// Its identifier.
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
