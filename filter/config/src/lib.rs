//! The configuration of the filter, as people write it.
//!
//! [`shape`] and [`plans`] define the fields: each is required or has a default that runs, and unknown fields are
//! errors. [`parse`] reads the bytes that a gateway hands over; [`version`] names the result. `weir-filter` checks what
//! a shape cannot express when it compiles a policy.
//!
//! A separate crate because it runs only when a configuration is loaded: `weir.wasm` compiles it for size, not speed.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod algorithm;
pub mod duration;
pub mod flags;
pub mod guard;
pub mod jwk;
pub mod plans;
pub mod protobuf;
pub mod rate;
pub mod routing;
pub mod secret;
pub mod shape;
pub mod shared;
pub mod tenant_key;
mod tree;

pub use duration::Span;
pub use rate::Rate;
pub use secret::{Environment, Secret};
use sha2::{Digest, Sha256};
pub use shape::{Config, Mode};
use tree::Tree;

/// Why a configuration is refused: the field, and what would be valid there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    /// The field, as a path from the root: `plans.starter.requests.rate`.
    pub path: String,
    /// The problem there, and what would be valid.
    pub problem: String,
}

impl ConfigError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        ConfigError { path: path.into(), problem: problem.to_string() }
    }
}

/// Reads the configuration from JSON, or from Envoy's `google.protobuf.Struct`.
///
/// # Errors
/// If the bytes are neither, or a field is unknown, missing or of the wrong type.
pub fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
    read_tree(bytes)?.read()
}

/// A configuration of either role.
#[derive(Clone, Debug)]
pub enum ForRole {
    /// Identifies, limits and counts: in front of a gateway's routes.
    Downstream(Box<Config>),
    /// Speaks a provider's dialect: an upstream filter of its cluster.
    Upstream(Box<routing::Upstream>),
}

/// Reads the configuration of either role: that of `upstream` says so in `role`.
///
/// # Errors
/// If the bytes are neither, or a field is unknown, missing or of the wrong type.
pub fn parse_for_role(bytes: &[u8]) -> Result<ForRole, ConfigError> {
    let tree = read_tree(bytes)?;
    if tree.has("role") {
        return tree.read().map(Box::new).map(ForRole::Upstream);
    }
    tree.read().map(Box::new).map(ForRole::Downstream)
}

fn read_tree(bytes: &[u8]) -> Result<Tree, ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Err(ConfigError::new("configuration", "there is none; the filter needs one, as JSON or as a Struct"));
    }
    match protobuf::read_struct(bytes) {
        Some(value) => Ok(Tree::from(value)),
        None => serde_json::from_slice(bytes).map_err(|error| ConfigError::new("configuration", error)),
    }
}

/// The configuration's version in events: 16 hex digits. Two texts that mean the same, with defaults spelt out or
/// fields in another order, have the same version.
///
/// # Errors
/// If the configuration cannot be written as JSON.
pub fn version(config: &Config) -> Result<String, ConfigError> {
    let json = serde_json::to_vec(config).map_err(|error| ConfigError::new("configuration", error))?;
    Ok(Sha256::digest(&json).first_chunk::<8>().map(hex::encode).unwrap_or_default())
}
