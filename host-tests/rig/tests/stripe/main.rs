//! The stand-in for Stripe, held to Stripe's documentation point by point.

mod caller;
mod facts;
mod faults;
mod idempotency;
mod meter_events;
mod meters;
mod over_tcp;
mod prices;
mod summaries;
mod v2;
mod webhooks;
