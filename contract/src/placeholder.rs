//! Secrets that are public: those of weir's own documentation and example files, and those of common tutorials. A gateway or
//! a server that runs with one of them would accept forged credentials.
use std::sync::OnceLock;

use crate::directory::KeyHash;

/// Marks of a text that waits to be replaced.
const MARKS: [&str; 4] = ["change-me", "changeme", "change_me", "replace-me"];

/// Texts in the documentation and the example files, of this version and earlier ones.
const DOCUMENTED: [&str; 10] = [
    "a secret of at least 32 bytes that weir serve knows, too",
    "at least 32 random bytes, which weir serve knows, too",
    "32 random bytes or more, known to weir serve",
    "only-for-the-demo-never-use-this-secret-elsewhere",
    "demo-gateway-token-0123456789",
    "put-here-by-the-demo-which-draws-one-at-its-start",
    "put-the-secret-of-your-issuer-here",
    "the token that weir serve knows under directory",
    "the token that weir serve knows under ingest",
    "the-token-that-weir-serve-knows",
];

/// Keys whose hashes stand in documentation and tutorials.
const KEYS: [&str; 8] = ["", "test", "foo", "key", "secret", "password", "changeme", "sk_weir_test"];

/// Whether a secret still has to be replaced by one.
pub fn is_marked(secret: &str) -> bool {
    let secret = secret.to_ascii_lowercase();
    MARKS.iter().any(|mark| secret.contains(mark))
}

/// Whether a secret is known to everybody.
pub fn is_known(secret: &str) -> bool {
    is_marked(secret) || DOCUMENTED.contains(&secret.trim())
}

/// Whether a hash is of a key that is known to everybody.
pub fn is_known_hash(hash: &KeyHash) -> bool {
    /// Made once: a directory has hundreds of thousands of keys.
    static KNOWN: OnceLock<Vec<KeyHash>> = OnceLock::new();
    let hashes = || KEYS.iter().chain(&DOCUMENTED).map(|key| KeyHash::of(key.as_bytes())).collect();
    KNOWN.get_or_init(hashes).contains(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_everybody_knows_is_known_and_what_was_drawn_is_not() {
        for known in ["CHANGE-ME", "sk_CHANGE-ME_1", "please-changeme-now", "the-token-that-weir-serve-knows"] {
            assert!(is_known(known), "{known}");
        }
        for key in ["test", "foo", "the-token-that-weir-serve-knows"] {
            assert!(is_known_hash(&KeyHash::of(key.as_bytes())), "{key}");
        }
        let drawn = "sk_weir_8f3c6b1fd03a4c5e9f7d2a6b4c8e0f13";
        assert!(!is_known(drawn) && !is_known_hash(&KeyHash::of(drawn.as_bytes())));
    }
}
