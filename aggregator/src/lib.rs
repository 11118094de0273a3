//! The aggregator: what `weir serve` and the other commands are made of.
//!
//! An event passes through these modules in this order:
//!
//! 1. [`server`] takes a batch over HTTP, checks the token, splits and judges it ([`intake`], [`accept`]);
//! 2. [`log`] appends it and syncs; only then is the batch acknowledged;
//! 3. [`ledger`] reads the log, counts each event once ([`meters`] says what it counts for), and moves its position on, all
//!    in one transaction;
//! 4. [`outbox`] closes hours that are over, commits a row for each sum, and sends the rows through a
//!    [`billing::BillingSink`], of which [`stripe`] is the first;
//! 5. [`reconcile`] compares what the provider says it has, [`explain`] goes from an invoice back to the events, and
//!    [`webhook`] takes what the provider tells by itself.
//!
//! What no request says, such as storage, comes in as a [`reading`], by a path of its own into the same log and ledger.
//!
//! Around them: [`config`] (one YAML file), [`directory`] (tenants, as the gateways poll them), [`store`] (the files of a
//! data directory and the lock on it), [`metrics`], [`clock`] (the only place that knows what time it is), and [`cli`].
#![forbid(unsafe_code)]

pub mod api;
pub mod backup;
pub mod billing;
pub mod cli;
pub mod clock;
pub mod config;
pub mod directory;
pub mod explain;
pub mod forget;
pub mod intake;
pub mod ledger;
pub mod log;
mod mask;
pub mod meters;
pub mod metrics;
pub mod outbox;
pub mod reading;
pub mod reconcile;
pub mod schema;
pub mod server;
#[cfg(test)]
mod sim;
pub mod store;
pub mod stripe;
pub mod validate;
pub mod webhook;
pub mod yaml;
