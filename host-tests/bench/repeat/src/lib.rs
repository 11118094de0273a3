//! A filter that repeats one call into the gateway a configured number of times, or makes all calls of a small request
//! once.
//! Its configuration is text: `CALL TIMES`.
//!
//! It is written without the SDK, so that nothing but the call is in the loop, and so that an export that is renamed in
//! the binary is a phase that the gateway does not enter. What the gateway hands over is freed, as in any filter.

// Natively there would be two functions of the name `malloc`.
#![cfg(target_arch = "wasm32")]

use std::cell::{Cell, RefCell};
use std::hint::black_box;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
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
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

/// The gateway's kinds: request headers, answer headers; the answer's body, the configuration.
const REQUEST: u32 = 0;
const ANSWER: u32 = 2;
const ANSWER_BODY: u32 = 1;
const CONFIGURATION: u32 = 7;

/// As large as what weir keeps of a tenant with two limits.
const SHARED: [u8; 96] = [7; 96];

/// Where a call is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    RequestHead,
    AnswerHead,
    AnswerBody,
    Log,
    /// In each phase what weir calls there.
    All,
}

/// The repeated call, its phase, and the number of repetitions.
#[derive(Clone, Copy)]
struct Task {
    phase: Phase,
    call: fn(u32),
    times: u32,
    metric: u32,
}

thread_local! {
    static TASK: Cell<Option<Task>> = const { Cell::new(None) };
    static SCRATCH: RefCell<[u8; 64]> = const { RefCell::new([0; 64]) };
}

/// Takes what the gateway hands over, and frees it.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Vec<u8> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    if call(&raw mut data, &raw mut size) != 0 || data.is_null() {
        return Vec::new();
    }
    // SAFETY: the gateway got `data` from `malloc` below, for exactly `size` bytes.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

fn drop_it(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) {
    drop(black_box(take(call)));
}

fn value(map: u32, name: &str) {
    // SAFETY: pointers and sizes are of live values, here and below.
    drop_it(|data, size| unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, size) });
}

fn replace(map: u32, name: &str, value: &str) {
    unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

fn remove(map: u32, name: &str) {
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
}

fn add(map: u32, name: &str, value: &str) {
    unsafe { proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

fn pairs(map: u32) {
    drop_it(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) });
}

fn property(path: &str) {
    drop_it(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) });
}

fn share() {
    unsafe { proxy_set_shared_data(b"bench".as_ptr(), 5, SHARED.as_ptr(), SHARED.len(), 0) };
}

/// Loads, stores, arithmetic and branches, in the proportions of code that reads text.
fn work() {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut hash = 0x811c_9dc5_u32;
        for round in 0..4_u8 {
            for byte in scratch.iter_mut() {
                hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
                *byte = if hash & 1 == 0 { byte.wrapping_add(round) } else { (hash >> 24) as u8 };
            }
        }
        black_box(hash);
    });
}

fn clock() {
    let mut time = 0;
    unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
    black_box(time);
}

fn shared() {
    let mut cas = 0;
    drop_it(|data, size| unsafe { proxy_get_shared_data(b"bench".as_ptr(), 5, data, size, &raw mut cas) });
}

fn body() {
    drop_it(|data, size| unsafe { proxy_get_buffer_bytes(ANSWER_BODY, 0, 1 << 20, data, size) });
}

/// Weir's calls for a small request with a key: fourteen.
fn as_weir(phase: Phase, metric: u32) {
    match phase {
        Phase::RequestHead => {
            pairs(REQUEST);
            clock();
            shared();
            share();
            unsafe { proxy_increment_metric(metric, 1) };
            remove(REQUEST, "authorization");
            replace(REQUEST, "x-tenant-id", "acme");
            replace(REQUEST, "x-tenant-plan", "pro");
            replace(REQUEST, "x-request-class", "other");
        }
        Phase::AnswerHead => pairs(ANSWER),
        Phase::AnswerBody => {
            body();
            clock();
        }
        Phase::Log => {
            clock();
            share();
        }
        Phase::All => {}
    }
}

fn find(name: &str) -> Option<(Phase, fn(u32))> {
    use Phase::{All, AnswerBody, AnswerHead, RequestHead};
    Some(match name {
        "nothing" => (RequestHead, |_| {}),
        "pairs" => (RequestHead, |_| pairs(REQUEST)),
        "value" => (RequestHead, |_| value(REQUEST, "authorization")),
        "value-short" => (RequestHead, |_| value(REQUEST, ":method")),
        "value-absent" => (RequestHead, |_| value(REQUEST, "x-absent")),
        "replace" => (RequestHead, |_| replace(REQUEST, "x-tenant-id", "acme")),
        "add-remove" => (RequestHead, |_| {
            add(REQUEST, "x-added", "value");
            remove(REQUEST, "x-added");
        }),
        "remove-absent" => (RequestHead, |_| remove(REQUEST, "x-absent")),
        "answer-pairs" => (AnswerHead, |_| pairs(ANSWER)),
        "answer-value" => (AnswerHead, |_| value(ANSWER, "content-type")),
        "answer-replace" => (AnswerHead, |_| replace(ANSWER, "ratelimit", "\"requests\";r=999999;t=1")),
        "answer-body" => (AnswerBody, |_| body()),
        "shared-get" => (RequestHead, |_| shared()),
        "shared-set" => (RequestHead, |_| share()),
        "clock" => (RequestHead, |_| clock()),
        "all-of-weir" => (All, |_| {}),
        "increment" => (RequestHead, |metric| {
            unsafe { proxy_increment_metric(metric, 1) };
        }),
        "record" => (RequestHead, |metric| {
            unsafe { proxy_record_metric(metric, 1) };
        }),
        "property" => (RequestHead, |_| property("xds\0route_name")),
        "property-absent" => (RequestHead, |_| property("xds\0route_metadata\0filter_metadata\0weir\0route")),
        "set-property" => (RequestHead, |_| {
            unsafe { proxy_set_property(b"bench".as_ptr(), 5, SHARED.as_ptr(), SHARED.len()) };
        }),
        "allocate" => (RequestHead, |_| drop(black_box(Vec::<u8>::with_capacity(black_box(100))))),
        "work" => (RequestHead, |_| work()),
        _ => return None,
    })
}

fn run(phase: Phase) {
    match TASK.get() {
        Some(task) if task.phase == phase => (0..task.times).for_each(|_| (task.call)(task.metric)),
        Some(task) if task.phase == Phase::All => as_weir(phase, task.metric),
        _ => {}
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    let mut bytes = Vec::<u8>::with_capacity(size);
    let data = bytes.as_mut_ptr();
    std::mem::forget(bytes);
    data
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _size: usize) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_root: u32, size: usize) -> u32 {
    let text = take(|data, out| unsafe { proxy_get_buffer_bytes(CONFIGURATION, 0, size, data, out) });
    let text = String::from_utf8_lossy(&text);
    let Some((name, times)) = text.split_once(' ') else { return 0 };
    let (Some((phase, call)), Ok(times)) = (find(name), times.parse()) else { return 0 };
    let mut metric = 0;
    unsafe { proxy_define_metric(u32::from(name == "record"), b"bench".as_ptr(), 5, &raw mut metric) };
    share();
    TASK.set(Some(Task { phase, call, times, metric }));
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_context: u32, _parent: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: usize, _ends: u32) -> u32 {
    run(Phase::RequestHead);
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_context: u32, _count: usize, _ends: u32) -> u32 {
    run(Phase::AnswerHead);
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(_context: u32, _size: usize, _ends: u32) -> u32 {
    run(Phase::AnswerBody);
    0
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(_context: u32) {
    run(Phase::Log);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(_context: u32) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(_context: u32) {}
