//! Money: prices, cost, revenue and margin.
//!
//! Everything here is pure: it takes the ledger's views, and returns amounts.
#![forbid(unsafe_code)]

pub mod amount;
pub mod compare;
pub mod crossover;
pub mod document;
pub mod drivers;
pub mod exact;
pub mod lifetime;
pub mod margin;
pub mod plans;
pub mod ratio;
pub mod revenue;
pub mod review;
pub mod whatif;
