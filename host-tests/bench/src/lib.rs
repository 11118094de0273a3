//! What weir costs, measured so that the figures mean the same on any machine.
//!
//! * [`cases`]: the configurations and requests that everything here measures;
//! * [`fuel`]: WebAssembly instructions of each, by phase, in the test host; kept as a table in the repository;
//! * [`curves`]: how both grow with tenants, bodies, chunks and workers;
//! * [`envoy`]: CPU and latency in the real Envoy, beside other filters. [`gateway`] writes its configuration, [`upstream`]
//!   answers, [`load`] sends requests ([`pace`] paces the chunks of streams), [`tokens`] signs tokens, [`cpu`] measures, and
//!   [`stack`] runs all of them;
//! * [`hostcalls`]: the cost of one call into the gateway, the cost of entering a phase, and their share of a request;
//! * [`table`], [`chart`]: keep and show the figures.

pub mod cases;
pub mod chart;
pub mod cpu;
pub mod curves;
pub mod envoy;
pub mod fuel;
pub mod gateway;
pub mod hostcalls;
pub mod load;
pub mod pace;
pub mod stack;
pub mod table;
pub mod tokens;
pub mod upstream;
