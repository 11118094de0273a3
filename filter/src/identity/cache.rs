//! Verified tokens, remembered.
//!
//! A signature costs microseconds to milliseconds; a tenant's token comes again thousands of times. What is remembered
//! is found by a keyed hash and compared whole: two tokens never stand for one another.
use std::rc::Rc;

use hashbrown::HashTable;
use weir_contract::Timestamp;

use super::jwt::Verified;
use super::key::Key;
use crate::hash::Keyed;

/// The most tokens a worker remembers: at 2 KB a token some 8 MB.
pub const TOKENS_MAX: usize = 4_096;

/// Verified tokens of one configuration.
#[derive(Debug)]
pub struct TokenCache {
    keyed: Keyed,
    tokens: HashTable<Entry>,
    swept: Timestamp,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    token: Box<str>,
    known: Remembered,
}

/// What a verified token said.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Its claims, and the key that signed it.
    pub verified: Rc<Verified>,
    /// From when on it must be looked at anew.
    pub until: Timestamp,
}

impl TokenCache {
    /// An empty cache.
    pub fn new(keyed: Keyed) -> Self {
        TokenCache { keyed, tokens: HashTable::new(), swept: Timestamp::default() }
    }

    /// What `token` said, if it was verified and has not expired.
    pub fn get(&self, token: &str, now: Timestamp) -> Option<&Remembered> {
        let hash = self.keyed.of(token.as_bytes());
        let found = self.tokens.find(hash, |entry| entry.hash == hash && is_same(&entry.token, token));
        found.map(|entry| &entry.known).filter(|known| now < known.until)
    }

    /// Remembers a verified token. A full cache is emptied: the tokens in use are back after one verification each, and
    /// a flood of tokens, each valid and each new, can do no more than that.
    pub fn put(&mut self, token: &str, known: Remembered) {
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.clear();
        }
        let entry = Entry { hash: self.keyed.of(token.as_bytes()), token: token.into(), known };
        let of_token = |other: &Entry| other.hash == entry.hash && is_same(&other.token, token);
        match self.tokens.find_mut(entry.hash, of_token) {
            Some(old) => *old = entry,
            None => drop(self.tokens.insert_unique(entry.hash, entry, |entry| entry.hash)),
        }
    }

    /// Drops what has expired. Called from the tick; works at most once a minute.
    pub fn sweep(&mut self, now: Timestamp) {
        if now.millis_since(self.swept) >= 60_000 {
            self.swept = now;
            self.tokens.retain(|entry| now < entry.known.until);
        }
    }

    /// Forgets the tokens of keys that are not `good` any more.
    pub fn keep(&mut self, good: impl Fn(&Rc<Key>) -> bool) {
        self.tokens.retain(|entry| good(&entry.known.verified.key));
    }

    /// Forgets every token.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// Whether two tokens are one: eight bytes at a time, where `==` takes them one by one in WebAssembly.
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (ones, one_rest) = one.as_chunks::<8>();
    let (others, other_rest) = other.as_chunks::<8>();
    let differing = |any: u64, (a, b): (&[u8; 8], &[u8; 8])| any | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b));
    one.len() == other.len() && one_rest == other_rest && ones.iter().zip(others).fold(0, differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn tokens_are_one_only_if_every_byte_is() {
        let token: String = ('a'..='z').chain('A'..='Z').collect();
        for length in 0..=token.len() {
            let (one, rest) = token.split_at(length);
            assert!(is_same(one, &one.to_owned()));
            assert!(rest.is_empty() || !is_same(one, &token));
            for at in 0..length {
                let mut other = one.to_owned();
                other.replace_range(at..=at, "0");
                assert!(!is_same(one, &other), "{at} of {length}");
            }
        }
    }
}
