//! A request's head, read once.
//!
//! Gateways differ: Envoy gives lower-case names, Kong the client's own spelling. `host` is what the client asked for
//! on both; `:authority` is set only on Envoy.

use weir_llm_usage::bytes::is_name;

/// Headers that weir sets. A client's own copies are removed before anything else is read.
pub const INJECTED: [&str; 10] = [
    "x-tenant-id",
    "x-tenant-plan",
    "x-request-class",
    "x-model",
    "x-tenant-user",
    "x-weir-chain",
    "x-weir-flags",
    "x-weir-isolation",
    "x-weir-region",
    "x-weir-endpoint",
];

/// Headers by which a client chooses whose account at a provider pays, beside the operator's own key. They end here.
pub(crate) const ACCOUNT: [&str; 7] = [
    "anthropic-workspace-id",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "x-hf-bill-to",
    "x-dashscope-workspace",
    "x-databricks-org-id",
];

/// Headers by which some servers take another method or path than the request's own. A request with one is refused.
const OVERRIDES: [&str; 6] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "x-original-method",
];

/// The longest of all these names, in bytes.
const WATCHED_MAX_BYTES: usize = 31;

/// The last letters of all these names, by the names' lengths: a bit each, the same for a letter's two cases.
const WATCHED_ENDS: [u32; WATCHED_MAX_BYTES + 1] =
    ends(ends(ends([0; WATCHED_MAX_BYTES + 1], &INJECTED), &ACCOUNT), &OVERRIDES);

#[allow(clippy::indexing_slicing, reason = "it runs in the compiler")]
const fn ends(mut ends: [u32; WATCHED_MAX_BYTES + 1], names: &[&str]) -> [u32; WATCHED_MAX_BYTES + 1] {
    let mut rest = names;
    while let [name, tail @ ..] = rest {
        ends[name.len()] |= bit(name.as_bytes()[name.len() - 1]);
        rest = tail;
    }
    ends
}

const fn bit(letter: u8) -> u32 {
    1 << (letter & 31)
}

/// The most credentials of one kind that are looked at; a request with more is refused.
pub(crate) const CREDENTIALS_MAX: usize = 4;

/// One header: its name as the gateway gave it, and its bytes.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The parts of a request's head that the filter needs.
#[derive(Clone, Debug, Default)]
pub struct Head<'a> {
    /// `:method`
    pub method: &'a [u8],
    /// `:path` up to the query.
    pub path: &'a [u8],
    /// The query after the `?`.
    pub query: Option<&'a [u8]>,
    /// `host`, else `:authority`.
    pub host: &'a [u8],
    /// `x-request-id`
    pub request_id: Option<&'a [u8]>,
    /// `accept-encoding` is there.
    pub accepts_encoding: bool,
    /// The first `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// `origin`: a browser asks.
    pub origin: Option<&'a [u8]>,
    /// `access-control-request-method`: with `OPTIONS` and `origin` it makes a CORS preflight.
    pub preflight: bool,
    /// `upgrade`, except to HTTP/2, which is no other protocol; or `:protocol` (RFC 8441).
    pub upgrade: Option<&'a [u8]>,
    /// A body is announced.
    pub has_body: bool,
    /// The first `content-length`.
    pub content_length: Option<&'a [u8]>,
    /// `traceparent`; empty if there are several, since then none is valid.
    pub traceparent: Option<&'a [u8]>,
    /// The first `idempotency-key`.
    pub idempotency_key: Option<&'a [u8]>,
    /// Names in [`INJECTED`] that the client sent, by index.
    pub injected: [bool; INJECTED.len()],
    /// Names in [`ACCOUNT`] that the client sent, by index.
    pub account: [bool; ACCOUNT.len()],
    /// A spelling of a watched name that a gateway or upstream might take for it: `x_tenant_id`.
    pub misspelt: bool,
    /// A header that gives the request another method or path.
    pub overrides: bool,
    pairs: &'a [Pair<'a>],
}

impl<'a> Head<'a> {
    /// Reads the pairs of a header map.
    pub fn read(pairs: &'a [Pair<'a>]) -> Self {
        let mut head = Head { pairs, ..Head::default() };
        let mut authority: &[u8] = b"";
        for &(name, value) in pairs {
            match name.len() {
                4 if is(name, "host") => head.host = value,
                5 if name == b":path" => (head.path, head.query) = split_query(value),
                6 if is(name, "origin") => head.origin = Some(value),
                7 if name == b":method" => head.method = value,
                7 if is(name, "upgrade") && !value.eq_ignore_ascii_case(b"h2c") => head.upgrade = Some(value),
                9 if name == b":protocol" => head.upgrade = Some(value),
                10 if name == b":authority" => authority = value,
                11 if is(name, "traceparent") => {
                    head.traceparent = Some(if head.traceparent.is_none() { value } else { b"" });
                }
                12 if is(name, "x-request-id") => head.request_id = Some(value),
                12 if is(name, "content-type") => {
                    head.content_type.get_or_insert(value);
                }
                14 if is(name, "content-length") => {
                    head.has_body |= value != b"0";
                    head.content_length.get_or_insert(value);
                }
                15 if is(name, "accept-encoding") => head.accepts_encoding = true,
                15 if is(name, "idempotency-key") => {
                    head.idempotency_key.get_or_insert(value);
                }
                17 if is(name, "transfer-encoding") => head.has_body = true,
                29 if is(name, "access-control-request-method") => head.preflight = true,
                _ => head.find_watched(name),
            }
        }
        if head.host.is_empty() {
            head.host = authority;
        }
        head.preflight &= head.method == b"OPTIONS" && head.origin.is_some();
        head
    }

    /// Whether the connection stops being HTTP request and answer, so that no body ends.
    pub(crate) fn leaves_http(&self) -> bool {
        self.upgrade.is_some() || self.method == b"CONNECT"
    }

    fn find_watched(&mut self, name: &[u8]) {
        let ends = WATCHED_ENDS.get(name.len()).copied().unwrap_or(0);
        let may_be = name.last().is_some_and(|last| ends & bit(*last) != 0);
        if !may_be || !matches!(name, [b'o' | b'O' | b'x' | b'X', ..] | [b'a' | b'A', b'n' | b'N', ..]) {
            return;
        }
        let found = self.injected.iter_mut().zip(INJECTED).chain(self.account.iter_mut().zip(ACCOUNT));
        for (found, watched) in found.filter(|(_, watched)| watched.len() == name.len()) {
            if is(name, watched) {
                *found = true;
            } else if is_misspelt(name, watched) {
                self.misspelt = true;
            }
        }
        self.overrides |= OVERRIDES.iter().any(|watched| is_misspelt(name, watched));
    }

    /// Every header, in order.
    pub fn pairs(&self) -> &'a [Pair<'a>] {
        self.pairs
    }

    /// Every value of the header `name` (lower case), in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.pairs.iter().filter(move |(found, _)| is(found, name)).map(|(_, value)| *value)
    }

    /// The first value of the header `name` (lower case).
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.pairs.iter().find(|(found, _)| is(found, name)).map(|(_, value)| *value)
    }
}

/// Whether a header's name is `lower`, whatever its case.
#[inline]
pub fn is(name: &[u8], lower: &str) -> bool {
    is_name(name, lower.as_bytes())
}

/// Whether a header's name is `injected`, perhaps with underscores instead of hyphens: servers that follow CGI treat both
/// as one name.
fn is_misspelt(name: &[u8], injected: &str) -> bool {
    name.len() == injected.len()
        && name.iter().zip(injected.bytes()).all(|(a, b)| match (a, b) {
            (b'_', b'-') => true,
            (a, b) => a.eq_ignore_ascii_case(&b),
        })
}

fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', path).and_then(|at| path.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..)),
        None => (path, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_head_is_read_in_one_pass() {
        let pairs: [Pair<'_>; 5] = [
            (b":method", b"POST"),
            (b":path", b"/v1/messages?beta=true"),
            (b":authority", b"api.example.com"),
            (b"X-Request-Id", b"r-1"),
            (b"accept-encoding", b"gzip"),
        ];
        let head = Head::read(&pairs);
        assert_eq!((head.method, head.path, head.query), (&b"POST"[..], &b"/v1/messages"[..], Some(&b"beta=true"[..])));
        assert_eq!((head.host, head.request_id), (&b"api.example.com"[..], Some(&b"r-1"[..])));
        assert!(head.accepts_encoding && !head.misspelt && head.injected == [false; INJECTED.len()]);
    }

    #[test]
    fn an_upgrade_is_told_and_one_to_http_2_is_none() {
        let leaves = |pairs: &[Pair<'_>]| Head::read(pairs).leaves_http();
        assert!(leaves(&[(b":method", b"GET"), (b"Upgrade", b"websocket")]));
        assert!(leaves(&[(b":method", b"GET"), (b"upgrade", b"h2c, websocket")]));
        assert!(leaves(&[(b":method", b"CONNECT")]) && leaves(&[(b":method", b"GET"), (b":protocol", b"websocket")]));
        assert!(!leaves(&[(b":method", b"POST"), (b"upgrade", b"h2c")]) && !leaves(&[(b":method", b"GET")]));
        let body = |pairs: &[Pair<'_>]| Head::read(pairs).has_body;
        assert!(body(&[(b"content-length", b"2")]) && body(&[(b"transfer-encoding", b"chunked")]));
        assert!(!body(&[(b"content-length", b"0")]));
    }

    #[test]
    fn the_host_header_comes_before_the_gateways_own_authority() {
        let pairs: [Pair<'_>; 2] = [(b"host", b"acme.example.com"), (b":authority", b"kong-7:8000")];
        assert_eq!(Head::read(&pairs).host, b"acme.example.com");
    }

    #[test]
    fn every_watched_name_is_found_in_capitals_and_with_underscores() {
        for watched in INJECTED.iter().chain(&ACCOUNT).chain(&OVERRIDES) {
            let (capitals, misspelt) = (watched.to_uppercase(), watched.replacen('-', "_", 1));
            for name in [watched, &*capitals] {
                let head_pairs: [Pair<'_>; 1] = [(name.as_bytes(), b"1")];
                let head = Head::read(&head_pairs);
                let found = head.injected.iter().chain(&head.account).any(|found| *found) || head.overrides;
                assert!(found && !head.misspelt, "{name}");
            }
            let pairs: [Pair<'_>; 1] = [(misspelt.as_bytes(), b"1")];
            let head = Head::read(&pairs);
            assert!(head.misspelt || head.overrides, "{misspelt}");
        }
    }

    #[test]
    fn injected_names_are_found_in_every_case() {
        let pairs: [Pair<'_>; 3] = [(b"X-Tenant-ID", b"globex"), (b"x-model", b"gpt"), (b"X-Weir-Endpoint", b"b")];
        let head = Head::read(&pairs);
        assert_eq!(head.injected, [true, false, false, true, false, false, false, false, false, true]);
        assert!(!head.misspelt);
    }

    #[test]
    fn underscore_spellings_of_injected_names_are_told() {
        for name in ["x_tenant_id", "X-Tenant_Id", "x_request-class", "x_model", "openai_organization", "X_Hf-Bill_To"]
        {
            let pairs: [Pair<'_>; 1] = [(name.as_bytes(), b"1")];
            assert!(Head::read(&pairs).misspelt, "{name}");
        }
        let pairs: [Pair<'_>; 1] = [(b"x_tenant_idx", b"1")];
        assert!(!Head::read(&pairs).misspelt);
    }

    #[test]
    fn only_options_with_an_origin_and_a_method_asked_for_is_a_preflight() {
        let method = |method: &'static [u8]| -> Pair<'_> { (b":method", method) };
        let rest: [Pair<'_>; 2] = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"POST")];
        assert!(Head::read(&[method(b"OPTIONS"), rest[0], rest[1]]).preflight);
        assert!(!Head::read(&[method(b"POST"), rest[0], rest[1]]).preflight);
        assert!(!Head::read(&[method(b"OPTIONS"), rest[1]]).preflight);
    }

    #[test]
    fn headers_that_choose_an_account_are_found_in_every_case() {
        let pairs: [Pair<'_>; 2] = [(b"OpenAI-Project", b"p"), (b"x-goog-user-project", b"g")];
        let head = Head::read(&pairs);
        assert_eq!(head.account, [false, false, true, true, false, false, false]);
        assert!(!head.misspelt && !head.overrides);
    }

    #[test]
    fn headers_that_give_a_request_another_method_or_path_are_told() {
        for name in
            ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override", "x_http_method_override", "X-Rewrite-URL"]
        {
            let pairs: [Pair<'_>; 1] = [(name.as_bytes(), b"DELETE")];
            assert!(Head::read(&pairs).overrides, "{name}");
        }
        let pairs: [Pair<'_>; 2] = [(b"x-http-methods", b"GET"), (b"authorization", b"x")];
        assert!(!Head::read(&pairs).overrides);
    }
}
