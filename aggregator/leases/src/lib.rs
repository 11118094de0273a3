//! The center of fleet-wide limits: divides one bucket among gateways, and never grants more than it holds.
//!
//! [`weir_contract::lease`] states the protocol. This crate keeps the center's half of its invariant and asserts it
//! after every step:
//!
//! > level + Σ what each gateway may still spend + what an unknown gateway may still spend ≤ capacity
//!
//! * [`limit`]: one limit, with its levels, leases and shares. It is one value that a store can keep, so a center in
//!   memory and one in Redis run the same code.
//! * [`center`]: all limits of one process, in memory.
//!
//! There is no clock and no I/O here: time is an argument, in milliseconds, and a limit never lets it go backwards.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod center;
pub mod limit;

pub use center::{Center, Checkpoint};
pub use limit::{Limit, Timing};
