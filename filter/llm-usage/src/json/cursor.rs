//! The grammar of JSON over a complete body. Every step either advances or reports the byte at which it failed.
use std::ops::Range;

use super::special;
use crate::lanes::{Block, LANES, Lanes, first, load_short};

/// How deep a body may nest. Tools with schemas reach about 20; a recursive parser overflows its stack at about
/// 1,000.
pub const DEPTH_MAX: u8 = 128;

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON from this byte on.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// It nests deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX}")]
    Depth,
}

/// The rest from the next special byte on. `seen` collects the bits of every byte passed, and of some behind.
fn behind_plain<'b>(bytes: &'b [u8], seen: &mut Lanes) -> &'b [u8] {
    let mut rest = bytes;
    while let Some((block, tail)) = rest.split_first_chunk() {
        let block = Lanes::load(block);
        *seen = seen.or(block);
        let found = special(block).bits();
        if found != 0 {
            return rest.get(first(found)..).unwrap_or_default();
        }
        rest = tail;
    }
    let block = load_short(rest);
    *seen = seen.or(block);
    // Behind the end there are zeros, which are control characters.
    rest.get(first(special(block).bits())..).unwrap_or_default()
}

/// The rest behind an escape whose backslash has been passed; None if it is no escape of JSON.
fn behind_escape(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => Some(rest),
        [b'u', a, b, c, d, rest @ ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => Some(rest),
        _ => None,
    }
}

/// Whether a string, as written between its quotes, has escapes. Most names are shorter than a block.
pub fn is_escaped(raw: &[u8]) -> bool {
    if raw.len() < LANES { load_short(raw).equals(b'\\').bits() != 0 } else { memchr::memchr(b'\\', raw).is_some() }
}

/// The rest behind plain numbers with a comma behind each, and how many those are.
#[inline]
fn behind_plain_numbers(bytes: &[u8]) -> (&[u8], usize) {
    let (mut rest, mut count) = (bytes, 0_usize);
    while let Some(behind) = rest.first_chunk().and_then(|block| rest.get(plain_number(block)?.wrapping_add(1)..)) {
        count = count.wrapping_add(1);
        rest = if let [b' ', behind @ ..] = behind { behind } else { behind };
    }
    (rest, count)
}

/// The length of the number that a block begins with, if a comma ends it there and it is written as vectors have it: digits, and a
/// fraction or none. None where it must be read byte by byte.
#[inline(always)]
fn plain_number(block: &Block) -> Option<usize> {
    let is_digit = Lanes::load(block).sub(Lanes::splat(b'0')).is_below(10);
    let others = !u32::from(is_digit.bits());
    let sign = usize::from(block.first() == Some(&b'-'));
    let whole = (others >> sign).trailing_zeros() as usize;
    let end = sign.wrapping_add(whole);
    // Without a digit, or with a zero before others, it is no number.
    if whole == 0 || (whole > 1 && block.get(sign) == Some(&b'0')) {
        return None;
    }
    match block.get(end)? {
        b',' => Some(end),
        b'.' => {
            let fraction = (others >> end.wrapping_add(1)).trailing_zeros() as usize;
            let end = end.wrapping_add(1).wrapping_add(fraction);
            (fraction > 0 && block.get(end) == Some(&b',')).then_some(end)
        }
        _ => None,
    }
}

/// A position in a body.
#[derive(Clone, Debug)]
pub struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
    is_escaped: bool,
}

impl<'b> Cursor<'b> {
    /// Before the first byte.
    pub fn new(bytes: &'b [u8]) -> Self {
        Cursor { bytes, at: 0, is_escaped: false }
    }

    /// The position, in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether the last string that was passed has escapes.
    pub fn is_escaped(&self) -> bool {
        self.is_escaped
    }

    /// The bytes of a range; empty if it is out of bounds.
    pub fn slice(&self, range: &Range<usize>) -> &'b [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The next byte that is not white space.
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.step();
        }
    }

    /// Whether `byte` is next, white space not passed.
    pub fn next_is(&self, byte: u8) -> bool {
        self.bytes.get(self.at) == Some(&byte)
    }

    /// Passes `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.step();
        }
        found
    }

    /// Passes `byte`, which must be next.
    pub fn pass(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.take(byte) { Ok(()) } else { Err(self.fault()) }
    }

    /// The error that the body is no JSON at this position.
    pub fn fault(&self) -> Unreadable {
        Unreadable::Syntax(self.at)
    }

    /// Passes a string, which must be UTF-8. Returns the range between its quotes.
    pub fn string(&mut self) -> Result<Range<usize>, Unreadable> {
        self.pass(b'"')?;
        let start = self.at;
        let mut rest = self.bytes.get(start..).unwrap_or_default();
        let mut seen = Lanes::splat(0);
        let mut is_escaped = false;
        let behind = loop {
            rest = behind_plain(rest, &mut seen);
            let behind = match rest {
                [b'"', behind @ ..] => break behind,
                [b'\\', escape @ ..] => {
                    is_escaped = true;
                    behind_escape(escape)
                }
                _ => None,
            };
            let Some(behind) = behind else {
                self.at = self.bytes.len().saturating_sub(rest.len());
                return Err(self.fault());
            };
            rest = behind;
        };
        self.at = self.bytes.len().saturating_sub(behind.len());
        self.is_escaped = is_escaped;
        let range = start..self.at.saturating_sub(1);
        if seen.bits() != 0
            && let Err(error) = std::str::from_utf8(self.slice(&range))
        {
            return Err(Unreadable::Syntax(start.saturating_add(error.valid_up_to())));
        }
        Ok(range)
    }

    /// Passes numbers, and a comma behind each; returns how many, and whether a comma came behind the last.
    ///
    /// Vectors have thousands. Those that are written plainly are told by a block each; what that gains, `make fuel` says, and
    /// `numbers_are_passed_as_each_alone` compares it with reading byte by byte.
    pub fn numbers(&mut self) -> Result<(usize, bool), Unreadable> {
        let mut count = 0_usize;
        let mut goes_on = false;
        loop {
            let (rest, plain) = behind_plain_numbers(self.bytes.get(self.at..).unwrap_or_default());
            self.at = self.bytes.len().saturating_sub(rest.len());
            (count, goes_on) = (count.saturating_add(plain), goes_on || plain > 0);
            if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
                return Ok((count, goes_on));
            }
            self.number()?;
            count = count.saturating_add(1);
            goes_on = self.take(b',');
            if !goes_on {
                return Ok((count, goes_on));
            }
        }
    }

    /// Passes a number.
    pub fn number(&mut self) -> Result<(), Unreadable> {
        self.step_if(b'-');
        if !self.step_if(b'0') {
            self.digits()?;
        }
        if self.step_if(b'.') {
            self.digits()?;
        }
        if self.step_if(b'e') || self.step_if(b'E') {
            let _signed = self.step_if(b'+') || self.step_if(b'-');
            self.digits()?;
        }
        Ok(())
    }

    /// Passes a word: `true`, `false`, `null`.
    pub fn word(&mut self, word: &[u8]) -> Result<(), Unreadable> {
        let end = self.at.saturating_add(word.len());
        if self.bytes.get(self.at..end) != Some(word) {
            return Err(self.fault());
        }
        self.at = end;
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Unreadable> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at = self.at.saturating_add(count);
        if count == 0 { Err(self.fault()) } else { Ok(()) }
    }

    fn step_if(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        if found {
            self.step();
        }
        found
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn one_by_one(cursor: &mut Cursor<'_>) -> Result<(usize, bool), Unreadable> {
        let (mut count, mut goes_on) = (0, false);
        while let Some(b'-' | b'0'..=b'9') = cursor.peek() {
            cursor.number()?;
            count += 1;
            goes_on = cursor.take(b',');
            if !goes_on {
                break;
            }
        }
        Ok((count, goes_on))
    }

    #[test]
    fn numbers_are_passed_as_each_alone() {
        let written = [
            "0",
            "-0",
            "1",
            "-1",
            "12",
            "0.5",
            "-0.25",
            "0.0123456789",
            "1.5e3",
            "-2E-7",
            "123456789012",
            "1234567890123456",
            "-0.123456789012345678",
            "00",
            "01",
            "-01",
            "1.",
            ".5",
            "-",
            "-.5",
            "1..2",
            "1.2.3",
            "+1",
            "1e",
            "0x1",
            "1:2",
            "/",
            "null",
            "\"1\"",
            "[",
            "",
            " ",
            "1 2",
            "NaN",
            "0.5f",
            "1é",
        ];
        for one in written {
            for other in written {
                for (between, end) in [(",", "]"), (", ", "]"), (" ,\n", " ]"), (",", ""), (",", ",")] {
                    let text = format!("{one}{between}{other}{between}0.25{between}7{end}                 ");
                    let (mut fast, mut slow) = (Cursor::new(text.as_bytes()), Cursor::new(text.as_bytes()));
                    let (passed, alone) = (fast.numbers(), one_by_one(&mut slow));
                    assert_eq!(passed, alone, "{text}");
                    fast.peek();
                    slow.peek();
                    assert_eq!(fast.at(), slow.at(), "{text}");
                }
            }
        }
    }
}
