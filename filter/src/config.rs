//! Configuration: its shape, and the policy it compiles to.
//!
//! [`shape`] is what people write, a crate of its own: every field has a default that runs or is required, unknown fields
//! are errors.
//! [`Policy::compile`] checks what a shape cannot say (a plan that exists, a rate above zero) in one place and gives what
//! the request path reads. A configuration that does not compile is refused whole, and the one before it stays.
pub mod glob;
pub mod plan;
pub mod policy;
pub mod route;

pub use plan::Plan;
pub use policy::{Destination, Policy};
pub use route::Route;
pub use weir_config::{Config, ConfigError, Mode, Rate, Span, duration, parse, plans, rate, shape};

#[cfg(test)]
mod tests;
