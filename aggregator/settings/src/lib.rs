//! How the aggregator's settings are written: YAML files whose errors name the place, secrets that are never shown, spans of
//! time.
#![forbid(unsafe_code)]

pub mod duration;
pub mod mask;
pub mod secret;
pub mod yaml;
