//! Hashing under a key that each VM draws for itself.
//!
//! Without a key every VM would hash alike, and an attacker could send keys that all fall into one bucket.
use siphasher::sip::SipHasher13;
use siphasher::sip128;
use std::hash::{BuildHasher, Hasher};

/// A map whose layout nobody outside can predict.
pub type Map<K, V> = hashbrown::HashMap<K, V, Keyed>;

/// Makes SipHash-1-3 hashers under one VM's key.
#[derive(Clone, Copy)]
pub struct Keyed {
    key: (u64, u64),
}

impl Keyed {
    /// From the VM's random bytes.
    pub fn new(seed: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(seed);
        Keyed { key: ((bits >> 64) as u64, bits as u64) }
    }

    /// The keyed hash of some bytes.
    pub fn of(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// The keyed hash of some bytes, of 128 bits: wide enough to identify them.
    pub fn wide(&self, bytes: &[u8]) -> u128 {
        sip128::SipHasher13::new_with_keys(self.key.0, self.key.1).hash(bytes).as_u128()
    }

    /// An empty map.
    pub fn map<K, V>(&self) -> Map<K, V> {
        Map::with_hasher(*self)
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed(…)")
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key.0, self.key.1)
    }
}

/// FNV-1a, 64 bits: a stable name for a text that no outsider chooses.
pub const fn fixed(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        hash = (hash ^ *first as u64).wrapping_mul(0x0000_0100_0000_01b3);
        rest = tail;
    }
    hash
}

/// A checksum against accidents, for bytes that no outsider chooses: eight at a time. Each step is reversible, so one
/// changed word always changes it, and mixes the high bits down, so that several changes do not cancel out.
pub fn sum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |sum: u64, word: &[u8; 8]| {
        let product = (sum ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
        product ^ product >> 32
    };
    // Four words at a time: records with leases have dozens, and every limited request sums two of them.
    let (groups, rest) = bytes.as_chunks::<32>();
    let group = |sum: u64, group: &[u8; 32]| match group.as_chunks::<8>() {
        ([a, b, c, d], _) => step(step(step(step(sum, a), b), c), d),
        _ => sum,
    };
    let sum = groups.iter().fold(PRIME ^ bytes.len() as u64, group);
    let (words, rest) = rest.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    step(words.iter().fold(sum, step), &last)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn two_seeds_hash_differently_and_one_hashes_alike() {
        let (a, b) = (Keyed::new([1; 16]), Keyed::new([2; 16]));
        assert_eq!(a.of(b"acme"), a.of(b"acme"));
        assert_ne!(a.of(b"acme"), b.of(b"acme"));
        assert_eq!(a.wide(b"acme"), a.wide(b"acme"));
        assert!(a.wide(b"acme") != b.wide(b"acme") && a.wide(b"acme") != a.wide(b"acm"));
    }

    #[test]
    fn a_checksum_sees_every_byte_and_every_length() {
        let bytes: [u8; 40] = std::array::from_fn(|at| at as u8);
        let mut sums = std::collections::BTreeSet::new();
        for length in 0..=bytes.len() {
            assert!(sums.insert(sum(&bytes[..length])), "{length} bytes");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes;
                changed[at] ^= 1 << bit;
                assert!(sums.insert(sum(&changed)), "bit {bit} of byte {at}");
            }
        }
        assert_ne!(sum(&[0; 7]), sum(&[0; 8]));
    }

    #[test]
    fn a_checksum_of_groups_is_that_of_single_words() {
        let by_words = |bytes: &[u8]| {
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len() / 8 * 8 + 8, 0);
            let step = |sum: u64, word: &[u8]| {
                let word = word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
                let product = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                product ^ product >> 32
            };
            padded.chunks(8).fold(0x9e37_79b9_7f4a_7c15 ^ bytes.len() as u64, step)
        };
        let bytes: [u8; 100] = std::array::from_fn(|at| (at * 37) as u8);
        for length in 0..=bytes.len() {
            assert_eq!(sum(&bytes[..length]), by_words(&bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn fixed_names_are_fnv_1a() {
        assert_eq!(fixed(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fixed("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
