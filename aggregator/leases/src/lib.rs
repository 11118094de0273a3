//! The center of fleet-wide limits: divides one bucket among gateways, and never grants more than it holds.
