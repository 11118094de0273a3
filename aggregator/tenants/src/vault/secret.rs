//! A provider's key as a tenant hands it in.
use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};
use weir_contract::vault::{SECRET_MAX_BYTES, SECRET_MIN_BYTES, is_secret};
use zeroize::Zeroizing;

/// How many hex digits of a key's SHA-256 are its fingerprint.
const FINGERPRINT_DIGITS: usize = 16;
/// How many of its last characters are shown.
const SHOWN_CHARS: usize = 4;

/// A provider's key. No error and no debug output repeats it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderSecret(Zeroizing<String>);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a provider's key has {SECRET_MIN_BYTES} to {SECRET_MAX_BYTES} printable ASCII characters without spaces")]
pub struct NoSecret;

impl ProviderSecret {
    /// The key of a text, without the white space around it.
    pub fn new(text: &str) -> Result<Self, NoSecret> {
        let text = text.trim();
        if is_secret(text) { Ok(ProviderSecret(Zeroizing::new(text.to_owned()))) } else { Err(NoSecret) }
    }

    /// The key.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The first digits of its SHA-256: they identify a key to its owner, and do not reveal it.
    pub fn fingerprint(&self) -> String {
        let mut digits = hex::encode(Sha256::digest(self.0.as_bytes()));
        digits.truncate(FINGERPRINT_DIGITS);
        digits
    }

    /// Its last characters.
    pub fn last_four(&self) -> &str {
        self.0.get(self.0.len().saturating_sub(SHOWN_CHARS)..).unwrap_or_default()
    }
}

impl std::fmt::Debug for ProviderSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProviderSecret(…)")
    }
}

impl<'de> Deserialize<'de> for ProviderSecret {
    /// By hand, since the error of a derived one repeats the value.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer).map_err(|_| de::Error::custom(NoSecret))?);
        ProviderSecret::new(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_by_fingerprint_and_last_four() {
        let secret = ProviderSecret::new("sk-proj-0123456789abcdef\n").expect("a key");
        assert_eq!((secret.last_four(), secret.fingerprint().len()), ("cdef", 16));
        assert_eq!(format!("{secret:?}"), "ProviderSecret(…)");
    }

    #[test]
    fn what_is_no_key_is_not_repeated() {
        for json in
            [r#""sk-1""#, "1234567890123456789", r#"["sk-proj-0123456789abcdef"]"#, r#""sk-proj 0123456789abcdef""#]
        {
            let problem = serde_json::from_str::<ProviderSecret>(json).expect_err("no key").to_string();
            assert!(problem.contains("printable ASCII") && !problem.contains("0123456789"), "{problem}");
        }
    }
}
