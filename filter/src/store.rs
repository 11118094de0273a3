//! The gateway's shared data: one map for all workers of a process, with compare-and-swap.
//!
//! Limits keep their buckets there ([`crate::limit`]), and sources the last number they gave ([`crate::emit::registry`]).

/// One process-wide map from keys to values with generations.
pub trait Store {
    /// The value under a key.
    fn read(&mut self, key: &str) -> Read;
    /// Puts a value if the key still has the generation `cas`. A key that was never written takes any generation on
    /// Envoy, and only 0 on Kong; one that was takes 0 on Envoy, whatever it has, and never on Kong.
    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write;
}

/// What a [`Store`] answers to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A value and its generation, never 0.
    Found(Vec<u8>, u32),
    /// Nothing was ever put there.
    Missing,
    /// The store failed.
    Failed,
}

/// What a [`Store`] answers to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Done.
    Written,
    /// Somebody else was first.
    Mismatch,
    /// The store failed.
    Failed,
}
