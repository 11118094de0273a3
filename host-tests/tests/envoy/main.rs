//! The built `weir.wasm` in the real Envoy, with two workers, between a stand-in provider and a receiver of events.

mod bodies;
mod edge;
mod hammer;
mod identity;
mod issuer;
mod limits;
mod mortal;
mod plans;
mod receiver;
mod spine;
