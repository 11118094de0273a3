//! Patterns of names: `gpt-4o*`; the aggregator reads them by the same rule.
pub use weir_contract::glob::Glob;
