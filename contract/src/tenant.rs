//! Tenant ids.
use serde::{Deserialize, Deserializer, Serialize, de};

/// The longest tenant id, in bytes: it travels in headers, events and Stripe metadata.
pub(crate) const TENANT_ID_MAX_BYTES: usize = 128;

/// The name of a tenant: 1 to [`TENANT_ID_MAX_BYTES`] bytes of `A-Z a-z 0-9 . _ ~ : @ | / + = -`.
///
/// The grammar keeps the id from breaking a header, a URL path or a log line. Case counts. An id never changes its
/// meaning: a customer who leaves and a new one get two ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TenantId(Box<str>);

/// The text is not a tenant id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant id is 1 to {TENANT_ID_MAX_BYTES} characters of A-Z a-z 0-9 . _ ~ : @ | / + = -")]
pub struct TenantIdError;

#[cfg(feature = "schema")]
crate::text_schema!(
    TenantId,
    "1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ | / + = -",
    "acme",
    "^[A-Za-z0-9._~:@|/+=-]{1,128}$"
);

impl TenantId {
    /// Checks the grammar.
    pub fn new(text: &str) -> Result<Self, TenantIdError> {
        let fits = !text.is_empty() && text.len() <= TENANT_ID_MAX_BYTES && text.bytes().all(is_id_byte);
        if fits { Ok(TenantId(text.into())) } else { Err(TenantIdError) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The bytes that ids of tenants, keys and users are made of.
pub const fn is_id_byte(byte: u8) -> bool {
    // Without a branch, so that many bytes are processed side by side. `-./`, `0` to `9` and `:` are consecutive.
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_digit_or_mark = byte.wrapping_sub(b'-') <= b':' - b'-';
    is_letter
        | is_digit_or_mark
        | (byte == b'_')
        | (byte == b'~')
        | (byte == b'@')
        | (byte == b'|')
        | (byte == b'+')
        | (byte == b'=')
}

impl std::str::FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        TenantId::new(text)
    }
}

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::text::Text::deserialize(deserializer)?;
        TenantId::new(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn ids_as_people_write_them_are_taken() {
        for id in ["acme", "auth0|64f0", "org:7/team-a", "a@example.com", "A", &"x".repeat(128)] {
            assert_eq!(TenantId::new(id).map(|t| t.to_string()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn the_bytes_of_ids_are_those_of_the_grammar() {
        for byte in 0..=u8::MAX {
            let right = byte.is_ascii_alphanumeric() || b"._~:@|/+=-".contains(&byte);
            assert_eq!(is_id_byte(byte), right, "{byte:#04x}");
        }
    }

    #[test]
    fn what_could_break_a_header_or_a_line_is_refused() {
        for id in ["", " ", "a b", "a\r\nx-admin: 1", "a,b", "a;b", "ä", "a\0", "\"a\"", &"x".repeat(129)] {
            assert_eq!(TenantId::new(id), Err(TenantIdError), "{id:?}");
        }
    }
}
