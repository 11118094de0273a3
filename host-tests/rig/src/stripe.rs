//! A stand-in for Stripe, as far as meters and prices are concerned.
//!
//! [`Stripe`] is a pure state machine: it takes the time and a request and says what happens, so that a simulator can
//! drive it through years in milliseconds. [`StripeServer`] puts it on a TCP port. It keeps the documented contract of the
//! version named by [`API_VERSION`]: form encoding, required fields and limits, error shapes, `request-id`, identifiers
//! unique for 24 hours, `Idempotency-Key` replay of 5xx too, one call at a time per customer and meter, rate limits,
//! summaries by window, sessions and streams of v2, asynchronous errors as signed thin events. And it misbehaves on
//! demand ([`Fault`]).
//!
//! What Stripe does not document is chosen here and said where it is: that is a stand-in's guess, not a fact.

mod auth;
mod call;
mod customers;
mod error;
mod fault;
mod idempotency;
mod limits;
mod machine;
mod meter_events;
mod meters;
mod prices;
mod server;
mod subscriptions;
mod summaries;
mod v2;
mod webhook;

pub use customers::Customer;
pub use fault::{Fault, Foreign};
pub use limits::Limits;
pub use machine::{Begun, Outcome, Stripe};
pub use meter_events::{MeterEvent, MeterEventState};
pub use prices::{Price, PriceTier, Scheme};
pub use server::{Clock, StripeServer};
pub use subscriptions::{Subscription, SubscriptionItem};
pub use webhook::{Delivery, sign};

/// The API version whose documentation this stand-in follows.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The account that the stand-in is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// `acct_…`
    pub id: String,
    /// Whether its keys are live keys; otherwise they are of a sandbox.
    pub livemode: bool,
    /// The key that calls must carry.
    pub secret_key: String,
    /// The secret that webhooks are signed with (`whsec_…`).
    pub webhook_secret: String,
}

impl Account {
    /// A sandbox account with made-up keys.
    #[must_use]
    pub fn sandbox() -> Self {
        Self::with_mode(false, "test")
    }

    /// A live account with made-up keys.
    #[must_use]
    pub fn live() -> Self {
        Self::with_mode(true, "live")
    }

    fn with_mode(livemode: bool, mode: &str) -> Self {
        Self {
            id: "acct_rig".to_owned(),
            livemode,
            secret_key: format!("sk_{mode}_rig"),
            webhook_secret: format!("whsec_{mode}_rig"),
        }
    }
}
