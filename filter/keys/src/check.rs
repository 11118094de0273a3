//! Verifies one signature.
use std::borrow::Cow;

use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};

use weir_config::algorithm::{Algorithm, Family};

use crate::der::Numbers;
use crate::{KeyError, mac};

/// The fewest bits of an RSA modulus (RFC 7518, 3.3).
const RSA_MIN_BITS: usize = 2048;

/// Asks the gateway to verify; None if it cannot.
pub type Native = fn(&Signed<'_>) -> Option<bool>;

/// A verification that the gateway is asked for.
#[derive(Clone, Debug)]
pub struct Signed<'a> {
    /// The hash: `sha256`, `sha384` or `sha512`.
    pub hash: &'static str,
    /// The key, as DER `SubjectPublicKeyInfo`.
    pub spki: &'a [u8],
    /// The signature; of ECDSA as DER.
    pub signature: Cow<'a, [u8]>,
    /// The signed text.
    pub text: &'a [u8],
}

/// The hash name that the gateway's own verifier takes; None where the gateway cannot verify this algorithm.
pub const fn native_hash(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::RS256 | Algorithm::ES256 => Some("sha256"),
        Algorithm::RS384 => Some("sha384"),
        Algorithm::RS512 => Some("sha512"),
        _ => None,
    }
}

/// The gateway has no verifier of its own.
pub fn no_native(_: &Signed<'_>) -> Option<bool> {
    None
}

/// A key in the form that verifies.
pub(super) enum Verifier {
    Secret(Box<[u8]>),
    Rsa(Box<RsaPublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl Verifier {
    pub(super) fn public(algorithm: Algorithm, numbers: &Numbers) -> Result<Self, KeyError> {
        let found = match (algorithm.family(), numbers) {
            (Family::Rsa, Numbers::Rsa(modulus, exponent)) => rsa_key(modulus, exponent),
            (Family::P256, Numbers::P256(point)) => {
                p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(|key| Verifier::P256(Box::new(key)))
            }
            (Family::Ed25519, Numbers::Ed25519(bytes)) => {
                let key = <&[u8; 32]>::try_from(bytes.as_slice()).ok();
                let key = key.and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok());
                key.filter(|key| !key.is_weak()).map(|key| Verifier::Ed25519(Box::new(key)))
            }
            _ => return Err(KeyError::Mismatch(algorithm)),
        };
        found.ok_or(KeyError::Numbers)
    }

    pub(super) fn verifies(
        &self,
        algorithm: Algorithm,
        spki: &[u8],
        text: &[u8],
        signature: &[u8],
        native: Native,
    ) -> bool {
        if let Some(answer) = self.ask(algorithm, spki, text, signature, native) {
            return answer;
        }
        match self {
            Verifier::Secret(secret) => mac::verifies(algorithm, secret, text, signature),
            Verifier::Rsa(key) => rsa(key, algorithm, text, signature),
            Verifier::P256(key) => {
                use p256::ecdsa::signature::Verifier as _;
                p256::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify(text, &signature).is_ok())
            }
            Verifier::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(text, &signature).is_ok()),
        }
    }

    /// The gateway's answer. A signature of the wrong length is refused before the gateway sees it.
    fn ask(&self, algorithm: Algorithm, spki: &[u8], text: &[u8], signature: &[u8], native: Native) -> Option<bool> {
        let hash = native_hash(algorithm)?;
        let signature = match self {
            Verifier::Rsa(key) if signature.len() == key.size() => Cow::Borrowed(signature),
            Verifier::P256(_) => {
                Cow::Owned(p256::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes().to_vec())
            }
            _ => return None,
        };
        native(&Signed { hash, spki, signature, text })
    }
}

fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Option<Verifier> {
    // The library itself refuses a modulus above 4096 bits, an even exponent and an exponent above 33 bits.
    let key = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent)).ok()?;
    (key.n().bits() >= RSA_MIN_BITS).then(|| Verifier::Rsa(Box::new(key)))
}

fn rsa(key: &RsaPublicKey, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
    match algorithm {
        Algorithm::PS256 => key.verify(Pss::new::<Sha256>(), &Sha256::digest(text), signature),
        Algorithm::RS384 => key.verify(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(text), signature),
        Algorithm::RS512 => key.verify(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(text), signature),
        _ => key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text), signature),
    }
    .is_ok()
}
