//! What each fuzz target of usage asserts of any input. `filter/llm-usage/tests/fuzz.rs` runs the same functions on seeded
//! inputs, so that they hold without a fuzzer too.
//!
//! An input's first byte is the length of a list of cuts, the next bytes are the cuts, the rest is the body.
#![allow(dead_code, reason = "each fuzz target is a program that uses one of these")]
use weir_contract::{EstimateMethod, UsageStatus};
use weir_llm_usage::json::{Container, Scalar, Scanner, Visitor, Want, count};
use weir_llm_usage::strip::{BUFFERED_MAX_BYTES, IncludeUsageStripper};
use weir_llm_usage::{BodyEnd, Ending, InputEstimate, Reader, Reading, ResponseHead};

/// An answer reads the same whole and in pieces, and settling what was read never lowers what the provider said.
pub(crate) fn usage_reader(input: &[u8]) {
    let (pieces, body) = cut(input);
    let whole = read(&[body], &ResponseHead::new(200));
    assert_eq!(read(&pieces, &ResponseHead::new(200)), whole);
    let settled = whole.settle(InputEstimate { tokens: 7, method: EstimateMethod::RequestText }, Ending::Left);
    assert!(settled.status == UsageStatus::None || settled.output_tokens >= whole.usage.output_tokens);
    assert!(whole.usage.details.len() <= 34);
}

/// The same under every encoding.
pub(crate) fn usage_encoded(input: &[u8]) {
    let (pieces, body) = cut(input);
    for encoding in [&b"gzip"[..], b"deflate"] {
        let head = ResponseHead::from_headers(200, [(&b"content-encoding"[..], encoding)]);
        assert_eq!(read(&pieces, &head), read(&[body], &head));
    }
}

/// Stripping is the same whole and in pieces, holds no more than its bound, and changes nothing where it drops nothing.
pub(crate) fn usage_strip(input: &[u8]) {
    let (pieces, body) = cut(input);
    let (whole, dropped) = strip(&[body]);
    assert_eq!(strip(&pieces), (whole.clone(), dropped));
    assert!(whole.len() <= body.len());
    if dropped == 0 {
        assert_eq!(whole, body);
    }
    stays_as_read(&pieces);
}

/// The bytes that the reader declares final do not change.
pub(crate) fn stays_as_read(pieces: &[&[u8]]) {
    let mut reader = Reader::new(&ResponseHead::new(200), None);
    let mut stripper = IncludeUsageStripper::new();
    for piece in pieces {
        let stays = reader.feed(piece) && stripper.is_between_events() && piece.len() <= BUFFERED_MAX_BYTES;
        let mut passed = Vec::new();
        stripper.feed(piece, &mut passed);
        assert!(!stays || (passed == *piece && stripper.is_between_events()));
    }
}

/// The scanner accepts every document that `serde_json` accepts, and sees the same scalars in it.
pub(crate) fn json_scanner(input: &[u8]) {
    let (pieces, body) = cut(input);
    let mut seen = Scalars::default();
    let mut scanner = Scanner::new();
    for piece in pieces {
        scanner.feed(piece, &mut seen);
    }
    let Ok(document) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    if !document.is_object() && !document.is_array() {
        return;
    }
    assert!(scanner.is_between_documents() && scanner.documents() == 1);
    let mut expected = Scalars::default();
    expected.walk(&document);
    // Of members with one name `serde_json` keeps the last, and where the scanner looks no deeper it sees fewer.
    if !seen.skipped && !has_duplicates(&seen, &expected) {
        seen.sort();
        expected.sort();
        assert_eq!(seen.scalars, expected.scalars);
    }
}

fn has_duplicates(seen: &Scalars, expected: &Scalars) -> bool {
    seen.members != expected.members
}

fn cut(input: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let Some((count, rest)) = input.split_first() else { return (vec![input], input) };
    let (cuts, body) = rest.split_at(usize::from(*count % 32).min(rest.len()));
    let mut pieces = Vec::new();
    let mut left = body;
    for cut in cuts {
        let (piece, rest) = left.split_at(usize::from(*cut).min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    (pieces, body)
}

fn read(pieces: &[&[u8]], head: &ResponseHead<'_>) -> Reading {
    let mut reader = Reader::new(head, None);
    for piece in pieces {
        reader.feed(piece);
    }
    reader.finish(BodyEnd::Whole)
}

fn strip(pieces: &[&[u8]]) -> (Vec<u8>, u32) {
    let mut stripper = IncludeUsageStripper::new();
    let mut out = Vec::new();
    for piece in pieces {
        stripper.feed(piece, &mut out);
        assert!(stripper.buffered_bytes() <= BUFFERED_MAX_BYTES);
    }
    stripper.finish(&mut out);
    (out, stripper.dropped())
}

/// Writes every scalar of a document, without names, since a long name is not reported.
#[derive(Default)]
struct Scalars {
    scalars: Vec<String>,
    members: usize,
    skipped: bool,
    depth: usize,
}

impl Scalars {
    fn sort(&mut self) {
        self.scalars.sort();
    }

    fn walk(&mut self, value: &serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::Object(members) => {
                self.members += members.len();
                members.values().for_each(|value| self.walk(value));
            }
            Value::Array(elements) => elements.iter().for_each(|value| self.walk(value)),
            Value::String(text) => self.scalars.push(format!("{text:?}")),
            Value::Number(number) => self.scalars.push(format!("{:?}", number.as_u64())),
            Value::Bool(bool) => self.scalars.push(bool.to_string()),
            Value::Null => self.scalars.push("null".to_owned()),
        }
    }
}

impl Visitor for Scalars {
    fn key(&mut self, _: &[u8]) -> Want {
        self.members += 1;
        Want::Read
    }

    fn element(&mut self) -> Want {
        Want::Read
    }

    fn begin(&mut self, _: Container) -> bool {
        self.depth += 1;
        self.skipped |= self.depth >= weir_llm_usage::json::DEPTH_MAX;
        true
    }

    fn end(&mut self) {
        self.depth -= 1;
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        let written = match scalar {
            Scalar::String(Some(text)) => format!("{:?}", String::from_utf8_lossy(text)),
            Scalar::Number(Some(text)) => {
                let value = count(text);
                // `serde_json` does not take 12.0 for a whole number.
                let whole = text.iter().all(u8::is_ascii_digit);
                format!("{:?}", value.filter(|_| whole))
            }
            Scalar::String(None) | Scalar::Number(None) => {
                self.skipped = true;
                return;
            }
            Scalar::Bool(bool) => bool.to_string(),
            Scalar::Null => "null".to_owned(),
        };
        self.scalars.push(written);
    }

    fn piece(&mut self, _: &[u8]) {}
}
