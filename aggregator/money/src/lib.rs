//! Money: prices, cost, revenue and margin.
//!
//! Pure: everything is computed from price books, events and the ledger's views that callers hand in. Amounts are exact
//! ([`amount`]), every amount stands beside its currency, and usage without a price is listed, never counted as free.
//!
//! * [`other`]: costs that no request causes, and how they are spread;
//! * [`prices`]: the price book: its YAML shape, checks, comparison, look-up, the shipped list, and imports;
//! * [`charged`]: our costs against what providers say they charged;
//! * [`cost`]: what an event cost, line by line.
#![forbid(unsafe_code)]

pub mod charged;
pub mod cost;
pub mod other;
pub mod prices;

/// Exact amounts and their currencies.
pub mod amount {
    pub use weir_ledger::amount::{Currency, DECIMALS_MAX, PICO, Pico};
}
