//! Plans in the built `weir.wasm`: what they allow, what they change, and how one would try to get past them. Each
//! scenario runs on both gateways.

mod attacks;
mod common;
mod limits;
mod rules;
