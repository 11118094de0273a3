//! All calls into the gateway (proxy-wasm ABI 0.2.1), and how each handles failure.
//!
//! The SDK's own wrappers panic on an unexpected status, and turn an unknown status into an invalid enum; a panic ends
//! the VM and every request in it. So this module declares the functions again, with the status as a plain number, and
//! each wrapper documents its fallback. Only [`dispatch`] goes through the SDK, because only the SDK can note which
//! context waits for the answer.
use std::cell::Cell;
use std::time::Duration;

use proxy_wasm::hostcalls;
use weir_contract::Timestamp;
use weir_filter::head::Pair;
use weir_filter::identity::key::check::Signed;
use weir_filter::refusal::LocalReply;
use weir_filter::store::{Read, Store, Write};

mod environment;
mod signature;

pub(crate) use environment::environment;

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, size: usize, data: *const u8, data_size: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, cas: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_done() -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(buffer: *mut u8, size: usize) -> u32;
    fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u32;
    fn environ_get(variables: *mut *mut u8, texts: *mut u8) -> u32;
}

/// The level of a log line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// The header maps that weir uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeaderMap {
    Request = 0,
    Response = 2,
    ResponseTrailers = 3,
    CallResponse = 6,
}

/// The buffers that weir uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    CallResponseBody = 4,
    Configuration = 7,
}

/// The kinds of metric that weir uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// A metric of the gateway. None if the gateway refused to define it; nothing is counted then.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metric(Option<u32>);

/// Bytes that the gateway wrote into this module's memory, allocated with the `malloc` that the SDK exports.
struct Returned {
    data: *mut u8,
    size: usize,
}

impl Returned {
    const NOTHING: Returned = Returned { data: std::ptr::null_mut(), size: 0 };

    fn into_vec(self) -> Vec<u8> {
        if self.data.is_null() || self.size == 0 {
            return Vec::new();
        }
        // SAFETY: the gateway got `data` from the SDK's `malloc`, a boxed slice of exactly `size` bytes of alignment 1,
        // has filled it, and has given it away.
        unsafe { Vec::from_raw_parts(self.data, self.size, self.size) }
    }
}

/// Writes a line to the gateway's log. A failure is ignored, because there is no other place to report it.
pub(crate) fn log(level: Level, message: &str) {
    // SAFETY: pointer and size are of one string.
    let _unheard = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

thread_local! {
    static LAST_TIME: Cell<u64> = const { Cell::new(0) };
}

/// The gateway's clock. If it fails, returns the last known time: limits then refill later, and nothing else depends on
/// it.
pub(crate) fn now() -> Timestamp {
    let known = LAST_TIME.get();
    if let Some(nanos) = read_clock() {
        // A time that jumps is accepted only if a second reading confirms it: a wrong time would block everything that
        // waits for it.
        let leaps = known != 0 && nanos.abs_diff(known) > LEAP_NS;
        if !leaps || read_clock().is_some_and(|again| again.abs_diff(nanos) <= LEAP_NS) {
            LAST_TIME.set(nanos);
        }
    }
    Timestamp::from_millis(LAST_TIME.get() / 1_000_000)
}

/// The largest difference between two readings that needs no confirmation, in nanoseconds: a minute without requests or
/// ticks.
const LEAP_NS: u64 = 60_000_000_000;

fn read_clock() -> Option<u64> {
    let mut nanos = 0;
    // SAFETY: the pointer is valid for the write of one u64.
    let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut nanos) };
    (status == OK).then_some(nanos)
}

/// Nanoseconds of the gateway's clock, to mix into randomness.
pub(crate) fn nanos() -> u64 {
    now();
    LAST_TIME.get()
}

/// Asks for a tick every `period_ms`. Returns false if refused: then no events leave, and the caller reports it.
pub(crate) fn tick_every(period_ms: u32) -> bool {
    // SAFETY: no pointers.
    unsafe { proxy_set_tick_period_milliseconds(period_ms) == OK }
}

/// Up to `max` bytes from the start of a buffer. None if there is no buffer, or the gateway refuses to show it.
pub(crate) fn buffer(kind: Buffer, max: usize) -> Option<Vec<u8>> {
    let mut out = Returned::NOTHING;
    // SAFETY: both out-pointers are valid for writes.
    let status = unsafe { proxy_get_buffer_bytes(kind as u32, 0, max, &raw mut out.data, &raw mut out.size) };
    (status == OK).then(|| out.into_vec())
}

/// Replaces the first `size` bytes of a buffer by `data`. Returns false if refused; the buffer is then unchanged.
pub(crate) fn set_buffer(kind: Buffer, size: usize, data: &[u8]) -> bool {
    // Kong cuts the data to `size`, and puts it in front if `size` is 0. Envoy replaces everything if `size` is at
    // least the buffer's.
    let size = size.max(data.len());
    // SAFETY: pointer and size are of one slice.
    unsafe { proxy_set_buffer_bytes(kind as u32, 0, size, data.as_ptr(), data.len()) == OK }
}

/// A copy of a header map.
#[derive(Debug)]
pub(crate) struct Headers(Vec<u8>);

/// All headers of a map in one call. Empty if refused.
pub(crate) fn headers(map: HeaderMap) -> Headers {
    let mut out = Returned::NOTHING;
    // SAFETY: both out-pointers are valid for writes.
    let status = unsafe { proxy_get_header_map_pairs(map as u32, &raw mut out.data, &raw mut out.size) };
    Headers(if status == OK { out.into_vec() } else { Vec::new() })
}

impl Headers {
    /// The pairs, borrowed. Stops at the first violation of the ABI's form (count, sizes, then names and values, each
    /// ended by a zero byte), and leaves out the rest.
    pub(crate) fn pairs(&self) -> Vec<Pair<'_>> {
        let mut pairs = Vec::new();
        self.read(&mut pairs);
        pairs
    }

    fn read<'a>(&'a self, pairs: &mut Vec<Pair<'a>>) -> Option<()> {
        let (count, rest) = read_u32(&self.0)?;
        let (mut sizes, mut data) = rest.split_at_checked(count.checked_mul(8)?)?;
        pairs.reserve_exact(count);
        while !sizes.is_empty() {
            let (name_size, rest) = read_u32(sizes)?;
            let (value_size, rest) = read_u32(rest)?;
            let (name, tail) = read_text(data, name_size)?;
            let (value, tail) = read_text(tail, value_size)?;
            pairs.push((name, value));
            (sizes, data) = (rest, tail);
        }
        Some(())
    }
}

fn read_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn read_text(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(size)?;
    Some((text, rest.get(1..)?))
}

/// Encodes pairs in the form that [`Headers::pairs`] reads.
fn encode<'a>(pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone) -> Vec<u8> {
    let size = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(512);
    bytes.extend(u32::try_from(pairs.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, value) in pairs.clone() {
        bytes.extend(size(name));
        bytes.extend(size(value));
    }
    for text in pairs.flat_map(|(name, value)| [name, value]) {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Sets a request header, replacing one of that name. Returns false if refused: the request must not continue without
/// it.
pub(crate) fn set_request_header(name: &str, value: &str) -> bool {
    set_header(HeaderMap::Request, name, value)
}

/// Sets a response header, replacing one of that name. Returns false if refused; the headers are then unchanged.
pub(crate) fn set_response_header(name: &str, value: &str) -> bool {
    set_header(HeaderMap::Response, name, value)
}

/// Removes a response header. Returns false if refused; the header then stays.
pub(crate) fn remove_response_header(name: &str) -> bool {
    // SAFETY: pointer and size are of one string.
    unsafe { proxy_remove_header_map_value(HeaderMap::Response as u32, name.as_ptr(), name.len()) == OK }
}

fn set_header(map: HeaderMap, name: &str, value: &str) -> bool {
    let map = map as u32;
    // SAFETY: pointers and sizes are of two strings.
    let status = unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    status == OK
}

/// Removes all request headers of a name. Returns false if refused: the request must not continue with them.
///
/// Kong does not pass a removal on to the upstream, and adds a copy if a removed header is set again. So there the
/// header is reduced to one field and emptied first.
pub(crate) fn remove_request_header(name: &str, is_kong: bool) -> bool {
    if is_kong {
        return set_request_header(name, "");
    }
    // SAFETY: pointer and size are of one string.
    let status = unsafe { proxy_remove_header_map_value(HeaderMap::Request as u32, name.as_ptr(), name.len()) };
    matches!(status, OK | NOT_FOUND)
}

/// A property of the gateway, by its path; None if it does not exist.
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    let mut out = Returned::NOTHING;
    // SAFETY: pointer and size are of one string, both out-pointers are valid for writes.
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut out.data, &raw mut out.size) };
    (status == OK).then(|| out.into_vec())
}

/// Stores a value under a name for the gateway's access log. Returns false if refused, as on Kong, which accepts only
/// its own names.
pub(crate) fn set_property(name: &str, value: &[u8]) -> bool {
    // SAFETY: pointers and sizes are of one string and one slice.
    unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) == OK }
}

/// Answers the request. Returns false if refused: the caller then holds the request instead of passing it.
pub(crate) fn respond(reply: &LocalReply, details: &str) -> bool {
    let headers = encode(reply.headers.iter().map(|(name, value)| (*name, value.as_str())));
    // SAFETY: each pointer and size are of one string or slice.
    let status = unsafe {
        proxy_send_local_response(
            u32::from(reply.status),
            details.as_ptr(),
            details.len(),
            reply.body.as_ptr(),
            reply.body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    };
    status == OK
}

/// The gateway's shared data: one map for all workers.
#[derive(Debug)]
pub(crate) struct SharedData;

impl Store for SharedData {
    fn read(&mut self, key: &str) -> Read {
        let mut out = Returned::NOTHING;
        let mut cas = 0;
        // SAFETY: pointer and size are of one string, the out-pointers are valid for writes.
        let status = unsafe {
            proxy_get_shared_data(key.as_ptr(), key.len(), &raw mut out.data, &raw mut out.size, &raw mut cas)
        };
        match status {
            // Envoy: a removed key stays, empty.
            OK => match out.into_vec() {
                empty if empty.is_empty() && cas == 0 => Read::Missing,
                value => Read::Found(value, cas),
            },
            NOT_FOUND => Read::Missing,
            _ => Read::Failed,
        }
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        // SAFETY: pointers and sizes are of one string and one slice.
        let status = unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) };
        match status {
            OK => Write::Written,
            CAS_MISMATCH => Write::Mismatch,
            _ => Write::Failed,
        }
    }
}

/// Defines a metric, or finds the existing one of that name.
pub(crate) fn define(kind: MetricKind, name: &str) -> Metric {
    let mut id = 0;
    // SAFETY: pointer and size are of one string, the out-pointer is valid for a write.
    let status = unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) };
    Metric((status == OK).then_some(id))
}

impl Metric {
    /// Adds to the metric. Ignores a refusal: metrics are no reason to stop.
    pub(crate) fn add(self, offset: i64) {
        if let Some(id) = self.0 {
            // SAFETY: no pointers.
            let _untold = unsafe { proxy_increment_metric(id, offset) };
        }
    }
}

impl Metric {
    /// The metric's value; 0 if the gateway does not return it.
    pub(crate) fn value(self) -> u64 {
        let Some(id) = self.0 else { return 0 };
        let mut value = 0;
        // SAFETY: the pointer is valid for the write of one u64.
        let status = unsafe { proxy_get_metric(id, &raw mut value) };
        if status == OK { value } else { 0 }
    }

    /// Sets the metric. Every VM sets the same gauge, and the latest value wins.
    pub(crate) fn set(self, value: u64) {
        if let Some(id) = self.0 {
            // SAFETY: no pointers.
            let _untold = unsafe { proxy_record_metric(id, value) };
        }
    }
}

/// Returns true in Envoy: only Envoy has a node id. Foreign functions may be called only there; in Kong such a call
/// ends the VM.
pub(crate) fn is_envoy() -> bool {
    property(&["xds", "node", "id"]).is_some()
}

/// Verifies a signature with Envoy's own cryptography, some 80 times faster than in WebAssembly. None if Envoy lacks
/// it. Call it only if [`is_envoy`].
pub(crate) fn verify_signature(signed: &Signed<'_>) -> Option<bool> {
    const NAME: &str = "verify_signature";
    let argument = signature::question(signed);
    let mut out = Returned::NOTHING;
    // SAFETY: pointers and sizes are of one string and one slice, both out-pointers are valid for writes.
    let status = unsafe {
        proxy_call_foreign_function(
            NAME.as_ptr(),
            NAME.len(),
            argument.as_ptr(),
            argument.len(),
            &raw mut out.data,
            &raw mut out.size,
        )
    };
    (status == OK).then(|| signature::says_yes(&out.into_vec()))
}

/// Lets a held request go on. If the gateway refuses, the request waits until it times out: it is not let through unseen.
pub(crate) fn continue_request() {
    const REQUEST: u32 = 0;
    // SAFETY: no pointers.
    let _held = unsafe { proxy_continue_stream(REQUEST) };
}

/// Resets an answer, on Envoy only: Kong ends a VM that asks for it. If refused, the client waits for the rest until it times out.
pub(crate) fn reset_response() {
    const RESPONSE: u32 = 1;
    // SAFETY: no pointers.
    let _waits = unsafe { proxy_close_stream(RESPONSE) };
}

/// Sends a call; ticks use it, and on Envoy requests that are held. None if it cannot be sent now.
pub(crate) fn dispatch(
    cluster: &str,
    headers: Vec<(&str, &str)>,
    body: Option<&[u8]>,
    timeout: Duration,
) -> Option<u32> {
    hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout).ok()
}

/// Reports that a root context which deferred its end is done.
pub(crate) fn done() {
    // SAFETY: no pointers.
    let _gone = unsafe { proxy_done() };
}

/// 32 random bytes. Kong's source is weak, and a host may have none, so time and an address that differs by VM are
/// mixed in.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0_u8; 32];
    // SAFETY: pointer and size are of one array.
    let _weak = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
    let mut mixed = nanos() ^ counter().rotate_left(32);
    for byte in &mut bytes {
        mixed = mixed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        *byte ^= (mixed >> 56) as u8;
    }
    bytes
}

/// A number that no other VM of this process receives, from the shared data; 0 if the shared data fails.
fn counter() -> u64 {
    const KEY: &str = "weir/vm/1";
    // To create a key, Envoy needs a generation other than 0, and Kong needs 0.
    for attempt in 0..64 {
        let (last, cas) = match SharedData.read(KEY) {
            Read::Found(value, cas) => (value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)), cas),
            Read::Missing if attempt % 2 == 0 => (0, u32::MAX),
            Read::Missing => (0, 0),
            Read::Failed => return 0,
        };
        if SharedData.write(KEY, &(last + 1).to_le_bytes(), cas) == Write::Written {
            return last + 1;
        }
    }
    0
}
