//! The verdict on one event or reading of a body.
use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::Rejection;
use super::facts::Fact;

/// The verdict on one event, or reading.
#[derive(Clone, Debug)]
pub struct Verdict<T = Fact> {
    /// Where its bytes start in the body, and how many they are.
    at: usize,
    length: usize,
    /// Of its bytes, or of a reading as it is written in one way, by the ledger's [`EventHasher`].
    pub hash: i64,
    /// What it says, or why it is refused for good.
    pub outcome: Result<T, Rejection>,
}

impl<T> Verdict<T> {
    /// On `raw`, a part of `body`.
    pub(super) fn new(body: &[u8], raw: &[u8], hash: i64, outcome: Result<T, Rejection>) -> Self {
        Verdict { at: raw.as_ptr().addr() - body.as_ptr().addr(), length: raw.len(), hash, outcome }
    }

    pub(super) fn raw<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        body.get(self.at..self.at + self.length).unwrap_or_default()
    }
}

/// Makes 64 bits of an event's bytes, under the ledger's secret key: nobody can make other bytes look the same.
#[derive(Clone, Copy)]
pub struct EventHasher(SipHasher13);

impl EventHasher {
    /// With the ledger's key.
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
