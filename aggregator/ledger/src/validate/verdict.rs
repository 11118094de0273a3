//! The verdict on one event or reading of a body.
use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::Rejection;
use super::facts::Fact;

/// The verdict on one event, or reading.
#[derive(Clone, Debug)]
pub struct Verdict<T = Fact> {
    /// The offset of its bytes in the body; the next field is their number.
    at: usize,
    length: usize,
    /// The ledger's [`EventHasher`] over its bytes, or over a reading's canonical form.
    pub hash: i64,
    /// Its content, or why it is refused for good.
    pub outcome: Result<T, Rejection>,
}

impl<T> Verdict<T> {
    /// A verdict on `raw`, a part of `body`.
    pub(super) fn new(body: &[u8], raw: &[u8], hash: i64, outcome: Result<T, Rejection>) -> Self {
        Verdict { at: raw.as_ptr().addr() - body.as_ptr().addr(), length: raw.len(), hash, outcome }
    }

    pub(super) fn raw<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        body.get(self.at..self.at + self.length).unwrap_or_default()
    }
}

/// Hashes an event's bytes to 64 bits under the ledger's secret key, so that nobody can construct a collision.
#[derive(Clone, Copy)]
pub struct EventHasher(SipHasher13);

impl EventHasher {
    /// A hasher with the ledger's key.
    pub fn new(key: &[u8; 16]) -> Self {
        EventHasher(SipHasher13::new_with_key(key))
    }

    /// The hash of `raw`.
    pub fn hash(&self, raw: &[u8]) -> i64 {
        let mut hasher = self.0;
        hasher.write(raw);
        i64::from_ne_bytes(hasher.finish().to_ne_bytes())
    }
}

impl fmt::Debug for EventHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventHasher")
    }
}
