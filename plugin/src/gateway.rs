//! Which gateway runs this, and what it can hand over.
use std::cell::Cell;

use crate::host::{self, HeaderMap};

/// The most headers that Kong hands over: a map of more, with its four pseudo headers, overwrites this module's memory.
const KONG_HEADERS_MAX: usize = 96;

thread_local! {
    static KONG: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Whether the gateway is Kong. An unknown host counts as Kong: holding a request where nothing shows its body hangs.
pub(crate) fn is_kong() -> bool {
    KONG.get().unwrap_or_else(|| {
        let kong = !host::is_envoy();
        KONG.set(Some(kong));
        kong
    })
}

/// Returns true if the gateway passes a map of this many headers without cutting it.
pub(crate) fn hands_over(headers: usize) -> bool {
    headers <= KONG_HEADERS_MAX || !is_kong()
}

/// The map of a call's answer; None if it has no headers, or more than the gateway hands over.
pub(crate) fn call_headers(headers: usize) -> Option<host::Headers> {
    (headers > 0 && hands_over(headers)).then(|| host::headers(HeaderMap::CallResponse))
}
