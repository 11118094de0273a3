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
            if escapes(segment) {
                href.0.push(ESCAPE);
            }
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

/// Stands before a segment of dots alone, which would name another folder (browsers read `%2e` as a dot as well), and before one that
/// begins with it itself.
const ESCAPE: char = '~';

fn escapes(segment: &str) -> bool {
    matches!(segment, "." | "..") || segment.starts_with(ESCAPE)
}

/// The name that a segment of an address stands for, once its percent-encoding is undone.
pub fn named(segment: &str) -> &str {
    segment.strip_prefix(ESCAPE).unwrap_or(segment)
}

/// Writes what RFC 3986 calls unreserved as it is, and every other byte as `%XX`.
fn encode(out: &mut String, text: &str) {
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
        for (name, segment) in [("..", "~.."), (".", "~."), ("~.", "~~."), ("~", "~~"), ("a~", "a~"), ("...", "...")] {
            assert_eq!(Href::to(&["tenants", name]).as_str(), format!("/ui/tenants/{segment}"));
            assert_eq!(named(segment), name);
        }
        assert_eq!(Href::to(&["requests"]).with("id", "..").as_str(), "/ui/requests?id=..");
        assert_eq!(Href::to(&["tenants", "é"]).with("a", "").with("b", "1").as_str(), "/ui/tenants/%C3%A9?a=&b=1");
    }
}
