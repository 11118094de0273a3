//! What happens to a request.
//!
//! This crate is the whole of weir's judgement and none of its plumbing: it knows no gateway, reads no clock and does no
//! I/O. The plugin hands it what a gateway hands over (a request's head, chunks of bodies, the time), and does what it
//! is told (set these headers, answer this, send that batch).
//!
//! A request's life, in the order in which things happen to it, is [`request`]. What it consults on the way:
//!
//! 1. [`head`] reads the request's head once and finds headers that only weir may set;
//! 2. [`identity`] says whose request it is: [`directory`] holds the tenants, [`config`] the sources of identity, [`fetch`]
//!    asks others for both; [`shared_operations`] knows what tenants of one provider account would share;
//! 3. [`limit`] holds the tenant to its plan: token buckets in the gateway's shared data, exact across workers;
//! 4. [`classify`] says what kind of request it is;
//! 5. [`body`] reads a JSON body and changes it, [`enforce`] says what the plan makes of it;
//! 6. [`refusal`] answers in the shape of the API being called when any of them says no;
//! 7. [`weir_llm_usage`] reads, chunk by chunk, what the provider says was used;
//! 8. [`emit`] numbers the usage event, queues it, and keeps it until the aggregator has acknowledged it.
//!
//! [`worker`] is what one worker VM has in common between requests.
//!
//! Nothing in here panics, whatever bytes come: the lints below deny what could.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod body;
pub mod classify;
pub mod config;
pub mod directory;
pub mod emit;
pub mod enforce;
pub mod fetch;
pub mod hash;
pub mod head;
pub mod identity;
pub mod limit;
pub mod refusal;
pub mod request;
pub mod shared_operations;
pub mod worker;
