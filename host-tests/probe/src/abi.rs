//! The imports, as safe functions that return what the host answered.

use std::fmt;

pub(crate) const DEBUG: u32 = 1;
pub(crate) const INFO: u32 = 2;

/// A pointer that the SDKs pass for "no value".
const NULL: *const u8 = std::ptr::null();

#[rustfmt::skip]
mod host {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, at: *const u8, len: usize) -> u32;
        pub(super) fn proxy_get_log_level(out: *mut u32) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(out: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_done() -> u32;
        pub(super) fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, out: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_set_buffer_bytes(kind: u32, start: usize, size: usize, at: *const u8, len: usize) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, out: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_set_header_map_pairs(map: u32, at: *const u8, len: usize) -> u32;
        pub(super) fn proxy_get_header_map_value(map: u32, k: *const u8, kl: usize, out: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, k: *const u8, kl: usize) -> u32;
        pub(super) fn proxy_replace_header_map_value(map: u32, k: *const u8, kl: usize, v: *const u8, vl: usize) -> u32;
        pub(super) fn proxy_add_header_map_value(map: u32, k: *const u8, kl: usize, v: *const u8, vl: usize) -> u32;
        pub(super) fn proxy_get_property(path: *const u8, pl: usize, out: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_set_property(path: *const u8, pl: usize, v: *const u8, vl: usize) -> u32;
        pub(super) fn proxy_get_shared_data(k: *const u8, kl: usize, out: *mut *mut u8, len: *mut usize, cas: *mut u32) -> u32;
        pub(super) fn proxy_set_shared_data(k: *const u8, kl: usize, v: *const u8, vl: usize, cas: u32) -> u32;
        pub(super) fn proxy_register_shared_queue(k: *const u8, kl: usize, out: *mut u32) -> u32;
        pub(super) fn proxy_enqueue_shared_queue(id: u32, v: *const u8, vl: usize) -> u32;
        pub(super) fn proxy_dequeue_shared_queue(id: u32, out: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, k: *const u8, kl: usize, out: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, by: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
        pub(super) fn proxy_get_metric(id: u32, out: *mut u64) -> u32;
        pub(super) fn proxy_continue_stream(kind: u32) -> u32;
        pub(super) fn proxy_close_stream(kind: u32) -> u32;
        pub(super) fn proxy_send_local_response(status: u32, d: *const u8, dl: usize, b: *const u8, bl: usize, h: *const u8, hl: usize, grpc: i32) -> u32;
        pub(super) fn proxy_http_call(u: *const u8, ul: usize, h: *const u8, hl: usize, b: *const u8, bl: usize, t: *const u8, tl: usize, timeout: u32, out: *mut u32) -> u32;
        pub(super) fn proxy_call_foreign_function(n: *const u8, nl: usize, a: *const u8, al: usize, out: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_grpc_cancel(token: u32) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn random_get(at: *mut u8, len: usize) -> u32;
    }
}

/// A status code and what came with it.
pub(crate) struct Answer {
    pub(crate) status: u32,
    pub(crate) value: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            0 => f.write_str("Ok")?,
            1 => f.write_str("NotFound")?,
            2 => f.write_str("BadArgument")?,
            7 => f.write_str("Empty")?,
            8 => f.write_str("CasMismatch")?,
            10 => f.write_str("InternalFailure")?,
            other => write!(f, "status {other}")?,
        }
        self.value.as_ref().map_or(Ok(()), |value| write!(f, " {value}"))
    }
}

fn plain(status: u32) -> Answer {
    Answer { status, value: None }
}

fn with_number<N: fmt::Display + Default>(call: impl FnOnce(*mut N) -> u32) -> Answer {
    let mut number = N::default();
    let status = call(&raw mut number);
    Answer { status, value: (status == 0).then(|| number.to_string()) }
}

/// Calls a function that hands bytes over; they stay allocated, the guest is short-lived.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> (u32, Option<Vec<u8>>) {
    let (mut at, mut len) = (std::ptr::null_mut(), 0);
    let status = call(&raw mut at, &raw mut len);
    // SAFETY: the host allocated `len` bytes at `at` through this module's `malloc`, or left the pointer null.
    let value = (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at, len) }.to_vec());
    (status, value)
}

fn quoted(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Answer {
    let (status, value) = bytes(call);
    let value = value.map(|value| format!("{:?}", String::from_utf8_lossy(&value)));
    Answer { status, value: value.or_else(|| (status == 0).then(|| "none".into())) }
}

// SAFETY of every call below: pointers and lengths come from live slices or locals, and the host keeps none of them.
macro_rules! ask {
    ($name:ident($($arg:expr),* $(,)?)) => { unsafe { host::$name($($arg),*) } };
}

pub(crate) fn log(level: u32, message: &str) {
    ask!(proxy_log(level, message.as_ptr(), message.len()));
}

pub(crate) fn log_level() -> Answer {
    with_number(|out| ask!(proxy_get_log_level(out)))
}

pub(crate) fn time() -> Answer {
    with_number(|out| ask!(proxy_get_current_time_nanoseconds(out)))
}

pub(crate) fn random(length: usize) -> Answer {
    let mut bytes = vec![0; length];
    let status = ask!(random_get(bytes.as_mut_ptr(), length));
    Answer { status, value: Some(format!("{bytes:?}")) }
}

pub(crate) fn tick_period(period_ms: u32) -> Answer {
    plain(ask!(proxy_set_tick_period_milliseconds(period_ms)))
}

pub(crate) fn effective_context(context: u32) -> Answer {
    plain(ask!(proxy_set_effective_context(context)))
}

pub(crate) fn done() -> Answer {
    plain(ask!(proxy_done()))
}

pub(crate) fn plugin_configuration(size: usize) -> Vec<u8> {
    bytes(|out, len| ask!(proxy_get_buffer_bytes(7, 0, size, out, len))).1.unwrap_or_default()
}

pub(crate) fn get_buffer(kind: u32, start: usize, max: usize) -> Answer {
    quoted(|out, len| ask!(proxy_get_buffer_bytes(kind, start, max, out, len)))
}

pub(crate) fn set_buffer(kind: u32, start: usize, size: usize, with: &str) -> Answer {
    plain(ask!(proxy_set_buffer_bytes(kind, start, size, with.as_ptr(), with.len())))
}

pub(crate) fn get_map(map: u32) -> Answer {
    let (status, wire) = bytes(|out, len| ask!(proxy_get_header_map_pairs(map, out, len)));
    let count = wire.and_then(|wire| Some(u32::from_le_bytes(wire.get(..4)?.try_into().ok()?)));
    Answer { status, value: count.map(|count| format!("{count} fields")) }
}

/// The names of a map, as the host spells them.
pub(crate) fn get_names(map: u32) -> Answer {
    let (status, wire) = bytes(|out, len| ask!(proxy_get_header_map_pairs(map, out, len)));
    Answer { status, value: Some(names(&wire.unwrap_or_default()).unwrap_or_default().join(" ")) }
}

fn names(wire: &[u8]) -> Option<Vec<String>> {
    let number = |at: usize| Some(u32::from_le_bytes(wire.get(at..at + 4)?.try_into().ok()?) as usize);
    let mut text = 4 + 8 * number(0)?;
    let mut names = Vec::new();
    for field in 0..number(0)? {
        let (name, value) = (number(4 + 8 * field)?, number(8 + 8 * field)?);
        names.push(String::from_utf8_lossy(wire.get(text..text + name)?).into_owned());
        text += name + value + 2;
    }
    Some(names)
}

/// The wire form of a map: count, pairs of lengths, NUL-ended texts.
fn wire(fields: &[(&str, &str)]) -> Vec<u8> {
    let lengths = fields.iter().flat_map(|(name, value)| [name.len(), value.len()]);
    let mut wire: Vec<u8> =
        std::iter::once(fields.len()).chain(lengths).flat_map(|n| (n as u32).to_le_bytes()).collect();
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        wire.extend_from_slice(text.as_bytes());
        wire.push(0);
    }
    wire
}

pub(crate) fn set_map(map: u32, fields: &[(&str, &str)]) -> Answer {
    let wire = wire(fields);
    plain(ask!(proxy_set_header_map_pairs(map, wire.as_ptr(), wire.len())))
}

pub(crate) fn get_header(map: u32, name: &str) -> Answer {
    quoted(|out, len| ask!(proxy_get_header_map_value(map, name.as_ptr(), name.len(), out, len)))
}

pub(crate) fn remove_header(map: u32, name: &str) -> Answer {
    plain(ask!(proxy_remove_header_map_value(map, name.as_ptr(), name.len())))
}

pub(crate) fn set_header(map: u32, name: &str, value: &str) -> Answer {
    plain(ask!(proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())))
}

pub(crate) fn add_header(map: u32, name: &str, value: &str) -> Answer {
    plain(ask!(proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())))
}

pub(crate) fn get_property(path: &str) -> Answer {
    let path = path.replace('/', "\0");
    quoted(|out, len| ask!(proxy_get_property(path.as_ptr(), path.len(), out, len)))
}

pub(crate) fn set_property(path: &str, value: &str) -> Answer {
    let path = path.replace('/', "\0");
    plain(ask!(proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len())))
}

pub(crate) fn get_shared(key: &str) -> (Answer, Option<Vec<u8>>, u32) {
    let mut cas = 0;
    let cas_at = &raw mut cas;
    let (status, value) = bytes(|out, len| ask!(proxy_get_shared_data(key.as_ptr(), key.len(), out, len, cas_at)));
    let text = value.as_ref().map_or("none".into(), |value| format!("{:?}", String::from_utf8_lossy(value)));
    (Answer { status, value: (status == 0).then_some(text) }, value, cas)
}

pub(crate) fn set_shared(key: &str, value: Option<&str>, cas: u32) -> Answer {
    let (at, len) = value.map_or((NULL, 0), |value| (value.as_ptr(), value.len()));
    plain(ask!(proxy_set_shared_data(key.as_ptr(), key.len(), at, len, cas)))
}

pub(crate) fn register_queue(name: &str) -> Answer {
    with_number(|out| ask!(proxy_register_shared_queue(name.as_ptr(), name.len(), out)))
}

pub(crate) fn enqueue(id: u32, message: &str) -> Answer {
    plain(ask!(proxy_enqueue_shared_queue(id, message.as_ptr(), message.len())))
}

pub(crate) fn dequeue(id: u32) -> Answer {
    quoted(|out, len| ask!(proxy_dequeue_shared_queue(id, out, len)))
}

pub(crate) fn define_metric(kind: u32, name: &str) -> Answer {
    with_number(|out| ask!(proxy_define_metric(kind, name.as_ptr(), name.len(), out)))
}

pub(crate) fn increment_metric(id: u32, by: i64) -> Answer {
    plain(ask!(proxy_increment_metric(id, by)))
}

pub(crate) fn record_metric(id: u32, value: u64) -> Answer {
    plain(ask!(proxy_record_metric(id, value)))
}

pub(crate) fn get_metric(id: u32) -> Answer {
    with_number(|out| ask!(proxy_get_metric(id, out)))
}

pub(crate) fn continue_stream(kind: u32) -> Answer {
    plain(ask!(proxy_continue_stream(kind)))
}

pub(crate) fn close_stream(kind: u32) -> Answer {
    plain(ask!(proxy_close_stream(kind)))
}

pub(crate) fn local_reply(status: u32, body: &str) -> Answer {
    let headers = wire(&[("x-probe", "1")]);
    let (at, len) = (headers.as_ptr(), headers.len());
    plain(ask!(proxy_send_local_response(status, NULL, 0, body.as_ptr(), body.len(), at, len, -1)))
}

pub(crate) fn http_call(upstream: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let headers = wire(fields);
    with_number(|out| {
        let (to, to_len) = (upstream.as_ptr(), upstream.len());
        let (at, len) = (headers.as_ptr(), headers.len());
        ask!(proxy_http_call(to, to_len, at, len, body.as_ptr(), body.len(), NULL, 0, 5000, out))
    })
}

pub(crate) fn foreign_function(name: &str, argument: &[u8]) -> Answer {
    let (at, size) = (argument.as_ptr(), argument.len());
    quoted(|out, len| ask!(proxy_call_foreign_function(name.as_ptr(), name.len(), at, size, out, len)))
}

pub(crate) fn grpc() -> Answer {
    plain(ask!(proxy_grpc_cancel(1)))
}
