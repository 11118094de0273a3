//! A proxy-wasm 0.2.1 host on wasmtime for testing filters, and a harness in which a test reads as a sentence.
//!
//! Real gateways differ from the specification and from each other. This host reproduces what Envoy and Kong were
//! observed to do, each behaviour as a named [`host::Quirk`], so that a filter meets them in a unit test: what traps,
//! what hangs, what is empty in which phase.
//!
//! [`scenario`] is where a test starts; [`host`] is the machine below it.

pub mod host;
pub mod scenario;
