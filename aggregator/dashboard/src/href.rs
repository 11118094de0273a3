//! Addresses of pages. Built of parts, each percent-encoded, so that a tenant's name can neither leave `/ui` nor add a parameter.
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

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

    /// An address below `/ui` that a browser sent, such as that of the page that a person wanted before signing in. None for one that could
    /// lead anywhere else, in whatever way a browser reads it.
    pub fn local(address: &str) -> Option<Self> {
        let is_path = address.starts_with("/ui/") && address.len() <= LOCAL_MAX_BYTES;
        let is_plain =
            address.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'<' | b'>' | b'"'));
        let path = address.split('?').next().unwrap_or_default();
        let leaves =
            path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | "..") || is_dots(segment));
        (is_path && is_plain && !leaves).then(|| Href(address.to_owned()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The longest address that is kept through signing in, in bytes.
const LOCAL_MAX_BYTES: usize = 1_000;

/// Whether a segment is made of dots, some of them percent-encoded, which browsers undo.
fn is_dots(segment: &str) -> bool {
    segment.contains('%') && matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
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

/// The names in an address below `/ui`, as a server reads them.
pub fn names(path: &str) -> Vec<String> {
    let path = path.strip_prefix("/ui/").unwrap_or(path);
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| named(&percent_decode_str(segment).decode_utf8_lossy()).to_owned()).collect()
}

/// What is written as `%XX`: all but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encode(out: &mut String, text: &str) {
    out.extend(utf8_percent_encode(text, ENCODED));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_a_browser_sent_stays_below_the_dashboard() {
        for good in ["/ui/tenants/acme?by=feature", "/ui/tenants/~..", "/ui/requests?id=a%2F..%2Fb&x=//y", "/ui/own"] {
            assert_eq!(Href::local(good).as_ref().map(Href::as_str), Some(good));
        }
        let long = format!("/ui/{}", "a".repeat(LOCAL_MAX_BYTES));
        for evil in [
            "",
            "/",
            "/ui",
            "https://evil.example",
            "//evil.example",
            "/ui//evil.example",
            "/ui/../evil",
            "/ui/%2e%2E/x",
            "/ui/.%2e//evil.example",
            "/ui/\\evil.example",
            "/ui/a b",
            "/ui/\r\nSet-Cookie:x",
            "/uix",
            "javascript:alert(1)",
            " /ui/own",
            "/ui/\u{e9}",
            "/ui/own#x",
            &long,
        ] {
            assert_eq!(Href::local(evil), None, "{evil}");
        }
    }

    #[test]
    fn names_stay_one_segment_or_one_value() {
        let href = Href::to(&["tenants", "a/../b?c#d\"<"]).with("by", "x&y=z");
        assert_eq!(href.as_str(), "/ui/tenants/a%2F..%2Fb%3Fc%23d%22%3C?by=x%26y%3Dz");
        for (name, segment) in [("..", "~.."), (".", "~."), ("~.", "~~."), ("~", "~~"), ("a~", "a~"), ("...", "...")] {
            assert_eq!(Href::to(&["tenants", name]).as_str(), format!("/ui/tenants/{segment}"));
            assert_eq!(named(segment), name);
        }
        for name in ["..", "~x", "a/b?c", "é%", "acme"] {
            assert_eq!(names(Href::to(&["tenants", name, "keys"]).as_str()), ["tenants", name, "keys"]);
        }
        assert_eq!(names("/tenants/%zz%+4%4"), ["tenants", "%zz%+4%4"], "no encoding stays as it is");
        assert_eq!(Href::to(&["requests"]).with("id", "..").as_str(), "/ui/requests?id=..");
        assert_eq!(Href::to(&["tenants", "é"]).with("a", "").with("b", "1").as_str(), "/ui/tenants/%C3%A9?a=&b=1");
    }
}
