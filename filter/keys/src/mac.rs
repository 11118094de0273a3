//! HMAC signatures (RFC 7518, section 3.2). Only this file names `jwt-compact`, which is pinned to one beta release.
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{Algorithm as MacAlgorithm, AlgorithmSignature};

use weir_config::algorithm::Algorithm;

/// Returns true if the secret signed `text` with `signature`. False for every algorithm other than HMAC.
pub(super) fn verifies(algorithm: Algorithm, secret: &[u8], text: &[u8], signature: &[u8]) -> bool {
    match algorithm {
        Algorithm::HS256 => matches(&Hs256, &Hs256Key::new(secret), text, signature),
        Algorithm::HS384 => matches(&Hs384, &Hs384Key::new(secret), text, signature),
        Algorithm::HS512 => matches(&Hs512, &Hs512Key::new(secret), text, signature),
        _ => false,
    }
}

/// Compares in constant time, so that a forger learns nothing from the time a wrong signature takes. The library panics
/// on a signature of another length, so the length is compared first.
fn matches<A: MacAlgorithm>(algorithm: &A, key: &A::VerifyingKey, text: &[u8], signature: &[u8]) -> bool {
    let fits = A::Signature::LENGTH.is_some_and(|length| length.get() == signature.len());
    fits && A::Signature::try_from_slice(signature)
        .is_ok_and(|signature| algorithm.verify_signature(&signature, key, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// RFC 4231, test cases 6 and 7: a key of 131 bytes `aa`, two texts, and each text's three signatures.
    const VECTORS: [(&str, [&str; 3]); 2] = [
        (
            "Test Using Larger Than Block-Size Key - Hash Key First",
            [
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ],
        ),
        (
            "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
            [
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
                "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860e6110c46523e",
                "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
            ],
        ),
    ];
    const KEY: [u8; 131] = [0xaa; 131];
    const ALGORITHMS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

    /// Yields every algorithm with each text and its signature.
    fn vectors() -> impl Iterator<Item = (Algorithm, &'static [u8], Vec<u8>)> {
        VECTORS.iter().flat_map(|(text, signatures)| {
            let signatures = ALGORITHMS.iter().zip(signatures);
            signatures.map(|(algorithm, hex)| (*algorithm, text.as_bytes(), hex::decode(hex).expect("hex")))
        })
    }

    #[test]
    fn the_rfcs_signatures_are_good() {
        for (algorithm, text, signature) in vectors() {
            assert!(verifies(algorithm, &KEY, text, &signature), "{}", algorithm.name());
        }
    }

    #[test]
    fn one_changed_bit_spoils_signature_key_and_text() {
        for (algorithm, text, signature) in vectors() {
            for bit in 0..8 * signature.len() {
                let mut changed = signature.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!verifies(algorithm, &KEY, text, &changed), "{} bit {bit}", algorithm.name());
            }
            let (mut key, mut other) = (KEY, text.to_vec());
            key[130] ^= 1;
            other[0] ^= 1;
            assert!(!verifies(algorithm, &key, text, &signature) && !verifies(algorithm, &KEY, &other, &signature));
        }
    }

    #[test]
    fn a_signature_of_another_length_is_refused_without_a_panic() {
        for (algorithm, text, signature) in vectors() {
            for length in (0..=signature.len() + 64).filter(|length| *length != signature.len()) {
                let mut other = signature.clone();
                other.resize(length, 0);
                assert!(!verifies(algorithm, &KEY, text, &other), "{} of {length}", algorithm.name());
            }
        }
    }

    #[test]
    fn an_algorithm_that_is_no_hmac_verifies_nothing() {
        for (_, text, signature) in vectors() {
            for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
                assert!(!verifies(algorithm, &KEY, text, &signature));
            }
        }
    }

    proptest! {
        #[test]
        fn made_up_signatures_are_refused_without_a_panic(
            secret in prop::collection::vec(any::<u8>(), 0..200), text in prop::collection::vec(any::<u8>(), 0..200),
            signature in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            prop_assert!(ALGORITHMS.iter().all(|algorithm| !verifies(*algorithm, &secret, &text, &signature)));
        }
    }
}
