//! Keys that verify tokens, each bound to one algorithm.
//!
//! People write a key as a secret, as PEM, or as a JSON web key ([`jwk`]). Each form becomes the numbers of [`der`],
//! from which both this crate's verifier ([`check`]) and the gateway's own take the key.
//!
//! A separate crate because no request waits for it where the gateway verifies: `weir.wasm` compiles it for size, not
//! speed.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod check;
pub mod der;
pub mod jwk;
mod mac;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use weir_config::algorithm::{Algorithm, Family};

use check::Verifier;
use der::Numbers;

/// A key, ready to verify.
pub struct Key {
    kid: Option<Box<str>>,
    algorithm: Algorithm,
    verifier: Verifier,
    /// The `SubjectPublicKeyInfo` of a public key, or the bytes of a secret. Keys are compared by it.
    material: Box<[u8]>,
}

/// Why a key is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is shorter than the algorithm's hash, so it could be guessed.
    #[error("an {} secret has at least {} bytes (RFC 7518, 3.2)", .0.name(), secret_min_bytes(*.0))]
    ShortSecret(Algorithm),
    /// The text is not a public key in PEM.
    #[error("expected PEM: BEGIN PUBLIC KEY or BEGIN RSA PUBLIC KEY, RSA, P-256 or Ed25519")]
    Pem,
    /// The key is not of the kind that its algorithm takes.
    #[error("{} does not go with a key of this kind", .0.name())]
    Mismatch(Algorithm),
    /// The key's numbers are not valid.
    #[error("these numbers are no public key: RSA has 2048 to 4096 bits, a point lies on its curve")]
    Numbers,
    /// The JSON web key is malformed or unsupported.
    #[error("{0}")]
    Jwk(&'static str),
}

impl Key {
    /// A key from a shared secret.
    pub fn secret(kid: Option<&str>, algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        if algorithm.family() != Family::Secret {
            return Err(KeyError::Mismatch(algorithm));
        }
        if secret.len() < secret_min_bytes(algorithm) {
            return Err(KeyError::ShortSecret(algorithm));
        }
        let verifier = Verifier::Secret(secret.into());
        Ok(Key { kid: kid.map(Into::into), algorithm, verifier, material: secret.into() })
    }

    /// A key from a public key in PEM (RFC 7468).
    pub fn pem(kid: Option<&str>, algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        Self::public(kid, algorithm, &read_pem(pem).ok_or(KeyError::Pem)?)
    }

    /// A key from the numbers of a public key.
    pub fn public(kid: Option<&str>, algorithm: Algorithm, numbers: &Numbers) -> Result<Self, KeyError> {
        let verifier = Verifier::public(algorithm, numbers)?;
        Ok(Key { kid: kid.map(Into::into), algorithm, verifier, material: der::spki(numbers).into() })
    }

    /// The key's `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The only algorithm that the key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns true if this key may have signed a token with this `kid`. A token without one may be signed by any key.
    pub fn answers_to(&self, kid: Option<&str>) -> bool {
        match (kid, self.kid()) {
            (Some(asked), Some(own)) => asked == own,
            _ => true,
        }
    }

    /// Verifies `signature` over `text`: by the gateway where it can, else in WebAssembly.
    pub fn verifies(&self, text: &[u8], signature: &[u8], native: check::Native) -> bool {
        self.verifier.verifies(self.algorithm, &self.material, text, signature, native)
    }
}

/// Equal in name, algorithm and numbers. Tells whether a newly fetched set still holds a key.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid && self.algorithm == other.algorithm && self.material == other.material
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The least length of a shared secret, in bytes: the length of the hash (RFC 7518, 3.2).
const fn secret_min_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 32,
    }
}

fn read_pem(pem: &str) -> Option<Numbers> {
    let between = |label: &str| {
        let body = pem.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
        let body = body.strip_suffix(&format!("-----END {label}-----"))?;
        STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
    };
    match between("PUBLIC KEY") {
        Some(der) => der::read_spki(&der),
        None => der::read_rsa(&between("RSA PUBLIC KEY")?),
    }
}
