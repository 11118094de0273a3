//! Values that may differ between two documents of one shape: numbers, streamed strings, and skipped values.
use super::number::is_number_byte;
use super::skip::Skip;
use super::string::{hex, simple, special};
use crate::lanes;

/// A value of which a [`super::Visitor`] sees at most its text or its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Varying {
    /// A streamed string.
    Text,
    /// A skipped string.
    String,
    /// A skipped number.
    Number,
    /// A wanted number.
    Read,
    /// A skipped container.
    Container,
}

impl Varying {
    /// Skips the value as the scanner does, from its first byte on (behind its quote or bracket). `text` receives the
    /// pieces of its text. Returns the remaining bytes: from its closing quote on, or from behind its closing bracket
    /// or last digit.
    ///
    /// None if the value does not end in these bytes, is not valid JSON, or contains a control character such as a line
    /// end. `text` may have received some pieces by then.
    pub(crate) fn pass<'b>(self, bytes: &'b [u8], text: &mut impl FnMut(&[u8])) -> Option<&'b [u8]> {
        match self {
            Varying::Text => pass_text(bytes, text),
            Varying::String => pass_string(bytes),
            Varying::Number | Varying::Read => pass_number(bytes),
            Varying::Container => pass_container(bytes),
        }
    }
}

fn pass_text<'b>(bytes: &'b [u8], text: &mut impl FnMut(&[u8])) -> Option<&'b [u8]> {
    let mut rest = bytes;
    loop {
        let (plain, tail) = rest.split_at_checked(lanes::find(rest, special)?)?;
        if !plain.is_empty() {
            text(plain);
        }
        let character;
        (character, rest) = match tail {
            [b'"', ..] => return Some(tail),
            [b'\\', b'u', a, b, c, d, rest @ ..] => {
                let value = [a, b, c, d].into_iter().try_fold(0, |value, digit| Some(value << 4 | hex(*digit)?))?;
                (char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER), rest)
            }
            [b'\\', escape, rest @ ..] => (simple(*escape)?, rest),
            _ => return None,
        };
        text(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn pass_string(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        let (_, tail) = rest.split_at_checked(lanes::find(rest, special)?)?;
        rest = match tail {
            [b'"', ..] => return Some(tail),
            [b'\\', escape, rest @ ..] if *escape >= 0x20 => rest,
            _ => return None,
        };
    }
}

fn pass_number(bytes: &[u8]) -> Option<&[u8]> {
    let is_begun = bytes.first().is_some_and(|first| *first == b'-' || first.is_ascii_digit());
    let end = bytes.iter().position(|byte| !is_number_byte(*byte))?;
    bytes.get(end..).filter(|_| is_begun)
}

fn pass_container(bytes: &[u8]) -> Option<&[u8]> {
    let (rest, ended) = Skip::begin().feed(bytes);
    let passed = bytes.get(..bytes.len().checked_sub(rest.len())?)?;
    let plain = lanes::find(passed, |bytes| bytes.is_below(0x20)).is_none();
    (ended && plain).then_some(rest)
}
