//! A proxy-wasm guest that does what its configuration says and logs what the host answered.
//!
//! It speaks the ABI itself, without an SDK: SDKs hide status codes and panic on those they do not expect, and the
//! status codes are what the host's tests are about. A configuration is a script, one line per callback:
//!
//! ```text
//! request_headers: get_header request :path; pause
//! request_body: set_body request hello; pause_until_end
//! ```
//!
//! Every action is logged as `request_headers: get_header request :path -> Ok "/v1"`, every callback as
//! `request_body(5, true)`. The module is empty on other targets than wasm32.

#![cfg(target_arch = "wasm32")]

mod abi;
mod actions;
mod script;

use std::cell::RefCell;
use std::collections::BTreeMap;

use script::{Run, Script, Verdict};

/// The host's result for a pause.
const PAUSE: u32 = 1;

#[derive(Default)]
struct Guest {
    scripts: BTreeMap<u32, Script>,
    root_of: BTreeMap<u32, u32>,
}

thread_local! {
    static GUEST: RefCell<Guest> = RefCell::default();
}

/// Runs the actions of a callback and says what they decided.
fn run(phase: &'static str, context: u32, args: &str, end_of_stream: bool) -> Verdict {
    abi::log(abi::DEBUG, &format!("{phase}({args})"));
    let (root, script) = GUEST.with_borrow(|guest| {
        let root = guest.root_of.get(&context).copied().unwrap_or(context);
        (root, guest.scripts.get(&root).cloned().unwrap_or_default())
    });
    let streams = GUEST.with_borrow(|guest| guest.root_of.keys().copied().collect());
    Run { phase, root, end_of_stream, streams }.all(script.actions(phase))
}

fn stream(phase: &'static str, context: u32, args: &str, end_of_stream: bool) -> u32 {
    match run(phase, context, args, end_of_stream) {
        Verdict::Pause => PAUSE,
        Verdict::Continue | Verdict::False => 0,
    }
}

fn decision(phase: &'static str, context: u32) -> u32 {
    u32::from(run(phase, context, "", false) != Verdict::False)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    Box::leak(vec![0; size].into_boxed_slice()).as_mut_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    if root != 0 {
        GUEST.with_borrow_mut(|guest| guest.root_of.insert(context, root));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(context: u32, _size: usize) -> u32 {
    decision("vm_start", context)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, size: usize) -> u32 {
    let script = Script::parse(&String::from_utf8_lossy(&abi::plugin_configuration(size)));
    GUEST.with_borrow_mut(|guest| guest.scripts.insert(context, script));
    decision("configure", context)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    run("tick", context, "", false);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(context: u32, queue: u32) {
    run("queue_ready", context, &queue.to_string(), false);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(context: u32, _token: u32, headers: u32, body: u32, trailers: u32) {
    run("call_response", context, &format!("{headers}, {body}, {trailers}"), false);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, headers: u32, end: u32) -> u32 {
    stream("request_headers", context, &format!("{headers}, {}", end != 0), end != 0)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: u32, end: u32) -> u32 {
    stream("request_body", context, &format!("{size}, {}", end != 0), end != 0)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, trailers: u32) -> u32 {
    stream("request_trailers", context, &trailers.to_string(), true)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _headers: u32, end: u32) -> u32 {
    stream("response_headers", context, &(end != 0).to_string(), end != 0)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: u32, end: u32) -> u32 {
    stream("response_body", context, &format!("{size}, {}", end != 0), end != 0)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, trailers: u32) -> u32 {
    stream("response_trailers", context, &trailers.to_string(), true)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    run("log", context, "", false);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    decision("done", context)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    run("delete", context, "", false);
    GUEST.with_borrow_mut(|guest| {
        guest.root_of.remove(&context);
        guest.scripts.remove(&context);
    });
}
