//! The grammar of JSON over bytes that are all there. Every step either moves on or says where it could not.
use std::ops::Range;

use super::Unreadable;

/// A place in a body.
#[derive(Clone, Debug)]
pub struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    /// Before the first byte.
    pub fn new(bytes: &'b [u8]) -> Self {
        Cursor { bytes, at: 0 }
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
            let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1F)).count();
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
