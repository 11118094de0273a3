//! The gateway's functions that identity needs: its own verifier, and properties of the connection.
use super::key::check::{Native, no_native};

/// The functions. They are plain ones, since a worker runs in one gateway.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Verifies a signature natively.
    pub native: Native,
    /// A property of the connection by its path; None if the gateway does not know it.
    pub property: fn(&[&str]) -> Option<Vec<u8>>,
}

impl Default for Ports {
    fn default() -> Self {
        Ports { native: no_native, property: |_| None }
    }
}
