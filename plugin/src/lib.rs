//! `weir.wasm`: the shell that runs [`weir_filter`] inside a gateway.
//!
//! The gateway calls the contexts in here; they copy what the filter needs out of the gateway, ask the filter, and do
//! what it says. Nothing is decided here.
//!
//! * [`host`]: every call into the gateway, and what its failure means;
//! * [`gateway`]: which gateway runs this, and what it can hand over;
//! * [`calls`]: calls to other servers, and their answers;
//! * [`vm`]: what one worker VM has in common: its events and its metrics;
//! * [`root`]: one configuration: reading it, ticking, sending batches;
//! * [`http`]: one request;
//! * [`attempt`]: one attempt of a request at one provider, in the role `upstream`.
//!
//! The allocator is [`weir_memory`].
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

mod attempt;
mod calls;
mod gateway;
mod host;
mod http;
mod metrics;
mod root;
mod vm;

#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
#[global_allocator]
static MEMORY: weir_memory::Recycling<std::alloc::System> = weir_memory::Recycling::new(std::alloc::System);

proxy_wasm::main! {{
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(root::Root::default()));
}}
