//! The algorithms that sign tokens (RFC 7518, section 3; RFC 8037).
use serde::{Deserialize, Serialize};

/// An algorithm, bound to a key. `none` is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    RS256,
    /// RSA, PKCS #1 v1.5, with SHA-384.
    RS384,
    /// RSA, PKCS #1 v1.5, with SHA-512.
    RS512,
    /// RSA, PSS, with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// The kind of key that an algorithm takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A shared secret.
    Secret,
    /// An RSA public key.
    Rsa,
    /// A point on P-256.
    P256,
    /// An Ed25519 public key.
    Ed25519,
}

impl Algorithm {
    /// The algorithm's name in a token's `alg`; case-sensitive.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::HS256 => "HS256",
            Algorithm::HS384 => "HS384",
            Algorithm::HS512 => "HS512",
            Algorithm::RS256 => "RS256",
            Algorithm::RS384 => "RS384",
            Algorithm::RS512 => "RS512",
            Algorithm::PS256 => "PS256",
            Algorithm::ES256 => "ES256",
            Algorithm::EdDSA => "EdDSA",
        }
    }

    /// Finds an algorithm by that name.
    pub fn named(name: &str) -> Option<Self> {
        use Algorithm::*;
        [HS256, HS384, HS512, RS256, RS384, RS512, PS256, ES256, EdDSA].into_iter().find(|known| known.name() == name)
    }

    /// The kind of key that the algorithm takes.
    pub const fn family(self) -> Family {
        match self {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Family::Secret,
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 | Algorithm::PS256 => Family::Rsa,
            Algorithm::ES256 => Family::P256,
            Algorithm::EdDSA => Family::Ed25519,
        }
    }

    /// The hash name that the gateway's own verifier takes; None where the gateway cannot verify this algorithm.
    pub const fn native_hash(self) -> Option<&'static str> {
        match self {
            Algorithm::RS256 | Algorithm::ES256 => Some("sha256"),
            Algorithm::RS384 => Some("sha384"),
            Algorithm::RS512 => Some("sha512"),
            _ => None,
        }
    }

    /// Cost of one verification in WebAssembly, in microseconds, measured in Envoy. A token that is not cached draws
    /// this from its worker's budget.
    pub const fn cost_us(self) -> u64 {
        match self.family() {
            Family::Secret => 10,
            Family::Ed25519 => 650,
            Family::Rsa => 3_400,
            Family::P256 => 7_000,
        }
    }

    /// The least length of a shared secret, in bytes: the length of the hash (RFC 7518, 3.2).
    pub const fn secret_min_bytes(self) -> usize {
        match self {
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
            _ => 32,
        }
    }
}
