//! When the usage of an answer counts.
//!
//! Usage is what an operator bills, so it is read only where a model was asked to work: for the operations of providers that
//! are known by method and path, and on routes that the operator declares. An application's answer that happens to have a
//! member named `usage`, a stored document or a list of jobs is never read. The table stands in `docs/usage.md`.
//!
//! A client has no say in it: what its body holds plays no part.
use weir_config::shape::RouteUsage;
use weir_contract::Class;
use weir_llm_usage::bytes::is_name;

use crate::classify::operation::{self, Operation};
use crate::policy::Route;

/// What is done with a request's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metering {
    /// A model works on the request. Weir reads the answer and estimates missing numbers.
    Inference,
    /// An answer that the provider keeps is read again: it counts once, if it was made in the background.
    Kept,
    /// No route declares the upstream. Weir looks at the first bytes only, to warn of a provider there.
    Undeclared,
    /// Nothing is read.
    #[default]
    Off,
}

impl Metering {
    /// The same once one of the operator's rules has given the request a class by what its body says.
    pub(crate) fn declared_by(self, rule: Option<Class>) -> Self {
        if self == Metering::Undeclared && rule.is_some_and(is_inference) { Metering::Inference } else { self }
    }
}

/// What is done with the answer to such a request. `rule`: the class that one of the operator's rules gives it.
pub fn of(method: &[u8], path: &[u8], route: Option<&Route>, rule: Option<Class>) -> Metering {
    let usage = route.and_then(|route| route.usage);
    if usage == Some(RouteUsage::Ignore) {
        return Metering::Off;
    }
    if method == b"GET" && operation::is_kept(path) {
        return Metering::Kept;
    }
    if matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"OPTIONS" | b"TRACE" | b"CONNECT") {
        return Metering::Off;
    }
    let class = route.and_then(|route| route.class);
    let operation = operation::of(path);
    let declared = usage == Some(RouteUsage::Read) || class.or(rule).is_some_and(is_inference);
    match operation {
        Operation::NoInference => Metering::Off,
        _ if declared => Metering::Inference,
        Operation::Inference if method == b"POST" && class.is_none() => Metering::Inference,
        _ if method == b"POST" => Metering::Undeclared,
        _ => Metering::Off,
    }
}

/// Classes of requests in which a model works.
const fn is_inference(class: Class) -> bool {
    match class {
        Class::Chat
        | Class::Completion
        | Class::Embedding
        | Class::Rag
        | Class::Image
        | Class::Audio
        | Class::Rerank
        | Class::Moderation => true,
        Class::Batch | Class::Mcp | Class::Other => false,
    }
}

/// Whether an answer of that content type is one that usage is read from.
pub fn is_readable(content_type: Option<&[u8]>) -> bool {
    let content_type = content_type.unwrap_or_default();
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let essence = content_type.get(..end).unwrap_or_default().trim_ascii();
    let known: [&[u8]; 9] = [
        b"application/json",
        b"text/event-stream",
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
        b"application/x-jsonlines",
        b"application/stream+json",
        b"application/vnd.amazon.eventstream",
        b"text/json",
    ];
    let is_json = essence.len().checked_sub(5).and_then(|at| essence.get(at..));
    known.iter().any(|name| is_name(essence, name))
        || is_json.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
}

/// The most bytes of an undeclared answer that are looked at.
pub(crate) const SNIFFED_MAX_BYTES: usize = 1024;

/// Members and words that open a provider's answer and hardly any other. What stands behind the quote.
const SIGNS: [&[u8]; 22] = [
    b"chat.completion",
    b"text_completion",
    b"message_start\"",
    b"message-start\"",
    b"response.created\"",
    b"interaction.created\"",
    b"usageMetadata\"",
    b"promptTokenCount\"",
    b"prompt_tokens\"",
    b"completion_tokens\"",
    b"input_tokens\"",
    b"output_tokens\"",
    b"inputTokens\"",
    b"finish_reason\"",
    b"finishReason\"",
    b"stop_reason\"",
    b"stopReason\"",
    b"generated_text\"",
    b"prompt_eval_count\"",
    b"output_text\"",
    b"modelVersion\"",
    b"system_fingerprint\"",
];

/// Whether an answer begins as a provider's does.
pub(crate) fn is_provider_like(first: &[u8]) -> bool {
    let first = first.get(..SNIFFED_MAX_BYTES).unwrap_or(first);
    memchr::memchr_iter(b'"', first).any(|at| {
        let behind = at.checked_add(1).and_then(|at| first.get(at..)).unwrap_or_default();
        SIGNS.iter().any(|sign| behind.starts_with(sign))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn route(usage: Option<RouteUsage>, class: Option<Class>) -> Route {
        let mut route = Route::default();
        (route.usage, route.class) = (usage, class);
        route
    }

    fn undeclared(method: &str, path: &str) -> Metering {
        of(method.as_bytes(), path.as_bytes(), None, None)
    }

    #[test]
    fn the_providers_operations_are_read_by_method_and_path() {
        for path in [
            "/v1/chat/completions",
            "/openai/deployments/gpt/chat/completions",
            "/v1/messages",
            "/anthropic/v1/messages/",
            "/v1/responses",
            "/openai/responses",
            "/v1/responses/compact",
            "/v1beta/interactions",
            "/v1beta/models/g:streamGenerateContent",
            "/model/a.b-v1:0/converse-stream",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fabc/converse",
            "/v1/threads/t/runs",
            "/v1/threads/runs",
            "/v1/embeddings",
            "/v1/images/generations",
            "/v1/audio/transcriptions",
            "/api/chat",
            "/api/embed",
            "/v2/chat",
            "/v2/rerank",
            "/v1/fim/completions",
            "/V1/Chat/complet%69ons;x=1",
        ] {
            assert_eq!(undeclared("POST", path), Metering::Inference, "{path}");
            assert_ne!(undeclared("GET", path), Metering::Inference, "{path}");
            assert_eq!(operation::is_kept(path.as_bytes()), operation::of(path.as_bytes()) == Operation::KeptAnswer);
        }
    }

    #[test]
    fn lists_polls_counting_and_applications_are_not() {
        for (method, path) in [
            ("GET", "/api/articles/7"),
            ("GET", "/v1/chat/completions?limit=20"),
            ("GET", "/v1/responses"),
            ("GET", "/v1/models"),
            ("HEAD", "/v1/responses/r"),
            ("DELETE", "/v1/responses/r"),
            ("POST", "/v1/messages/count_tokens"),
            ("POST", "/v1/responses/input_tokens"),
            ("POST", "/v1/responses/r/cancel"),
            ("POST", "/v1/batches"),
            ("POST", "/v1/messages/batches"),
            ("POST", "/v1beta/models/g:countTokens"),
        ] {
            assert_eq!(undeclared(method, path), Metering::Off, "{method} {path}");
        }
        for path in
            ["/api/orders", "/rooms/7/messages", "/surveys/5/responses", "/embed", "/upload", "/v1/threads/t/messages"]
        {
            assert_eq!(undeclared("POST", path), Metering::Undeclared, "{path}");
        }
        for path in
            ["/v1/responses/resp_1", "/v1/threads/t/runs/run_1", "/v1/batches/batch_1", "/v1beta/interactions/i"]
        {
            assert_eq!(undeclared("GET", path), Metering::Kept, "{path}");
            assert_eq!(operation::of(path.as_bytes()), Operation::KeptAnswer, "{path}");
        }
    }

    #[test]
    fn an_operators_word_declares_a_route_and_a_client_has_none() {
        let read = route(Some(RouteUsage::Read), None);
        let chat = route(None, Some(Class::Chat));
        for route in [&read, &chat] {
            assert_eq!(of(b"POST", b"/ask", Some(route), None), Metering::Inference);
            assert_eq!(of(b"PUT", b"/ask", Some(route), None), Metering::Inference);
            assert_eq!(of(b"GET", b"/ask", Some(route), None), Metering::Off);
            assert_eq!(of(b"POST", b"/v1/messages/count_tokens", Some(route), None), Metering::Off);
        }
        assert_eq!(of(b"POST", b"/ask", None, Some(Class::Rag)), Metering::Inference);
        assert_eq!(of(b"POST", b"/ask", None, Some(Class::Other)), Metering::Undeclared);
        assert_eq!(
            of(b"POST", b"/v1/messages", None, Some(Class::Other)),
            Metering::Inference,
            "a rule may look at headers"
        );
        let other = route(None, Some(Class::Other));
        assert_eq!(of(b"POST", b"/v1/messages", Some(&other), None), Metering::Undeclared);
        let ignored = route(Some(RouteUsage::Ignore), Some(Class::Chat));
        assert_eq!(of(b"POST", b"/v1/messages", Some(&ignored), None), Metering::Off);
    }

    #[test]
    fn only_the_content_types_of_providers_are_read() {
        for kind in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/event-stream;x",
            "Text/Event-Stream",
            "application/x-ndjson",
            "application/vnd.amazon.eventstream",
            "application/problem+json",
        ] {
            assert!(is_readable(Some(kind.as_bytes())), "{kind}");
        }
        for kind in ["image/png", "text/html", "text/plain", "audio/mpeg", "multipart/mixed", "", "json"] {
            assert!(!is_readable(Some(kind.as_bytes())), "{kind}");
        }
        assert!(!is_readable(None));
    }

    #[test]
    fn a_providers_answer_is_told_by_its_first_bytes() {
        for answer in [
            r#"{"id":"c","object":"chat.completion","choices":[]}"#,
            "event: message_start\ndata: {\"type\":\"message_start\"}",
            r#"{"candidates":[{"finishReason":"STOP"}]}"#,
            r#"{"output":{"message":{}},"stopReason":"end_turn"}"#,
        ] {
            assert!(is_provider_like(answer.as_bytes()), "{answer}");
        }
        for answer in [r#"{"id":7,"text":"a chat","usage":{"disk":3}}"#, r#"{"message":"done"}"#, "", "\""] {
            assert!(!is_provider_like(answer.as_bytes()), "{answer}");
        }
        let late = format!(r#"{{"x":"{}","object":"chat.completion"}}"#, "y".repeat(SNIFFED_MAX_BYTES));
        assert!(!is_provider_like(late.as_bytes()), "only the first bytes are looked at");
    }
}
