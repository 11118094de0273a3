//! The built `weir.wasm` in the real Envoy, with two workers, between a stand-in provider and a receiver of events.

mod gateways;
mod identity;
mod issuer;
mod manifests;
mod plans;
mod protocols;
mod receiver;
mod spine;
