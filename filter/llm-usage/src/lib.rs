//! Reads what a request used, in the provider's own numbers.
//!
//! A [`Reader`] is fed an answer's body as it streams by, and returns a [`Reading`] at its end. It keeps nothing of
//! the stream but one short token, a path of at most [`crate::json::DEPTH_MAX`] steps and the numbers.
//!
//! Providers are recognised by the shape of what they send, never by host or path, and their numbers are converted
//! into one set of terms: input counts every input token, cached ones included; output counts every output token,
//! thinking included; if a provider's own total exceeds both, what caches or the prompt's details explain of the rest is
//! input, and the rest of it output.
//!
//! The layers, from the outside in: content encoding (`decode`); framing, recognised by the first bytes (`sse`,
//! `frames`); one JSON document at a time, read while it is scanned (`document`; `path` knows the locations of usage
//! in it); the sums over all documents, and how final they are (`accumulator`).
//!
//! [`strip`] takes the usage event that weir itself asked for out of the client's stream.
//!
//! Underneath, [`json`] scans documents as they arrive, [`bytes`] compares long runs of bytes, and [`lanes`]
//! processes sixteen bytes at a time. The filter uses them too.
//!
//! Nothing in here panics on any input: the lints below deny what could.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod accumulator;
pub mod bytes;
mod counters;
mod crc32;
mod decode;
mod document;
pub mod estimate;
mod frames;
mod head;
pub mod json;
mod kind;
pub mod lanes;
mod name;
mod path;
mod provider;
mod reading;
mod sse;
mod staged;
pub mod strip;
mod text;
mod trace;

use crate::json::Scanner;
use accumulator::UsageAccumulator;
use decode::{Decoder, Decoding};
use document::{Belief, Document};
use frames::Frames;
use sse::Events;

pub use head::ResponseHead;
pub use provider::Provider;
pub use reading::{BodyEnd, Ending, InputEstimate, Readability, Reading};
pub use text::TextWeight;

/// Reads one answer. About 2 KB, and 43 KB more while a compressed one is read.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    body: Body,
    status: u16,
}

/// A body without its encoding.
#[derive(Debug)]
struct Body {
    framing: Framing,
    /// How many bytes of a byte order mark came before everything else.
    mark: usize,
    document: Document,
}

/// How documents are framed in a body.
#[derive(Debug)]
enum Framing {
    /// Unknown before the first byte that is not white space.
    Unknown,
    /// One JSON document, an array of them, or one after the other (NDJSON).
    Documents(Scanner),
    /// Server-sent events.
    Events(Events),
    /// AWS frames.
    Frames(Box<Frames>),
    /// An unknown format.
    Other,
}

impl Reader {
    /// A reader for an answer with that head. `hint` names the provider if the configuration fixes it; the shape of
    /// the answer still decides how to read it.
    pub fn new(head: &ResponseHead<'_>, hint: Option<Provider>) -> Self {
        let mut document = Document::new(UsageAccumulator::new(hint, head));
        if head.content_type.is_some_and(is_sequence) {
            document.accumulator.set_stream();
        }
        Reader {
            decoder: Decoder::new(head.content_encoding),
            body: Body { framing: Framing::Unknown, mark: 0, document },
            status: head.status,
        }
    }

    /// `input_tokens` includes cached tokens although the shape of the answer is one in which it does not.
    pub fn include_cache(&mut self) {
        self.body.document.accumulator.include_cache();
    }

    /// Reads a chunk of the body as the upstream sent it, cut anywhere.
    ///
    /// Returns true if the chunk was whole server-sent events, none of which is the one that [`strip`] drops.
    pub fn feed(&mut self, chunk: &[u8]) -> bool {
        let body = &mut self.body;
        if self.decoder.is_identity() {
            return body.feed(chunk);
        }
        self.decoder.feed(chunk, &mut |bytes| {
            body.feed(bytes);
        });
        false
    }

    /// Whether the answer is a stream of events that lacks its end so far: its provider has neither finished nor reported an error.
    pub fn is_unfinished_stream(&self) -> bool {
        matches!(self.body.framing, Framing::Events(_)) && self.body.document.accumulator.is_unfinished()
    }

    /// Ends the reading and returns what the answer said. Call it once, after the last byte: it gives its content
    /// away.
    pub fn finish(&mut self, end: BodyEnd) -> Reading {
        let decoding = self.decoder.decoding();
        self.body.finish(end, decoding).with_status(self.status)
    }
}

impl Body {
    /// See [`Reader::feed`].
    fn feed(&mut self, bytes: &[u8]) -> bool {
        let bytes = if matches!(self.framing, Framing::Unknown) { self.recognise(bytes) } else { bytes };
        match &mut self.framing {
            Framing::Unknown | Framing::Other => {}
            Framing::Documents(scanner) => scanner.feed(bytes, &mut self.document),
            Framing::Events(events) => return events.feed(bytes, &mut self.document),
            Framing::Frames(frames) => frames.feed(bytes, &mut self.document),
        }
        false
    }

    /// Passes over a byte order mark, which some services put before everything.
    fn pass_mark<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut rest = bytes;
        while let (Some((byte, behind)), Some(expected)) = (rest.split_first(), BYTE_ORDER_MARK.get(self.mark)) {
            if byte != expected {
                break;
            }
            self.mark = self.mark.saturating_add(1);
            rest = behind;
        }
        rest
    }

    /// Recognises the framing by the first byte that is not white space; returns the bytes from there on.
    fn recognise<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let bytes = self.pass_mark(bytes).trim_ascii_start();
        let Some(first) = bytes.first() else { return &[] };
        self.framing = match first {
            b'{' | b'[' => Framing::Documents(Scanner::new()),
            // `data`, `event`, `id`, `retry`, a comment.
            b'd' | b'e' | b'i' | b'r' | b':' => {
                self.document.set_belief(Belief::WhenFramed);
                self.document.accumulator.set_stream();
                Framing::Events(Events::new())
            }
            // The length of a frame: its first byte of four is always 0 or 1.
            0 | 1 => {
                self.document.set_belief(Belief::WhenFramed);
                self.document.accumulator.set_framed();
                Framing::Frames(Box::new(Frames::new()))
            }
            _ => Framing::Other,
        };
        bytes
    }

    fn finish(&mut self, end: BodyEnd, decoding: Decoding) -> Reading {
        match &mut self.framing {
            Framing::Documents(scanner) if scanner.has_failed() => self.document.doubt(),
            Framing::Documents(scanner) if scanner.is_between_documents() => self.document.accumulator.document_ended(),
            Framing::Events(events) => events.finish(&mut self.document),
            _ => {}
        }
        self.document.finish();
        let readability = match (decoding, &self.framing) {
            (Decoding::Unknown, _) => Readability::UnknownEncoding,
            (Decoding::Corrupt, _) => Readability::Corrupt,
            (_, Framing::Frames(frames)) if frames.is_broken() => Readability::Corrupt,
            (_, Framing::Other) => Readability::UnknownForm,
            _ => Readability::Readable,
        };
        self.document.accumulator.finish(end, readability)
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether that content type is a sequence of JSON documents, so that the first one is part of a stream.
fn is_sequence(content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let essence = content_type.get(..end).unwrap_or_default().trim_ascii();
    [&b"application/x-ndjson"[..], b"application/ndjson", b"application/jsonl", b"application/stream+json"]
        .iter()
        .any(|name| essence.eq_ignore_ascii_case(name))
}
