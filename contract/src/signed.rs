//! An event as one word of a log line, signed.
//!
//! When a worker's queue is full, an event leaves as a log line; `weir replay` reads it back. A client can put any
//! text into a log (a User-Agent is enough), so the word carries an HMAC under a key of the configuration:
//!
//! `weir1.{base64url(event JSON)}.{base64url(HMAC-SHA256(key, "weir1." + first part))}`
//!
//! Base64url survives any quoting, escaping or JSON around the line.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The prefix of a signed event.
pub const PREFIX: &str = "weir1.";
/// The fewest bytes of a signing key: as many as the hash has.
pub(crate) const KEY_MIN_BYTES: usize = 32;

/// The key that signs events in logs, ready to hash. Its bytes are never shown.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The key is shorter than [`KEY_MIN_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing key has at least {KEY_MIN_BYTES} bytes")]
pub struct KeyTooShort;

/// Why a word of a log is not a signed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// It has another form.
    #[error("not a signed event: expected weir1.EVENT.SIGNATURE in base64url")]
    Form,
    /// It was signed under another key, forged, or damaged.
    #[error("the signature does not match")]
    Signature,
}

impl SigningKey {
    /// Takes a key of at least [`KEY_MIN_BYTES`].
    pub fn new(key: &[u8]) -> Result<Self, KeyTooShort> {
        if key.len() < KEY_MIN_BYTES {
            return Err(KeyTooShort);
        }
        Hmac::new_from_slice(key).map(SigningKey).map_err(|_| KeyTooShort)
    }

    /// The event as a signed word.
    pub fn sign(&self, event: &[u8]) -> String {
        let mut word = String::from(PREFIX);
        URL_SAFE_NO_PAD.encode_string(event, &mut word);
        let mac = self.mac(&word).finalize().into_bytes();
        word.push('.');
        URL_SAFE_NO_PAD.encode_string(mac, &mut word);
        word
    }

    /// The event's JSON, if `word` was signed under this key. The comparison takes constant time.
    pub fn open(&self, word: &str) -> Result<Vec<u8>, SignedError> {
        let (signed, mac) = word.rsplit_once('.').ok_or(SignedError::Form)?;
        let event = signed.strip_prefix(PREFIX).ok_or(SignedError::Form)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| SignedError::Form)?;
        self.mac(signed).verify_slice(&mac).map_err(|_| SignedError::Signature)?;
        URL_SAFE_NO_PAD.decode(event).map_err(|_| SignedError::Form)
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn key(byte: u8) -> SigningKey {
        SigningKey::new(&[byte; 32]).expect("long enough")
    }

    #[test]
    fn a_signed_event_is_one_word_and_opens_under_its_key_only() {
        let word = key(1).sign(br#"{"id":"x \"quoted\""}"#);
        assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')), "{word}");
        assert_eq!(key(1).open(&word).as_deref(), Ok(&br#"{"id":"x \"quoted\""}"#[..]));
        assert_eq!(key(2).open(&word), Err(SignedError::Signature));
    }

    #[test]
    fn a_changed_word_is_refused() {
        let word = key(1).sign(b"{}");
        let mut other = SigningKey::sign(&key(1), b"{ }");
        other.replace_range(..other.rfind('.').unwrap_or(0), &word[..word.rfind('.').unwrap_or(0)]);
        assert_eq!(key(1).open(&other), Err(SignedError::Signature));
        assert_eq!(key(1).open("weir1.e30"), Err(SignedError::Form));
        assert_eq!(key(1).open("hello"), Err(SignedError::Form));
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_ever_shown() {
        assert_eq!(SigningKey::new(&[0; 31]).err(), Some(KeyTooShort));
        assert_eq!(format!("{:?}", key(0x41)), "SigningKey(…)");
    }
}
