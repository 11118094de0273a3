//! Operations on what all tenants of one provider account share.
//!
//! All tenants share one account at the provider: a file, a stored answer or an assistant of one tenant is there for
//! every other tenant who knows or lists its name. So below the paths that providers use, only known inference
//! operations pass; operations on shared things are refused unless a route permits them by name.
use std::borrow::Cow;

pub use weir_config::shared::Shared;
use weir_contract::Class;
use weir_llm_usage::bytes::any;

/// Path segments and the shared things they name.
const SEGMENTS: [(&str, Shared); 29] = [
    ("files", Shared::Files),
    ("uploads", Shared::Files),
    ("containers", Shared::Files),
    ("skills", Shared::Files),
    ("upload", Shared::Files),
    ("assistants", Shared::Assistants),
    ("threads", Shared::Assistants),
    ("conversations", Shared::Assistants),
    ("chatkit", Shared::Assistants),
    ("batches", Shared::Batches),
    ("batch", Shared::Batches),
    ("batchpredictionjobs", Shared::Batches),
    ("fine_tuning", Shared::FineTuning),
    ("fine-tunes", Shared::FineTuning),
    ("fine-tuning", Shared::FineTuning),
    ("tunedmodels", Shared::FineTuning),
    ("tuningjobs", Shared::FineTuning),
    ("evals", Shared::FineTuning),
    ("graders", Shared::FineTuning),
    ("videos", Shared::StoredResponses),
    ("operations", Shared::StoredResponses),
    ("vector_stores", Shared::VectorStores),
    ("corpora", Shared::VectorStores),
    ("ragstores", Shared::VectorStores),
    ("filesearchstores", Shared::VectorStores),
    ("cachedcontents", Shared::VectorStores),
    ("organization", Shared::Organization),
    ("organizations", Shared::Organization),
    ("dashboard", Shared::Organization),
];

/// Segments that precede a provider's operations.
const ROOTS: [&str; 5] = ["v1", "v1beta", "v1alpha", "openai", "anthropic"];

/// Whether servers could read a path in different ways: it has dot segments, escaped separators or dots, or a fragment.
/// Routes are matched against the path as written, so such a path is refused.
pub fn is_ambiguous(path: &[u8]) -> bool {
    // Most paths have none of these bytes.
    if !any(path, |byte| (byte == b'.') | (byte == b'%') | (byte == b'\\') | (byte == b'#')) {
        return false;
    }
    let dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    let has_any = |bytes: [u8; 2]| path.iter().any(|byte| bytes.contains(byte));
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(dots) || has_escape(path) || has_any([b'\\', b'#'])
}

/// Whether a path has `%2e`, `%2f`, `%5c`, `%25` or `%00`.
fn has_escape(path: &[u8]) -> bool {
    let escapes = memchr::memchr_iter(b'%', path).filter_map(|at| path.get(at + 1..at + 3));
    let mut bad = escapes
        .filter(|code| [b"2e", b"2f", b"5c", b"25", b"00"].iter().any(|known| code.eq_ignore_ascii_case(*known)));
    bad.next().is_some()
}

/// The shared thing that a request would touch; None for inference and for paths that are no provider's. `class`:
/// that of the path, or of its route.
pub fn touches(method: &[u8], path: &[u8], class: Class) -> Option<Shared> {
    let path = plain(path);
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.find(|segment| ROOTS.contains(segment))?;
    let rest: Vec<&str> = segments.filter(|segment| !ROOTS.contains(segment)).collect();
    let shared = rest.iter().find_map(|segment| named(segment));
    if shared.is_some() {
        return shared;
    }
    match rest.as_slice() {
        ["models"] | ["models", _] if method != b"DELETE" => None,
        ["models", ..] if method == b"DELETE" => Some(Shared::FineTuning),
        // Counting and compacting store nothing.
        ["responses", "input_tokens" | "compact"] if method == b"POST" => None,
        ["responses", _, ..] => Some(Shared::StoredResponses),
        [.., "responses"] | [.., "chat", "completions"] if method != b"POST" => Some(Shared::StoredResponses),
        ["chat", "completions", _, ..] => Some(Shared::StoredResponses),
        ["messages", "count_tokens"] if method == b"POST" => None,
        _ if class != Class::Other => None,
        _ => Some(Shared::Unlisted),
    }
}

fn named(segment: &str) -> Option<Shared> {
    // Google puts the operation behind a colon: `models/x:generateContent`, `batches:cancel`.
    let (name, operation) = segment.split_once(':').unwrap_or((segment, ""));
    if operation.starts_with("batchgenerate") || operation.starts_with("asyncbatch") {
        return Some(Shared::Batches);
    }
    SEGMENTS.iter().find(|(known, _)| *known == name).map(|(_, shared)| *shared)
}

/// The path without escapes and in lower case, as a lenient server reads it.
fn plain(path: &[u8]) -> Cow<'_, str> {
    if !any(path, |byte| (byte == b'%') | byte.is_ascii_uppercase() | !byte.is_ascii()) {
        return Cow::Borrowed(std::str::from_utf8(path).unwrap_or_default());
    }
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let code = if *first == b'%' { tail.first_chunk::<2>() } else { None };
        let byte = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        plain.push(byte.unwrap_or(*first).to_ascii_lowercase());
        rest = tail.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::by_path;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn touched(method: &str, path: &str) -> Option<Shared> {
        touches(method.as_bytes(), path.as_bytes(), by_path(path.as_bytes()))
    }

    #[test]
    fn inference_passes() {
        let cases = [
            "/v1/chat/completions",
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/v1/responses",
            "/v1/embeddings",
            "/v1/images/generations",
            "/v1/audio/transcriptions",
            "/openai/deployments/gpt/chat/completions",
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            "/anthropic/v1/messages",
            "/search",
            "/files",
        ];
        for path in cases {
            assert_eq!(touched("POST", path), None, "{path}");
        }
        assert_eq!((touched("GET", "/v1/models"), touched("GET", "/v1/models/gpt-4o")), (None, None));
    }

    #[test]
    fn what_an_account_shares_is_told_by_name() {
        let cases = [
            ("POST", "/v1/files", Shared::Files),
            ("GET", "/v1//files/file-1/content", Shared::Files),
            ("GET", "/V1/Files", Shared::Files),
            ("GET", "/v1/%66iles", Shared::Files),
            ("GET", "/proxy/openai/files", Shared::Files),
            ("POST", "/v1/threads/t/runs", Shared::Assistants),
            ("POST", "/v1/messages/batches", Shared::Batches),
            ("POST", "/v1/batches", Shared::Batches),
            ("POST", "/v1/fine_tuning/jobs", Shared::FineTuning),
            ("DELETE", "/v1/models/ft:gpt", Shared::FineTuning),
            ("GET", "/v1/responses/resp_1", Shared::StoredResponses),
            ("POST", "/v1/responses/resp_1/cancel", Shared::StoredResponses),
            ("GET", "/v1/chat/completions", Shared::StoredResponses),
            ("GET", "/v1/chat/completions/chatcmpl-1", Shared::StoredResponses),
            ("POST", "/v1/vector_stores", Shared::VectorStores),
            ("POST", "/v1beta/cachedContents", Shared::VectorStores),
            ("GET", "/v1/organization/usage/completions", Shared::Organization),
            ("POST", "/v1beta/models/g:batchGenerateContent", Shared::Batches),
            ("POST", "/v1/whatever", Shared::Unlisted),
        ];
        for (method, path, shared) in cases {
            assert_eq!(touched(method, path), Some(shared), "{method} {path}");
        }
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_told() {
        for path in
            ["/v1/../v1/files", "/v1/./files", "/v1/%2e%2e/files", "/v1%2Ffiles", "/v1\\files", "/v1/%252e", "/a%00"]
        {
            assert!(is_ambiguous(path.as_bytes()), "{path}");
        }
        for path in ["/v1/models/ft:gpt-4o:acme", "/v1/a..b", "/v1/%66iles", "/", ""] {
            assert!(!is_ambiguous(path.as_bytes()), "{path}");
        }
    }
}
