//! Plans in the built `weir.wasm`: what they allow, what they change, and how one would try to get past them. Each
//! scenario runs on both gateways.

mod attacks;
mod buckets;
mod caps;
#[allow(dead_code, reason = "the simulation of fleets uses all of it")]
#[path = "../../../filter/tests/leases/center.rs"]
mod center;
mod classes;
mod common;
mod exact;
mod fleet;
mod forms;
mod hard;
mod limits;
mod observe;
mod paths;
mod pool;
mod rules;
mod sizes;
