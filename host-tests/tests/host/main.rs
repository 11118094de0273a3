//! The host tested with a guest that does what its configuration says: every quirk, and the harness itself.

mod basics;
mod envoy;
mod harness;
mod kong;
mod probe;
