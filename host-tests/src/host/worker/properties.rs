//! The gateway's properties of a stream, as `get_property` returns them. Integers are 64-bit little endian, times and
//! durations in nanoseconds.

use super::{Exchange, Headers, Place, Quirk, RequestHead, StreamEnd};
use crate::host::settings::Settings;
use crate::host::stream::{HttpStream, Side, property_path};

/// nginx's name without a `server_name`, and its port.
const KONG_AUTHORITY: &str = "kong-host:8000";

/// The head that the filter sees on arrival.
pub(super) fn arriving_head(settings: &Settings, mut headers: Headers, request_id: &str) -> Headers {
    if settings.quirks.has(Quirk::RequestsGetAnId) {
        if headers.bytes("x-request-id").is_none() {
            headers.add("x-request-id", request_id);
        }
        let scheme = headers.bytes(":scheme").unwrap_or(b"http").to_vec();
        headers.set("x-forwarded-proto", scheme);
    }
    if settings.quirks.has(Quirk::AuthorityIsTheMachine)
        && let Some(authority) = headers.bytes(":authority").map(<[u8]>::to_vec)
    {
        headers.set("host", authority);
        headers.set(":authority", KONG_AUTHORITY);
    }
    if settings.quirks.has(Quirk::ConnectHasNoPath) && headers.bytes(":method") == Some(b"CONNECT") {
        headers.remove(":path");
    }
    settings.named_by_peer(headers)
}

/// The head as the filter sees it, where that is another than the one that goes upstream.
pub(super) fn shown_head(settings: &Settings, side: Side, headers: &Headers) -> Headers {
    let mut shown = headers.clone();
    if side == Side::Request
        && settings.quirks.has(Quirk::PathIsDecoded)
        && let Some(path) = headers.bytes(":path")
    {
        shown.set(":path", decoded(path));
    }
    shown
}

/// A path as nginx keeps it: without escapes, dot segments and empty segments. The query stays.
fn decoded(path: &[u8]) -> Vec<u8> {
    let (path, query) = match path.iter().position(|byte| *byte == b'?') {
        Some(mark) => path.split_at(mark),
        None => (path, &[][..]),
    };
    let plain = without_escapes(path);
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in plain.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let tail: &[u8] = if plain.ends_with(b"/") && !segments.is_empty() { b"/" } else { b"" };
    [b"/", segments.join(&b'/').as_slice(), tail, query].concat()
}

fn without_escapes(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    plain
}

/// An id in the form of a UUID, unique in its gateway and the same in every run.
pub(super) fn request_id(place: Place, exchange: u64) -> String {
    let worker = if let Place::Worker(index) = place { index } else { 0xffff };
    format!("00000000-0000-4000-8000-{worker:04x}{exchange:08x}")
}

fn integer(settings: &Settings, value: u64) -> Vec<u8> {
    let is_text = settings.quirks.has(Quirk::PropertiesAreText);
    if is_text { value.to_string().into_bytes() } else { value.to_le_bytes().to_vec() }
}

/// Properties available from the request's head on.
pub(super) fn of_request(settings: &Settings, stream: &mut HttpStream, head: &RequestHead, now_ns: u64) {
    let text = |name: &str| head.headers.bytes(name).map(<[u8]>::to_vec).unwrap_or_default();
    let path = text(":path");
    let (bare, query) = match path.iter().position(|byte| *byte == b'?') {
        Some(mark) => (path[..mark].to_vec(), path[mark + 1..].to_vec()),
        None => (path.clone(), Vec::new()),
    };
    let host = text(":authority");
    let bare = if settings.quirks.has(Quirk::PathIsDecoded) { decoded(&bare) } else { bare };
    let known = [
        ("path", path),
        ("url_path", bare),
        ("query", query),
        ("host", host),
        ("scheme", text(":scheme")),
        ("method", text(":method")),
        ("useragent", text("user-agent")),
        ("id", text("x-request-id")),
        ("protocol", b"HTTP/1.1".to_vec()),
        ("time", integer(settings, now_ns)),
    ];
    for (name, value) in known {
        stream.set_property(&["request", name], value);
    }
    stream.set_property(&["source", "address"], "127.0.0.1:40000");
    for (path, value) in &head.properties {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        stream.properties.insert(property_path(&path), value.clone());
    }
}

/// Properties available from the response's head on.
pub(super) fn of_head(settings: &Settings, stream: &mut HttpStream, side: Side, headers: &Headers) {
    if side == Side::Response {
        let status = headers.get(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        stream.set_property(&["response", "code"], integer(settings, status));
    }
}

/// Properties that exist only in `on_log`.
pub(super) fn of_end(settings: &Settings, stream: &mut HttpStream, exchange: &Exchange, end: StreamEnd, now_ns: u64) {
    let head = exchange.response.delivered.head.as_ref();
    let status = head.and_then(|head| head.get(":status")?.parse().ok()).unwrap_or(0);
    stream.set_property(&["response", "code"], integer(settings, status));
    stream.set_property(&["response", "code_details"], code_details(exchange, end));
    stream.set_property(&["request", "size"], integer(settings, exchange.request.delivered.body().len() as u64));
    stream.set_property(&["response", "size"], integer(settings, exchange.response.delivered.body().len() as u64));
    stream.set_property(&["request", "duration"], integer(settings, now_ns - exchange.opened_ns));
    if let (Some(forwarded_ns), Some(answered_ns)) = (exchange.forwarded_ns, exchange.answered_ns) {
        stream.set_property(
            &["response", "backend_latency"],
            integer(settings, answered_ns.saturating_sub(forwarded_ns)),
        );
    }
}

fn code_details(exchange: &Exchange, end: StreamEnd) -> String {
    if let Some(reply) = &exchange.local_reply {
        return reply.details.clone();
    }
    let started = exchange.response.delivered.head.is_some();
    match end {
        StreamEnd::Complete => "via_upstream".into(),
        StreamEnd::DownstreamGone => "downstream_remote_disconnect".into(),
        StreamEnd::UpstreamReset if started => "upstream_reset_after_response_started{connection_termination}".into(),
        StreamEnd::UpstreamReset => "upstream_reset_before_response_started{connection_termination}".into(),
        StreamEnd::TimedOut => "response_timeout".into(),
        StreamEnd::ClosedByFilter | StreamEnd::Trapped => "wasm_fail_stream".into(),
    }
}
