//! The built `weir.wasm` in the test host: each scenario on both gateways.

mod attacks;
mod common;
mod dead;
mod emission;
mod endings;
mod events;
mod fields;
mod identity;
mod limits;
mod remote;
mod smoke;
mod spool;
mod streams;
mod usage;
