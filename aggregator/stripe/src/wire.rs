//! Stripe's protocol without the network: builds requests and classifies answers. Recognises duplicates.
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use weir_billing::{Answer, MeterEvent, ProviderMessage};
use weir_settings::mask;
use weir_settings::secret::masked;

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

#[derive(Debug, Deserialize)]
struct Body {
    error: ErrorBody,
}

/// Stripe's error object.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    param: String,
}

/// What shows that the provider itself took what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// v1: the meter event, by this identifier.
    MeterEvent(&'a str),
    /// v2: a JSON object that is not an error. The answer to a stream names none of its events.
    Stream,
}

#[derive(Deserialize)]
struct MeterEventBody {
    object: String,
    identifier: String,
}

impl Proof<'_> {
    /// Whether a success with this body is the provider's own.
    fn holds(self, status: u16, body: &[u8]) -> bool {
        match self {
            Proof::MeterEvent(identifier) => serde_json::from_slice::<MeterEventBody>(body)
                .is_ok_and(|event| event.object == "billing.meter_event" && event.identifier == identifier),
            Proof::Stream => {
                status == 200 && serde_json::from_slice(body).is_ok_and(|object| is_stream_answer(&object))
            }
        }
    }

    /// Whether Stripe's message says that this very event was there already.
    fn is_duplicate(self, message: &str) -> bool {
        let Proof::MeterEvent(identifier) = self else { return false };
        message.strip_prefix(DUPLICATE_MESSAGE).is_some_and(|rest| rest.trim().trim_end_matches('.') == identifier)
    }
}

/// Stripe documents an object without members. A later version may add some and name its type. Other answers are not Stripe's.
fn is_stream_answer(object: &serde_json::Map<String, serde_json::Value>) -> bool {
    let named = object.get("object").and_then(serde_json::Value::as_str).is_some_and(|name| name.starts_with("v2."));
    !object.contains_key("error") && (object.is_empty() || named)
}

/// Decides the outcome of a sent event from the answer. Stripe's own object is a success. Its error object is a failure if the
/// status also excludes that Stripe accepted the event. Anything else leaves the outcome open.
pub fn classify(status: u16, head: &Head, body: &[u8], proof: Proof<'_>) -> Answer {
    if (200..300).contains(&status) {
        return if proof.holds(status, body) {
            Answer::Taken { request_id: head.request_id.clone() }
        } else {
            Answer::Unproven(unproven(status, head, "without the object that Stripe promises"))
        };
    }
    let message = message(status, head, body);
    let after = head.retry_after;
    if status >= 500 {
        return Answer::Unsure { message, after, key_used_up: true };
    }
    let Some(error) = error_body(body) else { return Answer::Unproven(message) };
    match (status, error.code.as_str()) {
        // Stripe still processes another call under the same key, with an unknown outcome.
        (_, "idempotency_key_in_use") => Answer::Unsure { message, after, key_used_up: false },
        (429, _) | (400..=409, "lock_timeout" | "rate_limit") => Answer::NotTaken { message, after },
        (401 | 403, _) => Answer::Halt(message),
        (400, _) if proof.is_duplicate(&error.message) => Answer::Duplicate(message),
        (400, _) if error.message.starts_with(DUPLICATE_MESSAGE) => Answer::Unproven(message),
        (400 | 402 | 404, _) if head.should_retry != Some(true) => Answer::Refused(message),
        // Among them 408, 409 and 424: the work may have been done before it failed.
        _ => Answer::Unsure { message, after, key_used_up: true },
    }
}

/// What an answer means that is longer than anything Stripe says.
pub fn too_long(status: u16, head: &Head) -> Answer {
    let message = unproven(status, head, "with a body longer than any of Stripe's");
    if status >= 500 {
        Answer::Unsure { message, after: head.retry_after, key_used_up: true }
    } else {
        Answer::Unproven(message)
    }
}

fn unproven(status: u16, head: &Head, what: &str) -> ProviderMessage {
    let detail = format!("HTTP {status} {what}: somebody else answers; look at `stripe.url` and at proxies on the way");
    ProviderMessage { detail, request_id: head.request_id.clone() }
}

/// The message of an unsuccessful answer, for people.
pub fn message(status: u16, head: &Head, body: &[u8]) -> ProviderMessage {
    ProviderMessage { detail: detail(status, error_body(body).as_ref()), request_id: head.request_id.clone() }
}

/// Stripe's error object, if the body has one: it always names its type.
fn error_body(body: &[u8]) -> Option<ErrorBody> {
    let error = serde_json::from_slice::<Body>(body).ok()?.error;
    (!error.kind.is_empty()).then_some(error)
}

/// The code of Stripe's error object; None if the body has no such object.
pub(crate) fn error_code(body: &[u8]) -> Option<String> {
    error_body(body).map(|error| error.code)
}

fn detail(status: u16, error: Option<&ErrorBody>) -> String {
    let Some(error) = error else { return format!("HTTP {status} without Stripe's error body; look at `stripe.url`") };
    let words = [&error.kind, &error.code, &error.param].into_iter().filter(|word| !word.is_empty());
    let words = words.cloned().collect::<Vec<_>>().join(" ");
    shorten(&format!("HTTP {status} {words}: {}", error.message))
}

/// At most 500 bytes of it, control characters blanked and keys masked: peers repeat what they were sent.
pub fn shorten(text: &str) -> String {
    let blanked: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut short = masked(&mask::keys(&blanked));
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

    fn invalid(code: &str, message: &str) -> Vec<u8> {
        error("invalid_request_error", code, message)
    }

    fn meaning(status: u16, body: &[u8]) -> Answer {
        let head = Head { request_id: Some("req_1".to_owned()), ..Head::default() };
        classify(status, &head, body, Proof::MeterEvent("weir_1"))
    }

    fn stream_meaning(status: u16, body: &[u8]) -> Answer {
        classify(status, &Head::default(), body, Proof::Stream)
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
    fn only_stripes_own_object_with_our_identifier_is_taken() {
        let ours = br#"{"object":"billing.meter_event","identifier":"weir_1","livemode":false}"#;
        assert_eq!(meaning(200, ours), Answer::Taken { request_id: Some("req_1".to_owned()) });
        let foreign: [&[u8]; 10] = [
            b"",
            b"{}",
            b"[]",
            b"null",
            b"<html>Please sign in</html>",
            br#"{"status":"ok"}"#,
            br#"{"object":"billing.meter_event"}"#,
            br#"{"object":"billing.meter_event","identifier":"weir_2"}"#,
            br#"{"object":"billing.meter","identifier":"weir_1"}"#,
            br#"{"error":{"type":"api_error"},"identifier":"weir_1"}"#,
        ];
        for body in foreign {
            for status in [200, 201, 202, 203, 204, 206] {
                let answer = meaning(status, body);
                assert!(
                    matches!(answer, Answer::Unproven(_)),
                    "{status} {}: {answer:?}",
                    String::from_utf8_lossy(body)
                );
            }
        }
    }

    #[test]
    fn a_stream_is_taken_by_an_object_of_stripes_and_by_nothing_else() {
        for body in [&b"{}"[..], br#"{"object":"v2.billing.meter_event_stream"}"#] {
            assert_eq!(stream_meaning(200, body), Answer::Taken { request_id: None });
        }
        for body in [&b""[..], b"[]", b"null", b"\"ok\"", b"<html>", br#"{"status":"ok"}"#, br#"{"error":{}}"#] {
            let answer = stream_meaning(200, body);
            assert!(matches!(answer, Answer::Unproven(_)), "{}: {answer:?}", String::from_utf8_lossy(body));
        }
        assert!(matches!(stream_meaning(204, b"{}"), Answer::Unproven(_)));
    }

    #[test]
    fn a_known_identifier_is_a_duplicate_by_its_message_and_if_it_is_ours() {
        let body = |identifier: &str| invalid("", &format!("An event already exists with identifier {identifier}."));
        assert!(matches!(meaning(400, &body("weir_1")), Answer::Duplicate(_)));
        for other in ["weir_12", "weir_2", ""] {
            assert!(matches!(meaning(400, &body(other)), Answer::Unproven(_)), "{other}");
        }
    }

    #[test]
    fn a_final_4xx_is_a_refusal_with_stripes_words() {
        let body = invalid("resource_missing", "No such customer: 'cus_1'");
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
        assert!(matches!(too_long(502, &Head::default()), Answer::Unsure { .. }));
    }

    #[test]
    fn a_limit_of_stripes_was_met_before_anything_was_taken() {
        for (status, code) in [(429, "rate_limit"), (429, ""), (429, "lock_timeout"), (400, "lock_timeout")] {
            let answer = meaning(status, &invalid(code, ""));
            assert!(matches!(answer, Answer::NotTaken { .. }), "{status} {code}: {answer:?}");
        }
    }

    #[test]
    fn a_4xx_after_which_the_work_may_be_done_leaves_the_outcome_open() {
        for status in [405, 406, 408, 409, 410, 418, 422, 424, 425, 451, 499] {
            let answer = meaning(status, &invalid("", ""));
            assert!(matches!(answer, Answer::Unsure { key_used_up: true, .. }), "{status}: {answer:?}");
        }
        let asked = Head { should_retry: Some(true), retry_after: Some(Duration::from_secs(7)), ..Head::default() };
        let answer = classify(402, &asked, &error("card_error", "", ""), Proof::MeterEvent("weir_1"));
        assert!(matches!(answer, Answer::Unsure { after: Some(Duration { .. }), .. }), "{answer:?}");
        let in_use = meaning(409, &error("idempotency_error", "idempotency_key_in_use", ""));
        assert!(matches!(in_use, Answer::Unsure { key_used_up: false, .. }), "{in_use:?}");
    }

    #[test]
    fn a_wrong_key_stops_the_run_and_blames_no_row() {
        for status in [401, 403] {
            assert!(matches!(meaning(status, &invalid("", "Invalid API Key")), Answer::Halt(_)));
        }
    }

    #[test]
    fn a_status_without_stripes_error_body_proves_nothing() {
        let foreign: [&[u8]; 6] =
            [b"", b"nginx", b"{}", br#"{"error":"denied"}"#, br#"{"error":{}}"#, br#"{"error":{"message":"denied"}}"#];
        for status in [301, 302, 307, 400, 401, 402, 403, 404, 407, 408, 409, 413, 429, 431] {
            for body in foreign {
                let answer = meaning(status, body);
                assert!(
                    matches!(answer, Answer::Unproven(_)),
                    "{status} {}: {answer:?}",
                    String::from_utf8_lossy(body)
                );
            }
        }
        assert!(matches!(too_long(200, &Head::default()), Answer::Unproven(_)));
    }

    #[test]
    fn a_key_that_a_peer_repeats_is_masked_wherever_it_stands() {
        let body = invalid("rk_test_2", "Bearer sk_live_51AbC is wrong, SK_TEST_9 too");
        let Answer::Refused(message) = meaning(400, &body) else { panic!("refused") };
        assert_eq!(message.detail, "HTTP 400 invalid_request_error rk_test_***: Bearer …*** is wrong, SK_TEST_*** too");
        let mut headers = HeaderMap::new();
        headers.insert("request-id", "sk_live_51AbC".parse().expect("a value"));
        assert_eq!(Head::of(&headers).request_id.as_deref(), Some("sk_live_***"));
    }

    #[test]
    fn a_key_says_its_mode() {
        assert_eq!(livemode("sk_live_x"), Some(true));
        assert_eq!(livemode("rk_test_x"), Some(false));
        assert_eq!(livemode("pk_live_x"), None);
    }
}
