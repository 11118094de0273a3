//! What people write to configure the filter.
//!
//! [`shape`] and [`plans`] are the shapes: every field has a default that runs or is required, unknown fields are errors.
//! [`parse`] reads them from what a gateway hands over, [`version`] names what was read. What a shape cannot say is
//! checked where a policy is compiled from it, in `weir-filter`.
//!
//! A crate of its own, because no request waits for it: `weir.wasm` has it compiled for size.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod algorithm;
pub mod duration;
pub mod key;
pub mod plans;
pub mod protobuf;
pub mod rate;
pub mod shape;
pub mod shared;
mod tree;

pub use duration::Span;
pub use rate::Rate;
use sha2::{Digest, Sha256};
pub use shape::{Config, Mode};
use tree::Tree;

/// Why a configuration is refused: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    /// The field, as a path from the root: `plans.starter.requests.rate`.
    pub path: String,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

impl ConfigError {
    /// At this path, this problem.
    pub fn new(path: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        ConfigError { path: path.into(), problem: problem.to_string() }
    }
}

/// Reads what a gateway hands over: JSON, or Envoy's `google.protobuf.Struct`.
///
/// # Errors
/// When it is neither, or has not the shape of a configuration.
pub fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Err(ConfigError::new("configuration", "there is none; the filter needs one, as JSON or as a Struct"));
    }
    let tree = match protobuf::read_struct(bytes) {
        Some(value) => Tree::from(value),
        None => serde_json::from_slice(bytes).map_err(|error| ConfigError::new("configuration", error))?,
    };
    tree.read()
}

/// The configuration's name in events, 16 hex digits: the same for one that is written differently, with its defaults
/// spelt out or in another order.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn version(config: &Config) -> Result<String, ConfigError> {
    let json = serde_json::to_vec(config).map_err(|error| ConfigError::new("configuration", error))?;
    Ok(Sha256::digest(&json).first_chunk::<8>().map(hex::encode).unwrap_or_default())
}
