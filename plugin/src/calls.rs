//! Calls to other servers, from ticks and from requests that are held.
use std::time::Duration;

use weir_filter::fetch::Fetched;
use weir_filter::head::is;
use weir_filter::limit::Center;

use crate::gateway::call_headers;
use crate::host::{self, Buffer};

/// Sends a call about leases.
pub(crate) fn post(center: &Center, path: &str, body: &[u8]) -> Option<u32> {
    let headers = vec![
        (":method", "POST"),
        (":path", path),
        (":authority", &*center.authority),
        ("content-type", "application/json"),
        ("authorization", &*center.authorization),
    ];
    host::dispatch(&center.cluster, headers, Some(body), Duration::from_millis(center.timeout_ms))
}

/// Reads the answer to a call, up to `max_bytes` of its body, and one more, to detect what is too long.
pub(crate) fn with_answer<T>(
    headers: usize,
    body_size: usize,
    max_bytes: usize,
    use_it: impl FnOnce(&Fetched<'_>) -> T,
) -> T {
    let map = call_headers(headers);
    let pairs = map.as_ref().map(host::Headers::pairs).unwrap_or_default();
    let find = |name: &str| pairs.iter().find(|(found, _)| is(found, name)).map(|(_, value)| *value);
    let status = find(":status").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let body = host::buffer(Buffer::CallResponseBody, body_size.min(max_bytes + 1)).unwrap_or_default();
    let answer = status.map_or(Fetched::Nothing, |status| Fetched::Answer {
        status,
        etag: find("etag"),
        cache_control: find("cache-control"),
        body: &body,
    });
    use_it(&answer)
}
