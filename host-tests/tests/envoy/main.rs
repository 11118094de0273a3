//! The built `weir.wasm` in the real Envoy, with two workers, between a stand-in provider and a receiver of events.

mod bodies;
mod edge;
mod gateways;
mod hammer;
mod identity;
mod issuer;
mod limits;
mod manifests;
mod mortal;
mod plans;
mod protocols;
mod receiver;
mod routing;
mod spine;
mod trust;
mod upgrades;
mod wire;
