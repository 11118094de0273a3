//! The compact form of a signed token (RFC 7515, section 3.1): `header.payload.signature`, each in base64url.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::refusal::Invalid;

/// The longest `kid`, in bytes: a SHA-256 in hex has 64.
const KEY_ID_MAX_BYTES: usize = 256;

/// A token taken apart; nothing in it is verified.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    /// The signed text.
    pub signed: &'a str,
    /// `alg` and `kid`.
    pub header: Header,
    /// The payload's bytes.
    pub payload: Vec<u8>,
    /// The signature's bytes.
    pub signature: Vec<u8>,
}

/// The part of the header that selects the key. The sender controls all of it: `jwk`, `jku`, `x5u` and `x5c`, which
/// bring or point to keys, are ignored.
#[derive(Debug, Deserialize)]
pub struct Header {
    /// The algorithm that the sender claims.
    pub alg: String,
    /// The name of the signing key.
    #[serde(default)]
    pub kid: Option<String>,
    /// Extensions that must be understood (RFC 7515, 4.1.11). None is, so a token with any is refused.
    #[serde(default)]
    crit: Option<Value>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    pub(crate) fn parse(token: &'a str) -> Result<Self, Invalid> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Invalid::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Invalid::Malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Invalid::Malformed)?;
        let kid_fits = header.kid.as_ref().is_none_or(|kid| kid.len() <= KEY_ID_MAX_BYTES);
        if header.crit.is_some() || !kid_fits {
            return Err(Invalid::Malformed);
        }
        Ok(Jws { signed, header, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// Decodes base64url without padding (RFC 7515, section 2). Only one spelling is accepted, so that a token has no
/// second form.
pub fn decode(text: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid::Malformed)
}
