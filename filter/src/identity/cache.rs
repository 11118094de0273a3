//! Remembers verified tokens.
//!
//! A signature costs microseconds to milliseconds, and a tenant sends the same token thousands of times. A token is
//! found by a keyed hash and compared whole, so two tokens are never confused.
use std::rc::Rc;

use hashbrown::HashTable;
use weir_contract::Timestamp;
use weir_llm_usage::bytes::is_same;

use super::jwt::Verified;
use super::key::Key;
use crate::hash::Keyed;

/// The most tokens that a worker remembers: about 8 MB at 2 KB a token.
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
    known: CachedToken,
}

/// What a verified token said.
#[derive(Clone, Debug)]
pub struct CachedToken {
    /// Its claims, and the key that signed it.
    pub verified: Rc<Verified>,
    /// When it must be verified again.
    pub until: Timestamp,
}

impl TokenCache {
    /// An empty cache.
    pub fn new(keyed: Keyed) -> Self {
        TokenCache { keyed, tokens: HashTable::new(), swept: Timestamp::default() }
    }

    /// The claims of `token`, if it was verified and has not expired.
    pub fn get(&self, token: &str, now: Timestamp) -> Option<&CachedToken> {
        let hash = self.keyed.of(token.as_bytes());
        let found =
            self.tokens.find(hash, |entry| entry.hash == hash && is_same(entry.token.as_bytes(), token.as_bytes()));
        found.map(|entry| &entry.known).filter(|known| now < known.until)
    }

    /// Remembers a verified token. A full cache is emptied: tokens in use are back after one verification each, and a
    /// flood of valid new tokens can do no more harm than that.
    pub fn put(&mut self, token: &str, known: CachedToken) {
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.clear();
        }
        let entry = Entry { hash: self.keyed.of(token.as_bytes()), token: token.into(), known };
        let of_token = |other: &Entry| other.hash == entry.hash && is_same(other.token.as_bytes(), token.as_bytes());
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
