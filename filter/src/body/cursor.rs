//! The grammar of JSON over bytes that are all there. Every step either moves on or says where it could not.
use std::ops::Range;

use super::Unreadable;
use crate::json::next_special;

/// How many bytes are looked at side by side: as many as a vector instruction takes.
const LANES: usize = 16;

/// Whether any byte is a control character, which no string may hold as it is. Loops over arrays without a branch: so the
/// compiler uses vector instructions, and one look at all of a body costs less than one more question about each byte.
fn has_controls(bytes: &[u8]) -> bool {
    let blocks = bytes.chunks_exact(LANES);
    let rest = blocks.remainder().iter().any(|byte| *byte < 0x20);
    let mut lanes = [0_u8; LANES];
    for block in blocks {
        for (lane, byte) in lanes.iter_mut().zip(block) {
            *lane |= u8::from(*byte < 0x20);
        }
    }
    rest || lanes.iter().any(|lane| *lane != 0)
}

/// A place in a body.
#[derive(Clone, Debug)]
pub struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
    /// There are control characters: where, each string has to see for itself.
    has_controls: bool,
}

impl<'b> Cursor<'b> {
    /// Before the first byte.
    pub fn new(bytes: &'b [u8]) -> Self {
        Cursor { bytes, at: 0, has_controls: has_controls(bytes) }
    }

    /// Where it stands, in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes of a range; empty where it is none.
    pub fn slice(&self, range: &Range<usize>) -> &'b [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The next byte that is not white space.
    pub fn peek(&mut self) -> Option<u8> {
        let rest = self.bytes.get(self.at..)?;
        let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
        self.at = self.at.saturating_add(blank);
        self.bytes.get(self.at).copied()
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

    /// That the bytes are no JSON here.
    pub fn fault(&self) -> Unreadable {
        Unreadable::Syntax(self.at)
    }

    /// Passes a string; the range is of what stands between the quotes.
    pub fn string(&mut self) -> Result<Range<usize>, Unreadable> {
        self.pass(b'"')?;
        let start = self.at;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let mut plain = next_special(rest).unwrap_or(rest.len());
            if self.has_controls {
                plain = rest.iter().take(plain).position(|byte| *byte < 0x20).unwrap_or(plain);
            }
            self.at = self.at.saturating_add(plain);
            match rest.get(plain) {
                Some(b'"') => {
                    let range = start..self.at;
                    self.step();
                    return Ok(range);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.fault()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Unreadable> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.get(2..6).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) => 6,
            _ => return Err(self.fault()),
        };
        self.at = self.at.saturating_add(length);
        Ok(())
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
