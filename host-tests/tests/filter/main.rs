//! The built `weir.wasm` in the test host: each scenario on both gateways.

mod attacks;
mod budgets;
mod claims;
mod common;
mod dead;
mod directory;
mod emission;
mod endings;
mod events;
mod fields;
mod guard;
mod identity;
mod kong;
mod limits;
mod metering;
mod operations;
mod protocols;
mod redaction;
mod remote;
mod sealed;
mod smoke;
mod spool;
mod streams;
mod upgrades;
mod usage;
