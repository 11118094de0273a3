//! The format of the aggregator's settings: YAML files whose errors name their location, secrets that are never shown,
//! durations, and servers that several parts use.
#![forbid(unsafe_code)]

pub mod duration;
pub mod kafka;
pub mod mask;
pub mod postgres;
pub mod redis;
pub mod secret;
mod written;
pub mod yaml;
