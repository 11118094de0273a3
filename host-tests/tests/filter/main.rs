//! The built `weir.wasm` in the test host: each scenario on both gateways.

mod attacks;
mod claims;
mod common;
mod directory;
mod events;
mod identity;
mod limits;
mod protocols;
mod remote;
mod smoke;
mod upgrades;
mod usage;
