//! Secrets that are public: those of weir's own documentation and example files, and those of common tutorials. A gateway or
//! a server that runs with one of them would accept forged credentials.
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
const KEYS: [&str; 11] = [
    "",
    "test",
    "foo",
    "key",
    "secret",
    "password",
    "changeme",
    "sk_weir_test",
    // Of the demo, in earlier versions.
    "sk_weir_demo_acme",
    "sk_weir_demo_globex",
    "sk_weir_demo_hooli",
];

/// The first eight bytes of the hashes of [`KEYS`] and then of [`DOCUMENTED`], so that a gateway that starts hashes none of
/// them. `every_known_key_is_told_by_its_hash` compares them with the hashes.
const HASHES_BEGIN: [u64; KEYS.len() + DOCUMENTED.len()] = [
    0xe3b0_c442_98fc_1c14,
    0x9f86_d081_884c_7d65,
    0x2c26_b46b_68ff_c68f,
    0x2c70_e12b_7a06_46f9,
    0x2bb8_0d53_7b1d_a3e3,
    0x5e88_4898_da28_0471,
    0x057b_a03d_6c44_1048,
    0x21e5_19c5_3d7f_66c4,
    0xd7f6_8c33_16e8_b7d5,
    0x10a9_2643_b940_3dae,
    0x5482_ff20_9585_11a1,
    0x5b77_7627_51ed_7c92,
    0xb682_bdb6_d2a9_99ff,
    0x5d15_c5e8_2fe8_de68,
    0xc366_9ffa_2ad3_738f,
    0x9e27_3937_8301_b7e2,
    0x37ff_ecca_6d8b_363a,
    0x4baa_341f_fff5_36be,
    0x52e4_fdcb_ddf1_0787,
    0xfed4_8aae_8d66_12c3,
    0xde61_0296_7704_02ca,
];

/// Whether a secret still has to be replaced by one.
pub(crate) fn is_marked(secret: &str) -> bool {
    let secret = secret.to_ascii_lowercase();
    MARKS.iter().any(|mark| secret.contains(mark))
}

/// Whether a secret is known to everybody.
pub fn is_known(secret: &str) -> bool {
    is_marked(secret) || DOCUMENTED.contains(&secret.trim())
}

/// Whether a hash is of a key that is known to everybody.
pub fn is_known_hash(hash: &KeyHash) -> bool {
    let begin = hash.0.first_chunk().map(|begin| u64::from_be_bytes(*begin));
    let mut known = known_keys().zip(HASHES_BEGIN);
    known.any(|(key, known)| begin == Some(known) && KeyHash::of(key.as_bytes()) == *hash)
}

fn known_keys() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(DOCUMENTED)
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
        for key in ["test", "foo", "sk_weir_demo_acme", "the-token-that-weir-serve-knows"] {
            assert!(is_known_hash(&KeyHash::of(key.as_bytes())), "{key}");
        }
        let drawn = "sk_weir_8f3c6b1fd03a4c5e9f7d2a6b4c8e0f13";
        assert!(!is_known(drawn) && !is_known_hash(&KeyHash::of(drawn.as_bytes())));
    }

    #[test]
    fn every_known_key_is_told_by_its_hash() {
        for key in known_keys() {
            assert!(is_known_hash(&KeyHash::of(key.as_bytes())), "{key}");
        }
    }
}
