//! Addresses of pages. Built of parts, each percent-encoded, so that a tenant's name can neither leave `/ui` nor add a parameter.
use std::fmt::Write;

/// The address of a page below `/ui`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Href(String);

impl Href {
    /// `/ui` and these segments.
    pub fn to(segments: &[&str]) -> Self {
        let mut href = Href("/ui".to_owned());
        for segment in segments {
            href.0.push('/');
            encode(&mut href.0, segment);
        }
        href
    }

    /// The same with a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        encode(&mut self.0, name);
        self.0.push('=');
        encode(&mut self.0, value);
        self
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes what RFC 3986 calls unreserved as it is, and every other byte as `%XX`. A segment of dots alone would name another
/// folder, and browsers read `%2e` as a dot as well, so such a segment becomes one that no page has.
fn encode(out: &mut String, text: &str) {
    if matches!(text, "." | "..") {
        out.push('~');
    }
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment_or_one_value() {
        let href = Href::to(&["tenants", "a/../b?c#d\"<"]).with("by", "x&y=z");
        assert_eq!(href.as_str(), "/ui/tenants/a%2F..%2Fb%3Fc%23d%22%3C?by=x%26y%3Dz");
        assert_eq!(Href::to(&["tenants", ".."]).as_str(), "/ui/tenants/~..");
        assert_eq!(Href::to(&["tenants", "é"]).with("a", "").with("b", "1").as_str(), "/ui/tenants/%C3%A9?a=&b=1");
    }
}
