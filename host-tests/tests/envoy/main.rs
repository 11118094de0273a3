//! The built `weir.wasm` in the real Envoy, with two workers, between a stand-in provider and a receiver of events.

mod cloudevents;
mod dead;
mod endings;
mod identity;
mod issuer;
mod plans;
mod receiver;
mod soak;
mod spine;
