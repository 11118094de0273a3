//! The hostcalls that the guest imports. Each is implemented in the module of its theme; this one counts them and turns
//! their outcome into a number or a trap.

mod buffers;
mod calls;
mod environment;
mod foreign;
mod grpc;
mod maps;
mod properties;
mod runtime;
mod sharing;
mod streams;

use wasmtime::{Caller, Linker};

use super::state::HostState;
use super::{Guest, Hostcall, Refusal};
use crate::host::abi::Status;
use crate::host::chaos::Strike;

/// Links hostcalls of one module by name, all arguments `u32`.
macro_rules! hostcalls {
    ($linker:ident, { $($name:literal ($($arg:ident),*) => $function:path;)* }) => {
        $(
            $linker.func_wrap(
                "env",
                $name,
                |mut caller: Caller<'_, HostState> $(, $arg: u32)*| -> wasmtime::Result<u32> {
                    run(&mut caller, $name, |guest| $function(guest $(, $arg)*))
                },
            )?;
        )*
    };
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    hostcalls!(linker, {
        "proxy_log" (level, at, len) => runtime::log;
        "proxy_get_log_level" (out) => runtime::get_log_level;
        "proxy_get_current_time_nanoseconds" (out) => runtime::get_current_time;
        "proxy_set_tick_period_milliseconds" (period) => runtime::set_tick_period;
        "proxy_set_effective_context" (context) => runtime::set_effective_context;
        "proxy_done" () => runtime::done;
        "proxy_get_buffer_bytes" (kind, start, max, out, out_len) => buffers::get;
        "proxy_set_buffer_bytes" (kind, start, size, at, len) => buffers::set;
        "proxy_get_header_map_pairs" (map, out, out_len) => maps::get_pairs;
        "proxy_set_header_map_pairs" (map, at, len) => maps::set_pairs;
        "proxy_get_header_map_value" (map, at, len, out, out_len) => maps::get_value;
        "proxy_remove_header_map_value" (map, at, len) => maps::remove_value;
        "proxy_replace_header_map_value" (map, at, len, value, value_len) => maps::replace_value;
        "proxy_add_header_map_value" (map, at, len, value, value_len) => maps::add_value;
        "proxy_get_property" (at, len, out, out_len) => properties::get;
        "proxy_set_property" (at, len, value, value_len) => properties::set;
        "proxy_get_shared_data" (at, len, out, out_len, cas) => sharing::get_data;
        "proxy_set_shared_data" (at, len, value, value_len, cas) => sharing::set_data;
        "proxy_register_shared_queue" (at, len, out) => sharing::register_queue;
        "proxy_resolve_shared_queue" (vm, vm_len, at, len, out) => sharing::resolve_queue;
        "proxy_dequeue_shared_queue" (id, out, out_len) => sharing::dequeue;
        "proxy_enqueue_shared_queue" (id, at, len) => sharing::enqueue;
        "proxy_define_metric" (kind, at, len, out) => sharing::define_metric;
        "proxy_get_metric" (id, out) => sharing::get_metric;
        "proxy_continue_stream" (kind) => streams::continue_stream;
        "proxy_close_stream" (kind) => streams::close_stream;
        "proxy_send_local_response" (status, details, details_len, body, body_len, headers, headers_len, grpc) =>
            streams::send_local_response;
        "proxy_http_call" (to, to_len, headers, headers_len, body, body_len, trailers, trailers_len, timeout, out) =>
            calls::http_call;
        "proxy_call_foreign_function" (name, name_len, at, len, out, out_len) => foreign::call;
    });
    grpc::link(linker)?;
    link_wide(linker)
}

/// Links the calls with 64-bit arguments, and those that are not part of proxy-wasm.
fn link_wide(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_record_metric", |mut caller: Caller<'_, HostState>, id: u32, value: u64| {
        run(&mut caller, "proxy_record_metric", |guest| sharing::record_metric(guest, id, value))
    })?;
    linker.func_wrap("env", "proxy_increment_metric", |mut caller: Caller<'_, HostState>, id: u32, by: i64| {
        run(&mut caller, "proxy_increment_metric", |guest| sharing::increment_metric(guest, id, by))
    })?;
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(wasi, "random_get", |mut caller: Caller<'_, HostState>, at: u32, length: u32| {
        run(&mut caller, "random_get", |guest| runtime::random_get(guest, at, length))
    })?;
    linker.func_wrap(wasi, "environ_sizes_get", |mut caller: Caller<'_, HostState>, count: u32, size: u32| {
        run(&mut caller, "environ_sizes_get", |guest| environment::sizes(guest, count, size))
    })?;
    linker.func_wrap(wasi, "environ_get", |mut caller: Caller<'_, HostState>, variables: u32, texts: u32| {
        run(&mut caller, "environ_get", |guest| environment::get(guest, variables, texts))
    })?;
    Ok(())
}

fn run(
    caller: &mut Caller<'_, HostState>,
    name: &'static str,
    work: impl FnOnce(&mut Guest<'_, '_>) -> Hostcall,
) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    *state.hostcalls.entry(name).or_default() += 1;
    let strike = state.chaos.as_mut().and_then(|chaos| chaos.strike(name));
    if let Some(Strike::Fails(code)) = strike {
        return Ok(code);
    }
    match work(&mut Guest::new(caller, strike.is_some())) {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Refusal::Status(status)) => Ok(status as u32),
        Err(Refusal::Trap(why)) => Err(wasmtime::Error::msg(format!("{name}: {why}"))),
    }
}
