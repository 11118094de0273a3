//! Money: prices, cost, revenue and margin.
//!
//! Pure: everything is computed from price books, events and the ledger's views that callers hand in. Amounts are exact
//! ([`amount`]), every amount stands beside its currency, and usage without a price is listed, never counted as free.
//!
//! * [`other`]: costs that no request causes, and how they are spread;
//! * [`prices`]: the price book: its YAML shape, checks, comparison, look-up, the shipped list, and imports;
//! * [`cost`]: what an event cost, line by line;
//! * [`charged`]: our costs against what providers say they charged;
//! * [`plans`]: what tenants pay: price plans and who has which;
//! * [`revenue`]: the bill of a period, or of any part of it;
//! * [`margin`]: revenue less cost, by tenant or by a dimension;
//! * [`review`]: the weekly review, and [`drivers`]: why a cost changed;
//! * [`compare`], [`whatif`], [`crossover`]: other plans, other conditions, own GPUs;
//! * [`lifetime`]: what a tenant is worth against what it cost to win.
#![forbid(unsafe_code)]

pub mod charged;
pub mod compare;
pub mod cost;
pub mod crossover;
pub mod document;
pub mod drivers;
pub mod exact;
pub mod lifetime;
pub mod margin;
pub mod other;
pub mod plans;
pub mod prices;
pub mod ratio;
pub mod revenue;
pub mod review;
pub mod weeks;
pub mod whatif;

/// Exact amounts and their currencies.
pub mod amount {
    pub use weir_ledger::amount::{Currency, DECIMALS_MAX, PICO, Pico};
}
