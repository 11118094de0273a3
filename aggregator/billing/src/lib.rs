//! Billing: closed windows become rows of the [`outbox`], which go to a provider through the port [`BillingSink`].
//!
//! Stripe, in a crate of its own, is the first sink. The outbox shares the ledger's database and its transactions, so a
//! row commits together with the sum it was made from. [`reconcile`] compares the outbox with the provider's sums;
//! [`explain`] breaks an invoice down into single events.
//!
//! In the outbox, `close` makes a row when an hour is over, `assign` decides whether it is held and why, `held`
//! releases it, and `rows` marks it before it is sent and settles its answer.
#![forbid(unsafe_code)]

pub mod explain;
pub mod outbox;
pub mod pace;
pub mod reconcile;
mod sink;
mod subsets;

pub use sink::{Account, Answer, BillingSink, MeterEvent, ProviderMessage, RequestError, Summary};
