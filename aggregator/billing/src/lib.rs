//! What is billed: windows that are over become rows of the [`outbox`], and the rows go to a provider through the port
//! [`BillingSink`].
//!
//! Stripe is the first sink, in a crate of its own. The outbox shares the ledger's database and its transactions: a row and the
//! sum it was made from are written together. [`reconcile`] compares what the provider says it has, and [`explain`] goes from an
//! invoice back to single events.
#![forbid(unsafe_code)]

pub mod explain;
pub mod outbox;
pub mod pace;
pub mod reconcile;
mod sink;
mod subsets;

pub use sink::{Account, Answer, AskError, BillingSink, MeterEvent, ProviderMessage, Summary};
