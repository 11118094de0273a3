//! Reads a document in base64 inside a document: `{"bytes":"eyJ0…","p":"…"}`.
use super::Document;
use crate::json::{Container, Scalar, Scanner, Visitor, Want};

/// Decoded bytes that are gathered before they are scanned.
const GATHERED_BYTES: usize = 96;

/// Extracts `bytes` from the outer document and decodes it.
#[derive(Debug)]
pub(super) struct Wrapped {
    outer: Scanner,
    base64: Base64,
}

/// A base64 decoder ([RFC 4648](https://www.rfc-editor.org/rfc/rfc4648)) whose input may be split anywhere.
#[derive(Debug, Default)]
struct Base64 {
    /// The bits of up to three digits.
    bits: u32,
    digits: u8,
    /// True after padding or an invalid character; the rest is ignored.
    ended: bool,
}

/// Visits the outer document only.
struct Outer<'a> {
    base64: &'a mut Base64,
    inner: &'a mut Scanner,
    document: &'a mut Document,
}

impl Wrapped {
    pub(super) fn new() -> Self {
        Wrapped { outer: Scanner::new(), base64: Base64::default() }
    }

    pub(super) fn reset(&mut self) {
        self.outer.reset();
        self.base64 = Base64::default();
    }

    pub(super) fn feed(&mut self, bytes: &[u8], inner: &mut Scanner, document: &mut Document) {
        self.outer.feed(bytes, &mut Outer { base64: &mut self.base64, inner, document });
    }
}

impl Base64 {
    /// Takes one digit. Returns the decoded bytes once four digits are complete: three, or fewer before padding.
    fn push(&mut self, byte: u8) -> Option<([u8; 4], usize)> {
        let Some(digit) = digit(byte) else {
            return self.end(byte);
        };
        self.bits = self.bits << 6 | digit;
        self.digits = self.digits.saturating_add(1);
        if self.digits < 4 {
            return None;
        }
        let [_, bytes @ ..] = self.bits.to_be_bytes();
        let [a, b, c] = bytes;
        (self.bits, self.digits) = (0, 0);
        Some(([a, b, c, 0], 3))
    }

    fn end(&mut self, byte: u8) -> Option<([u8; 4], usize)> {
        self.ended = true;
        match (byte, self.digits) {
            (b'=', 2) => Some(((self.bits << 20).to_be_bytes(), 1)),
            (b'=', 3) => Some(((self.bits << 14).to_be_bytes(), 2)),
            _ => None,
        }
    }
}

fn digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte.checked_sub(b'A')?,
        b'a'..=b'z' => byte.checked_sub(b'a')?.checked_add(26)?,
        b'0'..=b'9' => byte.checked_sub(b'0')?.checked_add(52)?,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(digit))
}

impl Visitor for Outer<'_> {
    fn key(&mut self, key: &[u8]) -> Want {
        if key == b"bytes" { Want::Stream } else { Want::Skip }
    }

    fn element(&mut self) -> Want {
        Want::Skip
    }

    fn begin(&mut self, container: Container) -> bool {
        container == Container::Object
    }

    fn end(&mut self) {}

    fn scalar(&mut self, _: Scalar<'_>) {}

    fn piece(&mut self, piece: &[u8]) {
        let mut gathered = [0; GATHERED_BYTES];
        let mut len = 0usize;
        for byte in piece {
            if self.base64.ended {
                break;
            }
            let Some((bytes, count)) = self.base64.push(*byte) else { continue };
            let end = len.saturating_add(count);
            if let (Some(room), Some(bytes)) = (gathered.get_mut(len..end), bytes.get(..count)) {
                room.copy_from_slice(bytes);
                len = end;
            }
            if len >= GATHERED_BYTES {
                self.inner.feed(&gathered, self.document);
                len = 0;
            }
        }
        self.inner.feed(gathered.get(..len).unwrap_or_default(), self.document);
    }
}
