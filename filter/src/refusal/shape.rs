//! Writes a refusal in the shape of the API being called, so that the client's SDK raises its own error.
use serde_json::json;

use super::Refusal;
use crate::api::Api;

/// An answer that weir gives instead of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: String,
}

impl LocalReply {
    /// Lets a page of any origin read the refusal, as the upstream would let it read an answer: otherwise a browser
    /// shows its script only a failed request. Nothing in it depends on cookies.
    #[must_use]
    pub(crate) fn for_browsers(mut self) -> Self {
        let exposed = "retry-after, ratelimit, ratelimit-policy, www-authenticate, x-request-id, x-weir-budget";
        self.headers.push(("access-control-allow-origin", "*".to_owned()));
        self.headers.push(("access-control-expose-headers", exposed.to_owned()));
        self
    }
}

impl Refusal {
    /// The answer to the client. It shows `request_id`, so that the client can name the request to support.
    pub fn reply(self, api: Api, request_id: &str) -> LocalReply {
        let (content_type, body) = match api {
            Api::OpenAi => ("application/json", openai(self)),
            Api::Anthropic => ("application/json", anthropic(self, request_id)),
            Api::Gemini => ("application/json", gemini(self)),
            Api::Other => ("application/problem+json", problem(self, request_id)),
        };
        let mut headers = vec![("content-type", content_type.to_owned()), ("x-request-id", request_id.to_owned())];
        if self.status() == 401 {
            headers.push(("www-authenticate", challenge(self)));
        }
        if let Some(secs) = self.retry_after_secs() {
            headers.push(("retry-after", secs.to_string()));
        }
        LocalReply { status: self.status(), headers, body }
    }
}

/// RFC 6750, section 3: the challenge for a request without credentials names no error.
fn challenge(refusal: Refusal) -> String {
    match refusal {
        Refusal::MissingCredential => "Bearer".to_owned(),
        _ => format!("Bearer error=\"invalid_token\", error_description=\"{}\"", refusal.code()),
    }
}

/// <https://platform.openai.com/docs/guides/error-codes>
fn openai(refusal: Refusal) -> String {
    let kind = match refusal {
        Refusal::RateLimited(standing) | Refusal::PoolSaturated(standing) => standing.unit.as_str(),
        Refusal::Budget(_) => "insufficient_quota",
        Refusal::NotReady | Refusal::Busy => "server_error",
        _ => "invalid_request_error",
    };
    let code = match refusal {
        Refusal::MissingCredential | Refusal::InvalidCredential(_) => "invalid_api_key",
        Refusal::RateLimited(_) => "rate_limit_exceeded",
        Refusal::Budget(_) => "insufficient_quota",
        other => other.code(),
    };
    json!({"error": {"message": refusal.message(), "type": kind, "param": null, "code": code}}).to_string()
}

/// <https://docs.anthropic.com/en/api/errors>
fn anthropic(refusal: Refusal, request_id: &str) -> String {
    let kind = match refusal.status() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        _ => "invalid_request_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": refusal.message()}, "request_id": request_id})
        .to_string()
}

/// <https://cloud.google.com/apis/design/errors>
fn gemini(refusal: Refusal) -> String {
    let status = match refusal.status() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        402 | 429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    };
    let detail =
        json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": refusal.code(), "domain": "weir"});
    let error = json!({"code": refusal.status(), "message": refusal.message(), "status": status, "details": [detail]});
    json!({ "error": error }).to_string()
}

/// The body in the place of an answer that cannot be checked, and so must not reach the client.
pub(crate) fn unchecked_answer(request_id: &str) -> Vec<u8> {
    let (message, code) = ("The upstream's answer cannot be checked, and is withheld.", "answer_unchecked");
    // The members of every API's error, and of RFC 9457: whichever client reads it finds its own.
    json!({"type": "error", "error": {"type": "api_error", "message": message, "code": code}, "message": message,
           "title": message, "status": 502, "code": code, "request_id": request_id})
    .to_string()
    .into_bytes()
}

/// RFC 9457.
fn problem(refusal: Refusal, request_id: &str) -> String {
    json!({"type": "about:blank", "title": refusal.message(), "status": refusal.status(), "code": refusal.code(),
           "request_id": request_id})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Standing;
    use crate::refusal::Invalid;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn limited(wait_ms: u64) -> Refusal {
        Refusal::RateLimited(Standing { capacity: 100, remaining: 0, wait_ms, ..Standing::default() })
    }

    fn header<'a>(reply: &'a LocalReply, name: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_api_is_known_by_its_path() {
        let cases: [(&[u8], Api); 6] = [
            (b"/v1/chat/completions", Api::OpenAi),
            (b"/openai/deployments/x/chat/completions", Api::OpenAi),
            (b"/v1/messages", Api::Anthropic),
            (b"/v1beta/models/gemini-2.5-pro:generateContent", Api::Gemini),
            (b"/v1/projects/p/locations/l/publishers/google/models/gemini:predict", Api::Gemini),
            (b"/search", Api::Other),
        ];
        for (path, api) in cases {
            assert_eq!(Api::of(path), api, "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn a_401_carries_a_challenge_and_no_detail() {
        let reply = Refusal::InvalidCredential(Invalid::Signature).reply(Api::OpenAi, "r-1");
        assert_eq!(reply.status, 401);
        assert!(header(&reply, "www-authenticate").is_some_and(|value| value.contains("invalid_token")));
        assert!(!reply.body.contains("ignature"), "{}", reply.body);
        let none = Refusal::MissingCredential.reply(Api::Other, "r-1");
        assert_eq!(header(&none, "www-authenticate"), Some("Bearer"));
    }

    #[test]
    fn retry_after_is_in_whole_seconds_rounded_up_and_never_0() {
        for (wait_ms, secs) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_001, "60")] {
            let reply = limited(wait_ms).reply(Api::Anthropic, "r");
            assert_eq!(header(&reply, "retry-after"), Some(secs), "{wait_ms}");
        }
    }

    #[test]
    fn every_shape_is_json_with_the_code_of_its_api() {
        let field = |api, pointer: &str| {
            let body: serde_json::Value = serde_json::from_str(&limited(5).reply(api, "r-9").body).expect("json");
            body.pointer(pointer).map(|value| value.as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(field(Api::OpenAi, "/error/code").as_deref(), Some("rate_limit_exceeded"));
        assert_eq!(field(Api::Anthropic, "/error/type").as_deref(), Some("rate_limit_error"));
        assert_eq!(field(Api::Gemini, "/error/status").as_deref(), Some("RESOURCE_EXHAUSTED"));
        assert_eq!(field(Api::Other, "/code").as_deref(), Some("rate_limited"));
        assert_eq!(field(Api::Other, "/request_id").as_deref(), Some("r-9"));
    }
}
