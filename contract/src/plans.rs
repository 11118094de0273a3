//! The plans of a gateway, as it announces them to the aggregator with each call for the directory: names with commas
//! between them, in which everything but letters, digits, `.`, `-` and `_` is percent-encoded.
use std::borrow::Cow;
use std::fmt::Write;

/// The header of the announcement.
pub const PLANS_HEADER: &str = "weir-plans";
/// The longest announcement, in bytes. A gateway with more plans announces none of them: a part would be misleading.
pub(crate) const PLANS_MAX_BYTES: usize = 8 * 1024;

/// Writes the names; None if there are none, or too many.
pub fn write<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&percent_encoded(name));
    }
    (!text.is_empty() && text.len() <= PLANS_MAX_BYTES).then_some(text)
}

/// A text with everything but letters, digits, `.`, `-` and `_` percent-encoded: it fits into a path and a header.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String never fails.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Reads the names of an announcement.
pub fn read(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split(',').map(|name| if name.contains('%') { Cow::Owned(decoded(name)) } else { Cow::Borrowed(name) })
}

fn decoded(name: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(name.len()), name.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let byte = after.get(..2).filter(|_| first == b'%').and_then(|digits| {
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok().map(|()| byte)
        });
        match byte {
            Some([byte]) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_come_back_as_they_were() {
        let names = ["starter", "pro-2.1", "größer, teurer", "50%"];
        let text = write(names.into_iter()).expect("short");
        assert!(text.is_ascii() && !text.contains(' '), "{text}");
        assert_eq!(read(&text).collect::<Vec<_>>(), names);
    }

    #[test]
    fn what_nobody_wrote_is_read_without_harm() {
        assert_eq!(read("a%,%G1,%4").collect::<Vec<_>>(), ["a%", "%G1", "%4"]);
        assert_eq!(write(std::iter::empty()), None);
        assert_eq!(write(std::iter::once("x".repeat(PLANS_MAX_BYTES + 1).as_str())), None);
    }
}
