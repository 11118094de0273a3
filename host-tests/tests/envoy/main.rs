//! The built `weir.wasm` in the real Envoy, with two workers, between a stand-in provider and a receiver of events.

mod bodies;
mod cloudevents;
mod dead;
mod edge;
mod endings;
mod gateways;
mod hammer;
mod identity;
mod issuer;
mod kong_sidecar;
mod limits;
mod manifests;
mod mortal;
mod plans;
mod prometheus;
mod protocols;
mod receiver;
mod routing;
mod soak;
mod spine;
mod tls;
mod trust;
mod tunnels;
mod upgrades;
mod vector;
mod wire;
