//! The built `weir.wasm` in the real Envoy, with two workers, between a stand-in provider and a receiver of events.

mod identity;
mod issuer;
mod plans;
mod receiver;
mod routing;
mod spine;
mod trust;
mod upgrades;
mod wire;
