//! Finds the credentials of a request.
//!
//! `Authorization: Bearer` is read as RFC 6750 and RFC 9110 define it: the scheme in any case, then one or more
//! spaces. No source claims anything else in `Authorization`.
use weir_llm_usage::bytes::any;

use super::Sources;
use crate::head::{CREDENTIALS_MAX, Head};
use crate::refusal::{Invalid, Refusal};

/// The longest credential, in bytes; a longer one is malformed. Gateways accept about 60 KB of headers.
pub(crate) const CREDENTIAL_MAX_BYTES: usize = 16 * 1024;

/// A credential that a source has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// An API key, whole.
    Key(&'a [u8]),
    /// A JSON web token in compact form.
    Token(&'a str),
}

/// Every credential that a source claims. A credential that no source claims, in a header that carries credentials,
/// is invalid: a clear 401 is better than a request that goes on under another name.
pub fn claimed<'a>(head: &Head<'a>, sources: &Sources) -> Result<Vec<Credential<'a>>, Refusal> {
    let mut claimed = Vec::new();
    for carrier in sources.carriers() {
        for value in head.values(carrier) {
            if claimed.len() == CREDENTIALS_MAX {
                return Err(Refusal::InvalidCredential(Invalid::TooMany));
            }
            let malformed = Refusal::InvalidCredential(Invalid::Malformed);
            let value = if **carrier == *"authorization" { bearer(value).ok_or(malformed)? } else { value };
            if value.is_empty() || value.len() > CREDENTIAL_MAX_BYTES {
                return Err(malformed);
            }
            claimed.push(claim(carrier, value, sources).ok_or(Refusal::InvalidCredential(Invalid::Unknown))?);
        }
    }
    Ok(claimed)
}

/// Whether a source claims the value of a header that carries credentials.
pub(crate) fn is_claimed(carrier: &str, value: &[u8], sources: &Sources) -> bool {
    let value = if carrier == "authorization" { bearer(value) } else { Some(value) };
    value.is_some_and(|value| claim(carrier, value, sources).is_some())
}

fn claim<'a>(carrier: &str, value: &'a [u8], sources: &Sources) -> Option<Credential<'a>> {
    let keys = sources.keys.iter().filter(|source| *source.header == *carrier);
    let prefixed =
        |source: &&super::KeySource| !source.prefix.is_empty() && value.starts_with(source.prefix.as_bytes());
    if keys.clone().any(|source| prefixed(&source)) {
        return Some(Credential::Key(value));
    }
    if carrier == "authorization"
        && !sources.issuers.is_empty()
        && let Some(token) = token_form(value)
    {
        return Some(Credential::Token(token));
    }
    keys.clone().any(|source| source.prefix.is_empty()).then_some(Credential::Key(value))
}

/// The compact form of RFC 7515: three parts of base64url, joined by dots.
fn token_form(value: &[u8]) -> Option<&str> {
    let dots = memchr::memchr_iter(b'.', value).count();
    (dots == 2 && has_form(value)).then_some(std::str::from_utf8(value).ok()?)
}

/// Whether all bytes are of base64url, or dots.
fn has_form(value: &[u8]) -> bool {
    !any(value, |byte: u8| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let is_digit = byte.wrapping_sub(b'0') < 10;
        !(is_letter | is_digit | (byte == b'-') | (byte == b'_') | (byte == b'.'))
    })
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.trim_ascii();
    // As `u8::is_ascii_whitespace`, without a branch.
    let space = |byte: u8| (byte == b' ') | (byte == b'\t') | (byte == b'\n') | (byte == 0x0c) | (byte == b'\r');
    (scheme.eq_ignore_ascii_case(b"bearer") && rest.starts_with(b" ") && !any(token, space)).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_bearer_is_read_in_any_case_and_only_behind_a_space() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bEARER   abc "), Some(&b"abc"[..]));
        for value in [&b"Bearer"[..], b"Bearerabc", b"Bearer\tabc", b"Basic abc", b"", b"Bearer a b"] {
            assert_eq!(bearer(value), None, "{}", String::from_utf8_lossy(value));
        }
        assert_eq!(bearer(b"Bearer "), Some(&b""[..]), "an empty token is there, and malformed");
        for byte in 0..=u8::MAX {
            let value = [&b"Bearer a"[..], &[b'x'; 20], &[byte], b"a"].concat();
            assert_eq!(bearer(&value).is_none(), byte.is_ascii_whitespace(), "{byte:#04x}");
        }
    }

    #[test]
    fn a_token_has_three_parts_of_base64url() {
        assert_eq!(token_form(b"a.b.c"), Some("a.b.c"));
        for byte in 0..=u8::MAX {
            for place in 0..40 {
                let mut value = *b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
                value[place] = byte;
                let good = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
                assert_eq!(has_form(&value), good, "{byte:#04x} at {place}");
            }
        }
        for value in [&b"a.b"[..], b"a.b.c.d", b"a.b.c=", b"a b.c.d", b"\xff.b.c"] {
            assert_eq!(token_form(value), None, "{}", String::from_utf8_lossy(value));
        }
    }
}
