//! What identity asks the gateway for: its own verifier, and who is at the other end of the connection.
use super::key::check::{Native, no_native};

/// The gateway's side. Plain functions: there is one gateway to a worker.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Verifies signatures natively.
    pub native: Native,
    /// A property of the connection, by the names on its path; None where the gateway does not tell.
    pub property: fn(&[&str]) -> Option<Vec<u8>>,
}

impl Default for Ports {
    fn default() -> Self {
        Ports { native: no_native, property: |_| None }
    }
}
