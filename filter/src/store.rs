//! The gateway's shared data: one map for all workers of a process, with compare-and-swap.
//!
//! Limits keep their buckets there, and sources the last number they gave.

/// One process-wide map from keys to values with generations.
pub trait Store {
    /// The value under a key.
    fn read(&mut self, key: &str) -> Read;
    /// Writes a value if the key still has the generation `cas`. A key that was never written accepts any generation
    /// on Envoy, and only 0 on Kong. A written key accepts 0 on Envoy, whatever its generation, and never on Kong.
    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write;
}

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A value and its generation, never 0.
    Found(Vec<u8>, u32),
    /// The key was never written.
    Missing,
    /// The store failed.
    Failed,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Done.
    Written,
    /// Another worker was first.
    Mismatch,
    /// The store failed.
    Failed,
}
