//! Strings: finding their end, and resolving their escapes.
use super::token::TOKEN_MAX_BYTES;
use crate::lanes::{self, Lanes};

/// Marks the bytes that end a string's plain run: its end, escapes, and control characters.
#[inline(always)]
pub fn special(bytes: Lanes) -> Lanes {
    bytes.equals(b'"').or(bytes.equals(b'\\')).or(bytes.is_below(0x20))
}

/// The index of the next quote or backslash.
pub fn next_special(bytes: &[u8]) -> Option<usize> {
    lanes::find(bytes, |bytes| bytes.equals(b'"').or(bytes.equals(b'\\')))
}

/// A string without its escapes, in UTF-8.
#[derive(Debug)]
pub struct Unescaped {
    bytes: [u8; TOKEN_MAX_BYTES],
    len: usize,
}

impl Unescaped {
    /// Resolves the escapes of `raw`, the bytes between the quotes. None if an escape is not JSON's.
    pub fn read(raw: &[u8]) -> Option<Self> {
        let mut out = Unescaped { bytes: [0; TOKEN_MAX_BYTES], len: 0 };
        let mut rest = raw;
        while let Some((byte, tail)) = rest.split_first() {
            if *byte != b'\\' {
                out.push(&[*byte])?;
                rest = tail;
                continue;
            }
            let (character, tail) = escape(tail)?;
            out.push(character.encode_utf8(&mut [0; 4]).as_bytes())?;
            rest = tail;
        }
        Some(out)
    }

    /// Its bytes.
    pub fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }
}

/// Reads an escape behind its backslash; returns the character and the rest.
fn escape(bytes: &[u8]) -> Option<(char, &[u8])> {
    let (byte, rest) = bytes.split_first()?;
    if *byte != b'u' {
        return Some((simple(*byte)?, rest));
    }
    let (high, rest) = unit(rest)?;
    if !(0xD800..0xDC00).contains(&high) {
        return Some((char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), rest));
    }
    let Some((low, after)) = rest.strip_prefix(b"\\u").and_then(unit) else {
        return Some((char::REPLACEMENT_CHARACTER, rest));
    };
    let offset = low.checked_sub(0xDC00).filter(|offset| *offset < 0x400);
    match offset.and_then(|low| char::from_u32(0x10000 + ((high & 0x3FF) << 10) + low)) {
        Some(character) => Some((character, after)),
        None => Some((char::REPLACEMENT_CHARACTER, rest)),
    }
}

fn unit(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(4)?;
    let value = digits.iter().try_fold(0u32, |value, digit| Some(value << 4 | hex(*digit)?))?;
    Some((value, rest))
}

/// The value of one hexadecimal digit.
pub(super) fn hex(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

/// The character that a one-letter escape denotes.
pub(super) fn simple(byte: u8) -> Option<char> {
    Some(match byte {
        b'"' | b'\\' | b'/' => char::from(byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Unescaped, next_special};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn unescape(raw: &str) -> Option<String> {
        Some(String::from_utf8(Unescaped::read(raw.as_bytes())?.get().to_vec()).unwrap())
    }

    #[test]
    fn escapes_stand_for_their_characters() {
        assert_eq!(unescape(r"\u0075sage").as_deref(), Some("usage"));
        assert_eq!(unescape(r#"\"\\\/\b\f\n\r\t"#).as_deref(), Some("\"\\/\u{8}\u{c}\n\r\t"));
        assert_eq!(unescape(r"\uD83d\uDE00!").as_deref(), Some("😀!"));
    }

    #[test]
    fn half_a_surrogate_pair_is_the_replacement_character() {
        assert_eq!(unescape(r"\ud83dx").as_deref(), Some("\u{fffd}x"));
        assert_eq!(unescape(r"\ud83d\u0041").as_deref(), Some("\u{fffd}A"));
        assert_eq!(unescape(r"\ude00").as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn an_escape_that_json_has_not_is_refused() {
        for raw in [r"\x41", r"\u12", r"\u12G4", "\\"] {
            assert_eq!(unescape(raw), None, "{raw}");
        }
    }

    #[test]
    fn the_search_finds_quotes_and_backslashes_near_and_far() {
        for distance in 0..64 {
            let mut bytes = vec![b'a'; distance];
            assert_eq!(next_special(&bytes), None);
            bytes.push(b'"');
            assert_eq!(next_special(&bytes), Some(distance));
        }
    }
}
