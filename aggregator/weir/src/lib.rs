//! The `weir` binary: the [`cli`], the [`server`] and the [`config`] around the aggregator's layers.
//!
//! An event passes through the layers in this order; each is a crate that knows only those before it:
//!
//! 1. [`server`] takes a batch over HTTP and checks the token; `weir_ledger::intake` splits and validates it;
//! 2. `weir_event_log` appends it and syncs; only then is the batch acknowledged;
//! 3. `weir_ledger` reads the log, counts each event once, and advances its position, all in one transaction;
//! 4. `weir_billing` closes hours that are over, commits a row for each sum, and sends the rows to a provider;
//! 5. `weir_stripe` is the first provider: it accepts rows, returns its sums, and reports errors by webhook.
//!
//! Usage that no request reports, such as storage, arrives as readings, by a route of its own into the same log and
//! ledger. `weir_tenants` serves the tenants file to the gateways.
//!
//! Here are the things that tie them together: [`store`] (the files of a data directory and the lock on it), `kept` (what is beside the ledger),
//! [`reporting`]
//! (a reporter as configured), [`finance`] (answers about revenue and margin), [`lookup`] (single events by their ids), [`leases`]
//! (fleet-wide limits), [`provisioning`] (tenants that come and go), [`cost_events`] (the events behind a sum of costs), [`status`],
//! [`forget`], [`retry`], [`money`], [`budgets`], [`alerts`], [`backup`] and [`metrics`].
#![forbid(unsafe_code)]

pub mod alerts;
pub mod backup;
pub mod budgets;
pub mod cli;
pub mod config;
pub mod cost_events;
pub mod export;
mod figures;
pub mod finance;
mod fleet;
pub mod forget;
pub mod forgotten;
mod home;
mod kept;
pub mod leases;
pub mod lookup;
pub mod metrics;
pub mod models;
pub mod money;
pub mod provisioning;
pub mod reporting;
pub mod retry;
pub mod schema;
pub mod server;
pub mod status;
pub mod store;
mod text;
mod vault;
