//! Operations on what all tenants of one provider account share.
//!
//! All tenants share one account at the provider: a file, a stored answer or an assistant of one tenant is there for
//! every other tenant who knows or lists its name. So below the paths that providers use, only known inference
//! operations pass; operations on shared things are refused unless a route permits them by name.
use std::borrow::Cow;

pub use weir_config::shared::Shared;
use weir_contract::Class;
use weir_llm_usage::bytes::any;

use crate::classify;
use crate::initials::Initials;

/// Path segments by what they name.
const SEGMENTS: [(&str, Shared); 43] = [
    ("files", Shared::Files),
    ("uploads", Shared::Files),
    ("containers", Shared::Files),
    ("skills", Shared::Files),
    ("upload", Shared::Files),
    ("datasets", Shared::Files),
    ("assistants", Shared::Assistants),
    ("threads", Shared::Assistants),
    ("conversations", Shared::Assistants),
    ("chatkit", Shared::Assistants),
    ("agents", Shared::Assistants),
    ("batches", Shared::Batches),
    ("batch", Shared::Batches),
    ("batchpredictionjobs", Shared::Batches),
    ("async-invoke", Shared::Batches),
    ("model-invocation-job", Shared::Batches),
    ("model-invocation-jobs", Shared::Batches),
    ("fine_tuning", Shared::FineTuning),
    ("fine-tunes", Shared::FineTuning),
    ("fine-tuning", Shared::FineTuning),
    ("tunedmodels", Shared::FineTuning),
    ("tuningjobs", Shared::FineTuning),
    ("evals", Shared::FineTuning),
    ("graders", Shared::FineTuning),
    ("videos", Shared::StoredResponses),
    ("operations", Shared::StoredResponses),
    ("deferred-completion", Shared::StoredResponses),
    ("vector_stores", Shared::VectorStores),
    ("corpora", Shared::VectorStores),
    ("ragcorpora", Shared::VectorStores),
    ("ragfiles", Shared::VectorStores),
    ("ragstores", Shared::VectorStores),
    ("datastores", Shared::VectorStores),
    ("filesearchstores", Shared::VectorStores),
    ("cachedcontents", Shared::VectorStores),
    ("libraries", Shared::VectorStores),
    ("collections", Shared::VectorStores),
    ("connectors", Shared::VectorStores),
    ("organization", Shared::Organization),
    ("organizations", Shared::Organization),
    ("workspaces", Shared::Organization),
    ("api_keys", Shared::Organization),
    ("dashboard", Shared::Organization),
];

const INITIALS: Initials = Initials::of(&SEGMENTS);

/// What Bedrock's runtime does with a model without keeping anything: `/model/ID/…`.
const BEDROCK_VERBS: [&[u8]; 5] =
    [b"converse", b"converse-stream", b"invoke", b"invoke-with-response-stream", b"count-tokens"];

/// Google's verbs that keep nothing and make nothing.
const COUNTING_VERBS: [&[u8]; 2] = [b"counttokens", b"computetokens"];

/// The operations on images and on sound that keep nothing.
const IMAGE_OPERATIONS: [&[u8]; 3] = [b"generations", b"edits", b"variations"];
const AUDIO_OPERATIONS: [&[u8]; 3] = [b"speech", b"transcriptions", b"translations"];

/// A path that different servers would take for different ones: with dot segments, with separators and dots that are
/// escaped, with a fragment, or with parameters (`;x`) below a provider's root. Routes are matched against the path as it stands, so nothing
/// of the kind goes on. AWS's names of models hold escaped slashes, and may.
pub fn is_ambiguous(path: &[u8]) -> bool {
    // Most paths have none of the bytes that it takes.
    let odd = |byte| (byte == b'.') | (byte == b'%') | (byte == b'\\') | (byte == b'#') | (byte == b';');
    if !any(path, odd) {
        return false;
    }
    let dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    let has_dots = || path.split(|byte| matches!(byte, b'/' | b'\\')).any(dots);
    let has = |sought: u8| path.contains(&sought);
    has_dots() || has_escape(path) || has(b'\\') || has(b'#') || (has_parameters(path) && is_providers(path))
}

/// Whether a path has `%2e`, `%2f`, `%5c`, `%25` or `%00`.
fn has_escape(path: &[u8]) -> bool {
    let escapes = memchr::memchr_iter(b'%', path).filter_map(|at| Some((at, path.get(at + 1..at + 3)?)));
    let is = |code: &[u8], known: &[u8; 2]| code.eq_ignore_ascii_case(known);
    let mut bad = escapes.filter(|(_, code)| [b"2e", b"2f", b"5c", b"25", b"00"].iter().any(|known| is(code, known)));
    let Some(first) = bad.next() else { return false };
    let Some(arn) = classify::arn_in_path(path) else { return true };
    std::iter::once(first).chain(bad).any(|(at, code)| !arn.contains(&at) || !is(code, b"2f"))
}

fn has_parameters(path: &[u8]) -> bool {
    let escaped = || {
        memchr::memchr_iter(b'%', path)
            .any(|at| path.get(at + 1..at + 3).is_some_and(|code| code == b"3b" || code == b"3B"))
    };
    path.contains(&b';') || escaped()
}

/// Whether a path is one of a provider's: what is said there is said to the account that all tenants share.
pub(crate) fn is_providers(path: &[u8]) -> bool {
    rest_below_provider(&plain(path)).is_some()
}

/// Whether names in the body of a request to that path are names at a provider.
pub(crate) fn takes_references(path: &[u8]) -> bool {
    let plain = plain(path);
    let path = without_end(&plain, |byte| byte == b'/');
    rest_below_provider(path).is_some() || path.ends_with(b"/chat/completions") || path.ends_with(b"/responses")
}

/// What a request would touch of what the provider's account shares; None for inference and for what is no provider's path.
/// `class` is the one of the path, or, if `named`, the one that the operator gives it: an inference of the operator's own.
pub fn touches(method: &[u8], path: &[u8], class: Class, named: bool) -> Option<Shared> {
    let path = plain(path);
    let rest: Vec<&[u8]> = rest_below_provider(&path)?.collect();
    let shared = rest.iter().find_map(|segment| find_shared(segment));
    if shared.is_some() {
        return shared;
    }
    let (posts, reads) = (method == b"POST", matches!(method, b"GET" | b"HEAD"));
    match rest.as_slice() {
        [b"models"] | [b"models", _] if reads => None,
        [b"models", ..] if method == b"DELETE" => Some(Shared::FineTuning),
        // Counting and compacting store nothing.
        [b"responses", b"input_tokens" | b"compact"] if posts => None,
        [b"responses" | b"interactions", _, ..] => Some(Shared::StoredResponses),
        [.., b"responses" | b"interactions"] | [.., b"chat", b"completions"] if !posts => Some(Shared::StoredResponses),
        [b"chat", b"completions", _, ..] => Some(Shared::StoredResponses),
        [b"messages", b"count_tokens"] if posts => None,
        [.., b"model", _, verb] if posts && BEDROCK_VERBS.contains(verb) => None,
        [.., last] if posts && verb(last).is_some_and(|verb| COUNTING_VERBS.contains(&verb)) => None,
        _ if named && class != Class::Other => None,
        rest if is_inference(rest, posts, class) => None,
        _ => Some(Shared::Unlisted),
    }
}

/// Whether these segments are an operation of inference, which keeps nothing.
fn is_inference(rest: &[&[u8]], posts: bool, class: Class) -> bool {
    match (class, rest) {
        // Tools speak by every method.
        (Class::Mcp, [b"mcp", ..]) => true,
        (Class::Image, [.., b"images", operation]) => posts && IMAGE_OPERATIONS.contains(operation),
        (Class::Audio, [.., b"audio", operation]) => posts && AUDIO_OPERATIONS.contains(operation),
        (Class::Image | Class::Audio | Class::Mcp | Class::Other, _) => false,
        _ => posts,
    }
}

fn find_shared(segment: &[u8]) -> Option<Shared> {
    // Google puts the operation behind a colon: `models/x:generateContent`, `batches:cancel`.
    let colon = segment.iter().position(|byte| *byte == b':');
    let (name, operation) = colon.and_then(|at| segment.split_at_checked(at)).unwrap_or((segment, b""));
    if operation.starts_with(b":batchgenerate") || operation.starts_with(b":asyncbatch") {
        return Some(Shared::Batches);
    }
    let known = if INITIALS.may_have(name) { &SEGMENTS[..] } else { &[] };
    known.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, shared)| *shared)
}

/// Google's verb at the end of a segment: `generatecontent`.
fn verb(segment: &[u8]) -> Option<&[u8]> {
    memchr::memrchr(b':', segment).and_then(|at| segment.get(at.saturating_add(1)..))
}

/// The segments below a provider's root; None where the path has none.
fn rest_below_provider(plain: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let segments = || plain.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
    let is_no_root: fn(&&[u8]) -> bool = |segment| !is_root(segment);
    let mut below = segments();
    if below.any(is_root) {
        return Some(below.filter(is_no_root));
    }
    // Behind a prefix of the operator's own, only the shape of the operation tells: Google's verbs, and Bedrock's. No
    // segment is a root here, so the filter drops none.
    let mut last = plain.rsplit(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
    let (end, middle, start) = (last.next()?, last.next().unwrap_or_default(), last.next().unwrap_or_default());
    let of_google = matches!(middle, b"models" | b"endpoints" | b"tunedmodels") && verb(end).is_some();
    let of_bedrock = start == b"model" && (BEDROCK_VERBS.contains(&end) || end.starts_with(b"invoke"));
    let is_async = || segments().any(|segment| segment == b"async-invoke");
    (of_google || of_bedrock || is_async()).then(|| segments().filter(is_no_root))
}

/// `openai`, `anthropic`, or a version of the providers' first: `v1`, `v1beta`, `v1beta1`, `v1p1beta1`. What is no letter
/// and no digit around it is what a lenient server may trim.
fn is_root(segment: &[u8]) -> bool {
    let segment = without_start(segment, |byte| !byte.is_ascii_alphanumeric());
    let segment = without_end(segment, |byte| !byte.is_ascii_alphanumeric());
    let [b'v', b'1', release @ ..] = segment else { return matches!(segment, b"openai" | b"anthropic") };
    let digits = |byte: u8| byte.is_ascii_digit();
    let release = release.strip_prefix(b"p").map_or(release, |rest| without_start(rest, digits));
    let is_stage =
        |stage: &[u8]| release.strip_prefix(stage).is_some_and(|rest| without_start(rest, digits).is_empty());
    release.is_empty() || is_stage(b"alpha") || is_stage(b"beta")
}

/// Skips the leading bytes for which `is_so` holds.
fn without_start(mut bytes: &[u8], is_so: impl Fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_so(*first)
    {
        bytes = rest;
    }
    bytes
}

/// The bytes before those at the end that are so.
fn without_end(mut bytes: &[u8], is_so: impl Fn(u8) -> bool) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_so(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The path as a lenient server reads it: without escapes and parameters, in lower case. An escaped slash parts nothing: it
/// becomes a byte that no name has.
fn plain(path: &[u8]) -> Cow<'_, [u8]> {
    if !any(path, |byte| (byte == b'%') | (byte == b';') | byte.is_ascii_uppercase() | !byte.is_ascii()) {
        return Cow::Borrowed(path);
    }
    let mut plain = Vec::with_capacity(path.len());
    for segment in path.split_inclusive(|byte| *byte == b'/') {
        let (segment, slash) = segment.strip_suffix(b"/").map_or((segment, None), |segment| (segment, Some(b'/')));
        let decoded = classify::unescaped(segment);
        let named = decoded.split(|byte| *byte == b';').next().unwrap_or_default();
        plain.extend(named.iter().map(|byte| if *byte == b'/' { 0 } else { byte.to_ascii_lowercase() }));
        plain.extend(slash);
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::by_path;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn touched(method: &str, path: &str) -> Option<Shared> {
        touches(method.as_bytes(), path.as_bytes(), by_path(path.as_bytes()), false)
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
            "/openai/deployments/gpt/images/generations",
            "/v1/projects/p/locations/l/publishers/google/models/gemini:streamGenerateContent",
            "/v1beta/models/gemini-2.5-pro:countTokens",
            "/gemini/models/gemini-2.5-pro:generateContent",
            "/model/anthropic.claude-v1%3A0/converse-stream",
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.nova/invoke",
            "/model/m/count-tokens",
            "/v1/mcp",
            "/search",
            "/files",
            "/model/7/save",
            "/models/7",
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
            ("GET", "/v1beta1/projects/p/locations/l/cachedContents", Shared::VectorStores),
            ("GET", "/v1p1beta1/files", Shared::Files),
            ("GET", "/v1;x/files", Shared::Files),
            ("GET", "/v1%3bx/files", Shared::Files),
            ("GET", "/v1%20/files", Shared::Files),
            ("POST", "/v1/audio/voice_consents", Shared::Unlisted),
            ("DELETE", "/v1/audio/voice_consents/c", Shared::Unlisted),
            ("POST", "/v1/audio/voices", Shared::Unlisted),
            ("GET", "/v1/images/generations", Shared::Unlisted),
            ("GET", "/v1/x/messages", Shared::Unlisted),
            ("POST", "/v1/whatever/mcp", Shared::Unlisted),
            ("POST", "/v1beta/models/g:predict", Shared::Unlisted),
            ("POST", "/v1beta/models/g:predictLongRunning", Shared::Unlisted),
            ("POST", "/v1beta/models/g:generateImages", Shared::Unlisted),
            ("POST", "/v1beta/models/g:madeUp", Shared::Unlisted),
            ("POST", "/v1beta/models/g", Shared::Unlisted),
            ("POST", "/gemini/models/g:predict", Shared::Unlisted),
            ("POST", "/v1/projects/p/locations/l/endpoints/e:predict", Shared::Unlisted),
            ("POST", "/model/m/invoke-with-bidirectional-stream", Shared::Unlisted),
            ("POST", "/model/m/invoke-made-up", Shared::Unlisted),
            ("POST", "/async-invoke", Shared::Batches),
            ("GET", "/async-invoke/arn%3Aaws%3Abedrock%3Ax%2Fy", Shared::Batches),
            ("POST", "/v1/agents/completions", Shared::Assistants),
            ("GET", "/v1beta/interactions/i", Shared::StoredResponses),
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
        for path in ["/v1;x/files", "/v1/chat/completions;x", "/v1/chat/completions%3Bx", "/openai;/v1/files"] {
            assert!(is_ambiguous(path.as_bytes()), "{path}");
        }
        for path in ["/v1/models/ft:gpt-4o:acme", "/v1/a..b", "/v1/%66iles", "/app;matrix=1/x", "/", ""] {
            assert!(!is_ambiguous(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_slash_may_be_escaped_in_awss_name_of_a_model_and_nowhere_else() {
        let arn = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.nova-v1%3A0/converse";
        assert!(!is_ambiguous(arn.as_bytes()));
        assert!(!is_ambiguous(arn.replace("%3A", ":").as_bytes()));
        for (part, other) in [
            ("%2Fus", "%2F..%2Fus"),
            ("%2Fus", "%2F%2Fus"),
            ("%2Fus", "%5Cus"),
            ("%2Fus", "%252Fus"),
            ("us.nova", "us%2Enova"),
            ("/model/", "/models/"),
            ("/model/arn", "/model/a%2Frn"),
            ("/converse", "/x%2Fconverse"),
        ] {
            let path = arn.replace(part, other);
            assert!(is_ambiguous(path.as_bytes()), "{path}");
        }
    }
}
