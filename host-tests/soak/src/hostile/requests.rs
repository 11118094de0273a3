//! Requests that an attacker sends, as bytes on a connection: heads, paths, bodies, credentials and upgrades that are crafted,
//! cut anywhere. Each is drawn from a seed.
use crate::traffic::{GOOD, key};
use weir_seeded::SplitMix64;

/// Containers within each other: deeper than any reader of weir goes.
const DEEP: usize = 40_000;
/// More than Envoy's default for a head (60 KiB).
const LONG_HEADER_BYTES: usize = 70_000;
/// How many bytes a request may have in one write; the cut falls anywhere.
const WRITE_MAX_BYTES: u64 = 4_096;

/// One attack.
#[derive(Debug, Clone)]
pub(super) struct Attack {
    /// What is written, write by write.
    pub(super) writes: Vec<Vec<u8>>,
    /// The client goes after the last write, without reading.
    pub(super) leaves: bool,
    /// Written over HTTP/2, with prior knowledge.
    pub(super) is_h2: bool,
}

/// The attack of that number.
#[must_use]
pub(super) fn attack(number: usize, dice: &mut SplitMix64) -> Attack {
    let mut body = body(dice);
    let chunked = dice.percent(30);
    let mut bytes = head(number, dice, chunked, body.len());
    if chunked {
        body = in_chunks(&body, dice);
    }
    bytes.extend(body);
    if dice.percent(6) {
        let keep = dice.index(bytes.len());
        bytes.truncate(keep);
    }
    let writes = cut(&bytes, dice);
    Attack { writes, leaves: dice.percent(8), is_h2: false }
}

/// A request that any gateway serves, for comparison.
#[must_use]
pub(super) fn good(number: usize) -> Vec<u8> {
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"When is high water?"}]}"#;
    let key = key(GOOD);
    format!(
        "POST /v1/chat/completions?number={number} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn head(number: usize, dice: &mut SplitMix64, chunked: bool, length: usize) -> Vec<u8> {
    let method =
        pick(dice, &["POST", "POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "BREW"]);
    let path = path(dice);
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut head = format!("{method} {path}{separator}number={number} HTTP/1.1\r\n").into_bytes();
    head.extend_from_slice(b"host: gateway\r\nconnection: close\r\n");
    head.extend(credential(dice));
    head.extend_from_slice(format!("x-hostile-answer: {}\r\n", dice.below(super::upstream::KINDS)).as_bytes());
    for _ in 0..dice.below(4) {
        head.extend(odd_header(dice));
    }
    head.extend(content_type(dice));
    match chunked {
        true => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // Now and then a length that is not the body's.
        false if dice.percent(3) => head.extend(format!("content-length: {}\r\n", dice.below(1 << 33)).bytes()),
        false => head.extend(format!("content-length: {length}\r\n").bytes()),
    }
    head.extend_from_slice(b"\r\n");
    head
}

pub(super) fn path(dice: &mut SplitMix64) -> String {
    let known = pick(
        dice,
        &[
            "/v1/chat/completions",
            "/v1/responses",
            "/v1/messages",
            "/v1/embeddings",
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            "/model/anthropic.claude/converse-stream",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/converse",
            "/api/chat",
            "/v2/chat",
            "/v1/audio/transcriptions",
            "/v1/files/file-1",
            "/v1/responses/resp_1",
            "/ask",
        ],
    );
    match dice.below(14) {
        0 => known.replace('/', "//"),
        1 => known.replace('/', "/./"),
        2 => known.replacen('/', "/x/../", 2),
        3 => known.replace('o', "%6F"),
        4 => known.replace('/', "%2f").replacen("%2f", "/", 1),
        5 => format!("{known};x=1"),
        6 => known.to_uppercase(),
        7 => format!("{known}%00"),
        8 => format!("{known}?{}", "a=%FF&".repeat(usize::try_from(dice.below(2_000)).unwrap_or(0))),
        9 => format!("{known}/{}", "x/".repeat(usize::try_from(dice.below(4_000)).unwrap_or(0))),
        10 => format!("{known}/%zz%25%2e%2e"),
        _ => known.to_owned(),
    }
}

fn credential(dice: &mut SplitMix64) -> Vec<u8> {
    let good = format!("authorization: Bearer {}\r\n", key(GOOD)).into_bytes();
    match dice.below(16) {
        0 => Vec::new(),
        1 => b"authorization: Bearer \r\n".to_vec(),
        2 => b"authorization: Basic c2tfd2Vpcl9hY21lOg==\r\n".to_vec(),
        3 => [&b"authorization: Bearer sk_weir_"[..], &noise(dice, 3_000, false), b"\r\n"].concat(),
        4 => [good.clone(), b"Authorization: Bearer sk_weir_other\r\n".to_vec()].concat(),
        5 => b"authorization: Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.\r\n".to_vec(),
        6 => [&b"authorization: Bearer sk_weir_acme"[..], &[0xFF, 0xC3, 0x28], b"\r\n"].concat(),
        _ => good,
    }
}

fn odd_header(dice: &mut SplitMix64) -> Vec<u8> {
    match dice.below(14) {
        0 => b"x-tenant-id: globex\r\n".to_vec(),
        1 => b"x_tenant_id: globex\r\n".to_vec(),
        2 => b"X-HTTP-Method-Override: DELETE\r\n".to_vec(),
        3 => b"upgrade: websocket\r\n".to_vec(),
        4 => b"accept-encoding: br, zstd, gzip\r\n".to_vec(),
        5 => b"content-encoding: gzip\r\n".to_vec(),
        6 => b"expect: 100-continue\r\n".to_vec(),
        7 => b"te: trailers\r\n".to_vec(),
        8 => [&b"x-long: "[..], &vec![b'a'; LONG_HEADER_BYTES], b"\r\n"].concat(),
        9 => (0..90).flat_map(|at| format!("x-many-{at}: {at}\r\n").into_bytes()).collect(),
        10 => [&b"idempotency-key: "[..], &noise(dice, 600, false), b"\r\n"].concat(),
        11 => b"x-request-id: ../../etc/passwd\r\n".to_vec(),
        12 => b"origin: https://evil.example\r\naccess-control-request-method: POST\r\n".to_vec(),
        _ => [&b"x-noise: "[..], &noise(dice, 200, true), b"\r\n"].concat(),
    }
}

fn content_type(dice: &mut SplitMix64) -> Vec<u8> {
    let kind = pick(
        dice,
        &[
            "application/json",
            "application/json",
            "application/json",
            "Application/JSON; charset=utf-16",
            "text/plain",
            "multipart/form-data; boundary=x",
            "multipart/json",
            "application/grpc",
            "image/png",
            "",
        ],
    );
    if kind.is_empty() { Vec::new() } else { format!("content-type: {kind}\r\n").into_bytes() }
}

/// A body that a JSON reader may stumble over.
pub(super) fn body(dice: &mut SplitMix64) -> Vec<u8> {
    let text = |text: &str| text.as_bytes().to_vec();
    match dice.below(20) {
        0 => Vec::new(),
        1 => noise(dice, 2_000, true),
        2 => [vec![b'['; DEEP], vec![b']'; DEEP]].concat(),
        3 => [br#"{"a":"#.repeat(DEEP), b"1".to_vec(), vec![b'}'; DEEP]].concat(),
        4 => text(r#"{"model":"gpt-4o","model":"o3","n":1,"n":9,"stream":true,"Stream":false,"messages":[]}"#),
        5 => {
            format!(r#"{{"model":"gpt-4o","max_tokens":{},"n":-1e999,"messages":[]}}"#, "9".repeat(5_000)).into_bytes()
        }
        6 => [&b"{\"model\":\"gpt-4o\",\"messages\":[{\"content\":\""[..], &[0xC3, 0x28, 0xFF, 0xED, 0xA0], b"\"}]}"]
            .concat(),
        7 => text(r#"{"mod\u0065l":"gpt\u002d4o","stream_options":{"include_usage":"maybe"},"stream":"on"}"#),
        8 => [&[0xEF, 0xBB, 0xBF][..], br#"{"model":"gpt-4o","messages":[]}"#].concat(),
        9 => text(r#"{"previous_response_id":"resp_1","input":[{"id":"x"}],"tools":[{"vector_store_ids":["vs_1"]}]}"#),
        10 => format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(30_000)).into_bytes(),
        11 => (0..3_000).map(|at| format!("\"k{at}\":{at},")).fold("{".to_owned(), |all, one| all + &one).into_bytes(),
        12 => text("--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--x--\r\n"),
        13 => text(r#"{"model":NaN,"messages":[Infinity],"stream":1.0}"#),
        14 => br#"{"model":"gpt-4o","messages":[{"content":"\ud800\udc"}]"#.to_vec(),
        _ => {
            let words = "so it goes, \\\"and on\\\", ".repeat(usize::try_from(dice.below(200)).unwrap_or(0));
            let stream = dice.percent(50);
            format!(r#"{{"model":"gpt-4o","stream":{stream},"messages":[{{"role":"user","content":"{words}"}}]}}"#)
                .into_bytes()
        }
    }
}

/// The body in chunks, now and then with a size that is none.
fn in_chunks(body: &[u8], dice: &mut SplitMix64) -> Vec<u8> {
    let size = 1 + usize::try_from(dice.below(WRITE_MAX_BYTES)).unwrap_or(0);
    let mut out = Vec::with_capacity(body.len() * 2);
    for chunk in body.chunks(size) {
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    match dice.below(20) {
        0 => out.extend_from_slice(b"zz\r\n"),
        1 => out.extend_from_slice(b"ffffffffffffffffff\r\n"),
        2 => out.extend_from_slice(b"0\r\nx-tenant-id: globex\r\n\r\n"),
        _ => out.extend_from_slice(b"0\r\n\r\n"),
    }
    out
}

/// The bytes in writes that end anywhere. Few, so that a run does not wait for the network.
pub(super) fn cut(bytes: &[u8], dice: &mut SplitMix64) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut writes = Vec::new();
    for _ in 0..dice.below(4) {
        let at = usize::try_from(dice.below(WRITE_MAX_BYTES.min(1 + rest.len() as u64))).unwrap_or(0);
        let (write, behind) = rest.split_at(at);
        writes.push(write.to_vec());
        rest = behind;
    }
    writes.push(rest.to_vec());
    writes
}

/// Random bytes; for a header without those that end its line.
fn noise(dice: &mut SplitMix64, max: u64, any: bool) -> Vec<u8> {
    let byte = |dice: &mut SplitMix64| dice.next_u64().to_le_bytes()[0];
    let fits = |byte: u8| any || (byte.is_ascii_graphic());
    (0..dice.below(max)).map(|_| byte(dice)).map(|byte| if fits(byte) { byte } else { b'x' }).collect()
}

fn pick<'t>(dice: &mut SplitMix64, all: &[&'t str]) -> &'t str {
    let at = dice.index(all.len());
    all.get(at).copied().unwrap_or_default()
}
