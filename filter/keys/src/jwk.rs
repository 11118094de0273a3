//! Keys from JSON web keys, and sets of them (RFC 7517; RFC 7518, section 6; RFC 8037).
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use weir_config::algorithm::{Algorithm, Family};
use weir_config::jwk::Jwk;

use crate::der::{self, Numbers};
use crate::{Key, KeyError};

/// The most keys of one set; providers publish two to six.
pub const KEYS_MAX: usize = 64;

impl Key {
    /// A key from a JSON web key. `rsa` is the algorithm of RSA keys that name none; some providers leave it out.
    pub fn jwk(jwk: &Jwk, rsa: Algorithm) -> Result<Self, KeyError> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err(KeyError::Jwk("its use is not sig"));
        }
        if jwk.operations.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return Err(KeyError::Jwk("its key_ops do not include verify"));
        }
        let algorithm = algorithm(jwk, rsa)?;
        let kid = jwk.kid.as_deref();
        let numbers = match algorithm.family() {
            Family::Secret => {
                let secret = bytes(&jwk.k).ok_or(KeyError::Jwk("an oct key has k, in base64url"))?;
                return Key::secret(kid, algorithm, &secret);
            }
            Family::Rsa => bytes(&jwk.n)
                .zip(bytes(&jwk.e))
                .map(|(n, e)| Numbers::Rsa(der::unsigned(&n), der::unsigned(&e)))
                .ok_or(KeyError::Jwk("an RSA key has n and e, in base64url"))?,
            Family::P256 => bytes(&jwk.x)
                .zip(bytes(&jwk.y))
                .map(|(x, y)| Numbers::P256([vec![4], x, y].concat()))
                .ok_or(KeyError::Jwk("an EC key has x and y, in base64url"))?,
            Family::Ed25519 => {
                bytes(&jwk.x).map(Numbers::Ed25519).ok_or(KeyError::Jwk("an OKP key has x, in base64url"))?
            }
        };
        Key::public(kid, algorithm, &numbers)
    }
}

/// The algorithm that a JSON web key names, or that its kind implies.
fn algorithm(jwk: &Jwk, rsa: Algorithm) -> Result<Algorithm, KeyError> {
    let kind = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => rsa,
        ("EC", Some("P-256")) => Algorithm::ES256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
        ("oct", _) => Algorithm::HS256,
        _ => return Err(KeyError::Jwk("kty and crv are RSA, EC with P-256, OKP with Ed25519, or oct")),
    };
    let Some(name) = &jwk.alg else {
        // A secret fits three algorithms, so the configuration must name one.
        return if kind.family() == Family::Secret { Err(KeyError::Jwk("an oct key names its alg")) } else { Ok(kind) };
    };
    let named = Algorithm::named(name).ok_or(KeyError::Jwk("its alg is none that weir verifies"))?;
    if named.family() == kind.family() { Ok(named) } else { Err(KeyError::Mismatch(named)) }
}

/// The bytes of a member. RFC 7517 prescribes base64url without padding; some providers publish plain base64 (RFC 4648,
/// section 4), which is unambiguous.
fn bytes(member: &Option<String>) -> Option<Vec<u8>> {
    let text = member.as_deref()?.trim_end_matches('=');
    let plain = |byte: u8| matches!(byte, b'+' | b'/');
    if !text.bytes().any(plain) {
        return URL_SAFE_NO_PAD.decode(text).ok();
    }
    STANDARD_NO_PAD.decode(text).ok()
}

/// A set of keys (RFC 7517, section 5).
#[derive(Debug, Default, PartialEq)]
pub struct KeySet {
    /// Keys that can verify tokens.
    pub keys: Vec<Key>,
    /// All other keys.
    pub ignored: Vec<IgnoredKey>,
}

/// An ignored key of a set. RFC 7517 demands this: sets contain keys for other purposes and of other kinds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keys[{at}]{} is ignored: {why}", .kid.as_ref().map(|kid| format!(" (kid {kid:?})")).unwrap_or_default())]
pub struct IgnoredKey {
    /// Its index in the set.
    pub at: usize,
    /// Its name.
    pub kid: Option<String>,
    /// Why it cannot be used.
    pub why: KeyError,
}

impl KeySet {
    /// Adds the next key of a set, or ignores it.
    pub fn add(&mut self, at: usize, jwk: &Jwk, key: Result<Key, KeyError>) {
        match key {
            Ok(key) => self.keys.push(key),
            Err(why) => self.ignored.push(IgnoredKey { at, kid: jwk.kid.clone(), why }),
        }
    }
}

/// Reads the public keys of a fetched set. Ignores shared secrets too: a secret that anyone can fetch is not secret.
/// None if the bytes are not a set.
pub fn read_set(json: &[u8], rsa: Algorithm) -> Option<KeySet> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a serde_json::value::RawValue>,
    }
    let read: Set<'_> = serde_json::from_slice(json).ok()?;
    let mut set = KeySet::default();
    for (at, raw) in read.keys.iter().take(KEYS_MAX).enumerate() {
        match serde_json::from_str::<Jwk>(raw.get()) {
            Ok(jwk) if jwk.kty == "oct" => set.add(at, &jwk, Err(KeyError::Jwk("a secret that is published is none"))),
            Ok(jwk) => set.add(at, &jwk, Key::jwk(&jwk, rsa)),
            Err(_) => set.add(at, &Jwk::default(), Err(KeyError::Jwk("it is no JSON web key"))),
        }
    }
    Some(set)
}
