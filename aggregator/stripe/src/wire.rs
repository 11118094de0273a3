//! Stripe's protocol without the network: builds requests and classifies answers. Recognises duplicates.
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use weir_billing::{Answer, MeterEvent, ProviderMessage};

/// The most bytes kept of a message from Stripe.
const DETAIL_MAX_BYTES: usize = 500;
/// The message by which Stripe reports a known identifier. Only the message tells: type and code are those of any
/// invalid request.
const DUPLICATE_MESSAGE: &str = "An event already exists with identifier";

/// Returns true for a live key and false for a test key; None if it is not a Stripe key.
pub fn livemode(key: &str) -> Option<bool> {
    let kind = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_"))?;
    if kind.starts_with("live_") {
        Some(true)
    } else if kind.starts_with("test_") {
        Some(false)
    } else {
        None
    }
}

/// The form of `POST /v1/billing/meter_events`.
#[derive(Debug, Serialize)]
pub struct Form<'a> {
    event_name: &'a str,
    #[serde(rename = "payload[stripe_customer_id]")]
    customer: &'a str,
    #[serde(rename = "payload[value]")]
    value: String,
    identifier: &'a str,
    timestamp: u64,
}

/// Encodes an event as a form.
pub fn form(event: &MeterEvent) -> Form<'_> {
    Form {
        event_name: &event.event_name,
        customer: &event.customer,
        value: event.value.to_string(),
        identifier: &event.identifier,
        timestamp: event.timestamp,
    }
}

/// The headers of an answer that weir uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Stripe's id of the call.
    pub request_id: Option<String>,
    /// Whether Stripe asks for a retry, or against one.
    pub should_retry: Option<bool>,
    /// The wait before a retry.
    pub retry_after: Option<Duration>,
}

impl Head {
    /// Reads the headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Head {
            request_id: text("request-id").map(shorten),
            should_retry: text("stripe-should-retry").and_then(|value| value.parse().ok()),
            retry_after: text("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    error: ErrorBody,
}

/// Stripe's error object.
#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    param: String,
}

/// Classifies an answer: the outcome for the event that was sent.
pub fn classify(status: u16, head: &Head, body: &[u8]) -> Answer {
    if (200..300).contains(&status) {
        return Answer::Taken { request_id: head.request_id.clone() };
    }
    let error = serde_json::from_slice::<Body>(body).ok().map(|body| body.error);
    let message = ProviderMessage { detail: detail(status, error.as_ref()), request_id: head.request_id.clone() };
    let code = error.as_ref().map_or("", |error| error.code.as_str());
    match (status, &error) {
        (500.., _) => Answer::Unsure { message, after: head.retry_after, key_used_up: true },
        // Stripe is still processing another call under the same key, so the outcome is unknown.
        (400..500, _) if code == "idempotency_key_in_use" => {
            Answer::Unsure { message, after: head.retry_after, key_used_up: false }
        }
        (409 | 429, _) => Answer::NotTaken { message, after: head.retry_after },
        (400..500, _) if matches!(code, "lock_timeout" | "rate_limit") || head.should_retry == Some(true) => {
            Answer::NotTaken { message, after: head.retry_after }
        }
        (401 | 403, _) => Answer::Halt(message),
        (400, Some(error)) if error.message.starts_with(DUPLICATE_MESSAGE) => Answer::Duplicate(message),
        (400..500, Some(_)) => Answer::Refused(message),
        // Such an answer does not come from Stripe, but from a proxy or a wrong address. No row is at fault.
        _ => Answer::Halt(message),
    }
}

/// The message of an unsuccessful answer, for people.
pub fn message(status: u16, head: &Head, body: &[u8]) -> ProviderMessage {
    let error = serde_json::from_slice::<Body>(body).ok().map(|body| body.error);
    ProviderMessage { detail: detail(status, error.as_ref()), request_id: head.request_id.clone() }
}

fn detail(status: u16, error: Option<&ErrorBody>) -> String {
    let Some(error) = error else { return format!("HTTP {status} without Stripe's error body; look at `stripe.url`") };
    let words = [&error.kind, &error.code, &error.param].into_iter().filter(|word| !word.is_empty());
    let words = words.cloned().collect::<Vec<_>>().join(" ");
    shorten(&format!("HTTP {status} {words}: {}", error.message))
}

/// At most 500 bytes of the text, with control characters blanked.
pub fn shorten(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() > DETAIL_MAX_BYTES {
        let end = (0..=DETAIL_MAX_BYTES).rev().find(|at| short.is_char_boundary(*at)).unwrap_or(0);
        short.truncate(end);
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: &str, code: &str, message: &str) -> Vec<u8> {
        serde_json::json!({"error": {"type": kind, "code": code, "message": message}}).to_string().into_bytes()
    }

    fn meaning(status: u16, body: &[u8]) -> Answer {
        classify(status, &Head { request_id: Some("req_1".to_owned()), ..Head::default() }, body)
    }

    #[test]
    fn a_form_carries_the_value_as_text_and_the_customer_in_the_payload() {
        let event = MeterEvent {
            event_name: "weir_requests".to_owned(),
            customer: "cus_1".to_owned(),
            value: -12,
            identifier: "weir_ab".to_owned(),
            timestamp: 1_700_000_000,
            idempotency_key: "k".to_owned(),
        };
        let json = serde_json::to_value(form(&event)).expect("json");
        assert_eq!(json["payload[value]"], "-12");
        assert_eq!(json["payload[stripe_customer_id]"], "cus_1");
        assert_eq!(json["timestamp"], 1_700_000_000);
    }

    #[test]
    fn a_2xx_is_taken() {
        assert_eq!(meaning(200, b"{}"), Answer::Taken { request_id: Some("req_1".to_owned()) });
    }

    #[test]
    fn a_known_identifier_is_a_duplicate_by_its_message() {
        let body = error("invalid_request_error", "", "An event already exists with identifier weir_1.");
        assert!(matches!(meaning(400, &body), Answer::Duplicate(_)));
    }

    #[test]
    fn a_final_4xx_is_a_refusal_with_stripes_words() {
        let body = error("invalid_request_error", "resource_missing", "No such customer: 'cus_1'");
        let Answer::Refused(message) = meaning(400, &body) else { panic!("refused") };
        assert_eq!(message.detail, "HTTP 400 invalid_request_error resource_missing: No such customer: 'cus_1'");
        assert_eq!(message.request_id.as_deref(), Some("req_1"));
    }

    #[test]
    fn a_5xx_may_have_done_the_work_and_its_key_is_used_up() {
        let Answer::Unsure { key_used_up, .. } = meaning(500, &error("api_error", "", "oops")) else {
            panic!("unsure")
        };
        assert!(key_used_up);
        assert!(matches!(meaning(502, b"<html>"), Answer::Unsure { .. }));
    }

    #[test]
    fn what_asks_for_another_attempt_gets_one() {
        for (status, code) in [(429, "rate_limit"), (409, ""), (400, "lock_timeout")] {
            let answer = meaning(status, &error("invalid_request_error", code, ""));
            assert!(matches!(answer, Answer::NotTaken { .. }), "{status} {code}: {answer:?}");
        }
        let asked = Head { should_retry: Some(true), retry_after: Some(Duration::from_secs(7)), ..Head::default() };
        let answer = classify(402, &asked, &error("card_error", "", ""));
        assert!(matches!(answer, Answer::NotTaken { after: Some(Duration { .. }), .. }));
        assert!(matches!(meaning(409, &error("", "idempotency_key_in_use", "")), Answer::Unsure { .. }));
    }

    #[test]
    fn a_wrong_key_or_a_stranger_stops_the_run_and_blames_no_row() {
        assert!(matches!(meaning(401, &error("", "", "Invalid API Key")), Answer::Halt(_)));
        assert!(matches!(meaning(404, b"nginx"), Answer::Halt(_)));
        assert!(matches!(meaning(302, b""), Answer::Halt(_)));
    }

    #[test]
    fn a_key_says_its_mode() {
        assert_eq!(livemode("sk_live_x"), Some(true));
        assert_eq!(livemode("rk_test_x"), Some(false));
        assert_eq!(livemode("pk_live_x"), None);
    }
}
