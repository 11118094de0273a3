//! Providers' keys of tenants, as the directory hands them to a gateway.
//!
//! Every gateway that reads this addition learns which keys a tenant has ([`ProviderKey`]). The key itself is on the page only
//! for a gateway that may have it, sealed to a public key that the asking worker has made (`weir-key-delivery`).
//!
//! # Constraints
//!
//! - A gateway of an earlier version refuses a page with a field that it does not know. So a gateway that reads these fields says
//!   so in [`crate::stage::KNOWS_HEADER`] with [`KNOWS_VAULT`], and a server leaves them out for any other.
//! - A key that is listed without `sealed` cannot be used: the gateway refuses the requests that need it.
//! - [`ProviderKey::sealed_bytes`] reserves room on the page. It grows with the key in steps, so it does not tell its length.
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The word in [`crate::stage::KNOWS_HEADER`] that asks for providers' keys.
pub const KNOWS_VAULT: &str = "vault";
/// The header with a worker's public key and the number of its call: 64 hex digits, a dot, a number.
pub const RECIPIENT_HEADER: &str = "x-weir-vault-key";
/// The most providers of which a tenant has keys.
pub const PROVIDER_KEYS_MAX: usize = 16;
/// The longest key of a provider, in bytes.
pub const SECRET_MAX_BYTES: usize = 1_024;
/// The shortest key of a provider, in bytes: with a shorter one the last four characters would tell much.
pub const SECRET_MIN_BYTES: usize = 16;

/// A tenant's key at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProviderKey {
    /// The provider.
    pub provider: Box<str>,
    /// Counts the keys that the tenant has had there.
    pub version: u64,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// How many characters `sealed` has.
    pub sealed_bytes: u32,
    /// The key, sealed to the gateway that asked; absent where it may not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Box<str>>,
}

/// Whether a text can be a key: it goes into a header as it is.
pub fn is_secret(text: &str) -> bool {
    (SECRET_MIN_BYTES..=SECRET_MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_no_header_carries_is_no_key() {
        assert!(is_secret("sk-proj-0123456789"));
        for text in ["short", "sk-proj-01234 56789", "sk-proj-0123456789\n", "sk-pröj-0123456789", &"x".repeat(1_025)]
        {
            assert!(!is_secret(text), "{text:?}");
        }
    }

    #[test]
    fn a_key_that_was_not_handed_over_is_read_without_it() {
        let text = r#"{"provider":"openai","version":3,"sealed_bytes":120}"#;
        let key: ProviderKey = serde_json::from_str(text).expect("a key");
        assert_eq!((key.version, key.sealed.is_none()), (3, true));
        assert_eq!(serde_json::to_string(&key).expect("JSON"), text);
    }
}
