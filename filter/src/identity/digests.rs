//! Remembers the SHA-256 of API keys.
//!
//! The directory knows keys by their SHA-256, and a tenant sends the same key thousands of times. A digest is found
//! by a 128-bit hash under the VM's own secret: no key stays in memory, and without the secret nobody can make two
//! keys that collide. A digest never changes, so changes of the directory take effect at once.
use hashbrown::HashTable;
use weir_contract::directory::KeyHash;

use crate::hash::Keyed;

/// The most digests a worker remembers: some 300 KB.
pub(crate) const DIGESTS_MAX: usize = 4_096;

/// Digests of keys that were good.
#[derive(Debug)]
pub struct Digests {
    keyed: Keyed,
    known: HashTable<(u128, KeyHash)>,
}

/// The hash of a name for the table: the name is random enough itself.
fn table_hash(name: u128) -> u64 {
    name as u64
}

/// A key's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Its SHA-256.
    pub sha256: KeyHash,
    /// The name to remember it under, if it is not remembered yet.
    unknown: Option<u128>,
}

impl Digests {
    /// None yet.
    pub fn new(keyed: Keyed) -> Self {
        Digests { keyed, known: HashTable::new() }
    }

    /// The digest of `key`.
    pub fn of(&self, key: &[u8]) -> Digest {
        let name = self.keyed.wide(key);
        match self.known.find(table_hash(name), |(known, _)| *known == name) {
            Some((_, sha256)) => Digest { sha256: *sha256, unknown: None },
            None => Digest { sha256: KeyHash::of(key), unknown: Some(name) },
        }
    }

    /// Remembers the digest of a key that exists: made-up keys take no room. A full table is emptied; keys in use are
    /// back after one SHA-256 each.
    pub fn keep(&mut self, digest: &Digest) {
        if let Some(name) = digest.unknown {
            if self.known.len() >= DIGESTS_MAX {
                self.known.clear();
            }
            self.known.insert_unique(table_hash(name), (name, digest.sha256), |(known, _)| table_hash(*known));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_remembered_digest_is_the_keys_sha_256() {
        let mut digests = Digests::new(Keyed::new([1; 16]));
        for key in [&b"sk_weir_a"[..], b"sk_weir_b", b""] {
            let first = digests.of(key);
            assert!(first.unknown.is_some() && first.sha256 == KeyHash::of(key));
            digests.keep(&first);
            assert_eq!(digests.of(key), Digest { sha256: KeyHash::of(key), unknown: None });
        }
    }

    #[test]
    fn a_key_that_is_not_kept_takes_no_room_and_a_full_table_starts_anew() {
        let mut digests = Digests::new(Keyed::new([1; 16]));
        digests.of(b"made up");
        assert!(digests.known.is_empty());
        for number in 0..=DIGESTS_MAX {
            digests.keep(&digests.of(number.to_string().as_bytes()));
        }
        assert_eq!(digests.known.len(), 1);
        assert_eq!(digests.of(b"7").sha256, KeyHash::of(b"7"));
    }
}
