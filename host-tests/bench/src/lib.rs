//! What weir costs, measured so that the figures mean the same on any machine.
//!
//! * [`cases`]: the configurations and requests that everything here measures;
//! * [`fuel`]: WebAssembly instructions of each, by phase, in the test host; kept as a table in the repository;
//! * [`table`]: reading, writing and comparing such tables.

pub mod cases;
pub mod fuel;
pub mod table;
