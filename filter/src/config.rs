//! Configuration: its shape, and the policy it compiles to.
//!
//! [`shape`] is what people write: every field has a default that runs or is required, unknown fields are errors.
//! [`Policy::compile`] checks what a shape cannot say (a plan that exists, a rate above zero) in one place and gives what
//! the request path reads. A configuration that does not compile is refused whole, and the one before it stays.
pub mod duration;
pub mod glob;
pub mod plan;
pub mod plans;
pub mod policy;
pub mod protobuf;
pub mod rate;
pub mod route;
pub mod shape;

pub use duration::Span;
pub use plan::Plan;
pub use policy::{Destination, Policy};
pub use rate::Rate;
pub use route::Route;
pub use shape::{Config, Mode};

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
    pub(crate) fn new(path: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        ConfigError { path: path.into(), problem: problem.to_string() }
    }
}

/// Reads what a gateway hands over: JSON, or Envoy's `google.protobuf.Struct`.
pub fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Err(ConfigError::new("configuration", "there is none; the filter needs one, as JSON or as a Struct"));
    }
    match protobuf::read_struct(bytes) {
        Some(value) => read(value),
        None => {
            let mut reader = serde_json::Deserializer::from_slice(bytes);
            let config = read(&mut reader)?;
            reader.end().map_err(|error| ConfigError::new("configuration", error))?;
            Ok(config)
        }
    }
}

fn read<'de, D>(from: D) -> Result<Config, ConfigError>
where
    D: serde::Deserializer<'de, Error = serde_json::Error>,
{
    serde_path_to_error::deserialize(from).map_err(|error| {
        let path = error.path().to_string();
        // A field without a name has a path without one.
        let unnamed = path.is_empty() || path == ".";
        ConfigError::new(if unnamed { "configuration".to_owned() } else { path }, error.inner())
    })
}

#[cfg(test)]
mod tests;
