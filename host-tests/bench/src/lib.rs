//! What weir costs, measured so that the figures mean the same on any machine.
//!
//! * [`cases`]: the configurations and requests that everything here measures;
//! * [`fuel`]: WebAssembly instructions of each, by phase, in the test host; kept as a table in the repository;
//! * [`curves`]: how both grow with tenants, bodies, chunks and workers;
//! * [`envoy`]: CPU and latency in the real Envoy, beside other filters: [`gateway`] is its configuration, [`upstream`] who
//!   answers, [`load`] who asks ([`pace`]: when the next chunk may come), [`tokens`] who signs, [`cpu`] who counts, [`stack`] all of them running;
//! * [`hostcalls`]: what one call into the gateway costs, what entering a phase does, and what that explains;
//! * [`table`], [`chart`]: how figures are kept and shown.

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
