//! What happens to a request.
//!
//! This crate is the whole of weir's judgement and none of its plumbing: it knows no gateway, reads no clock and does no
//! I/O. The plugin hands it what a gateway hands over (a request's head, chunks of bodies, the time), and does what it
//! is told (set these headers, answer this, send that batch).
//!
//! [`request`] is a request's life, in the order in which things happen to it. What it consults on the way:
//!
//! 1. [`head`] reads the request's head once and finds headers that only weir may set;
//! 2. [`identity`] says whose request it is, by the tenants of the [`directory`]; [`fetch`] schedules the calls that keep
//!    tenants and keys fresh;
//!    [`vault`] holds the keys of their own that tenants have at providers;
//! 3. [`shared_operations`] knows the operations on what all tenants of one provider account share;
//! 4. [`classify`] says what kind of request it is;
//! 5. [`body`] reads a JSON body and changes it, [`enforce`] says what the tenant's [`plan`] makes of it;
//! 6. [`limit`] holds the tenant to its plan: token buckets in the gateway's shared data ([`store`]), exact across workers;
//!    of a limit of the whole fleet, [`fleet`] sees to a lease, which it renews in the background;
//! 7. [`routing`] chooses the model that serves it, where the configuration has a catalogue;
//! 8. [`refusal`] answers when any of them says no, in the shape of the [`api`] being called;
//! 9. [`weir_llm_usage`] reads, chunk by chunk, what the provider says was used;
//! 10. [`emit`] numbers the usage event, queues it, and keeps it until the aggregator has acknowledged it.
//!
//! [`upstream`] is another role of the same module: one attempt of a request at one provider.
//!
//! [`policy`] is what a configuration compiles to; its shapes are [`weir_config`]'s. [`worker`] is what one worker VM and one
//! configuration keep between requests. [`glob`] and [`hash`] are tools.
//!
//! The modules form no circle: `scripts/check-layers` fails when they do.
//!
//! Nothing in here panics, whatever bytes come: the lints below deny what could.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod api;
pub mod body;
pub mod classify;
pub mod directory;
pub mod emit;
pub mod enforce;
pub mod fetch;
pub mod flags;
pub mod fleet;
pub mod glob;
pub mod hash;
pub mod head;
pub mod identity;
mod initials;
pub mod limit;
pub mod metering;
pub mod plan;
pub mod policy;
pub mod refusal;
pub mod request;
pub mod routing;
pub mod shared_operations;
pub mod store;
pub mod upstream;
pub mod vault;
pub mod worker;

/// A configuration for those who use this crate: the shapes, and the policy that they compile to.
pub mod config {
    pub use crate::policy::Policy;
    pub use weir_config::routing;
    pub use weir_config::{Config, ConfigError, Environment, ForRole, parse, parse_for_role};
}
