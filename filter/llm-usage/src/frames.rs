//! AWS event streams (`application/vnd.amazon.eventstream`): binary frames, as [Amazon documents
//! them](https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html).
//!
//! A frame consists of: total length, headers' length, CRC-32 of these two; headers; payload; CRC-32 of everything
//! before it. Numbers are big-endian. Nothing in a frame is believed before its checksum matches.
//!
//! The payload is JSON. ConverseStream's is the event itself; InvokeModelWithResponseStream's (event type `chunk`) holds
//! the model's own event, in base64, in `bytes`.
mod wrapped;

use super::crc32::Crc32;
use super::document::Document;
use crate::json::Scanner;
use wrapped::Wrapped;

/// Both lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
/// The checksum at a frame's end.
const TRAILER_BYTES: u32 = 4;
/// The longest frame that AWS allows, in bytes: 16 MB of payload, 128 KB of headers.
const FRAME_MAX_BYTES: u32 = 16 * 1024 * 1024 + HEADERS_MAX_BYTES + 16;
/// The longest headers that AWS allows, in bytes.
const HEADERS_MAX_BYTES: u32 = 128 * 1024;
/// How much of a frame's headers is kept, in bytes. Bedrock's three take about 90.
const HEADERS_KEPT_BYTES: usize = 512;

/// The reader's position in a frame, with the bytes still to come.
#[derive(Clone, Copy, Debug)]
enum FramePosition {
    Prelude,
    Headers(u32),
    Payload(u32),
    Trailer,
    /// The frames can no longer be separated.
    Broken,
}

/// Reads the payload of each frame into a document, which is believed when the frame's checksum is right.
#[derive(Debug)]
pub(crate) struct Frames {
    position: FramePosition,
    crc: Crc32,
    kept: Kept,
    payload_bytes: u32,
    content: Content,
    wrapped: Wrapped,
    scanner: Scanner,
}

/// What a frame carries, as its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// An event of Bedrock's own.
    Event,
    /// A model's event, wrapped.
    Chunk,
    /// An error, which ends the stream.
    Exception,
}

impl Content {
    fn of(headers: &[u8]) -> Self {
        match (header(headers, b":message-type"), header(headers, b":event-type")) {
            (Some(b"exception" | b"error"), _) => Content::Exception,
            (_, Some(b"chunk")) => Content::Chunk,
            _ => Content::Event,
        }
    }
}

/// The few bytes that are looked at as a whole.
#[derive(Debug)]
struct Kept {
    bytes: [u8; HEADERS_KEPT_BYTES],
    len: usize,
}

impl Kept {
    /// Keeps what fits and drops the rest.
    fn push(&mut self, piece: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let fitting = piece.len().min(room.len());
        if let (Some(room), Some(piece)) = (room.get_mut(..fitting), piece.get(..fitting)) {
            room.copy_from_slice(piece);
            self.len = self.len.saturating_add(fitting);
        }
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The big-endian number at `at`.
    fn number(&self, at: usize) -> Option<u32> {
        self.get().get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

impl Frames {
    pub(crate) fn new() -> Self {
        Frames {
            position: FramePosition::Prelude,
            crc: Crc32::new(),
            kept: Kept { bytes: [0; HEADERS_KEPT_BYTES], len: 0 },
            payload_bytes: 0,
            content: Content::Event,
            wrapped: Wrapped::new(),
            scanner: Scanner::new(),
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.position, FramePosition::Broken)
    }

    pub(crate) fn feed(&mut self, bytes: &[u8], document: &mut Document) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.position {
                FramePosition::Prelude => self.prelude(rest),
                FramePosition::Headers(left) => self.headers(rest, left),
                FramePosition::Payload(left) => self.payload(rest, left, document),
                FramePosition::Trailer => self.trailer(rest, document),
                FramePosition::Broken => return,
            };
        }
    }

    fn prelude<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (piece, rest) = split(bytes, PRELUDE_BYTES.saturating_sub(self.kept.len));
        self.kept.push(piece);
        if self.kept.len == PRELUDE_BYTES {
            self.position = self.begin().unwrap_or(FramePosition::Broken);
            self.kept.len = 0;
        }
        rest
    }

    fn begin(&mut self) -> Option<FramePosition> {
        let (total, headers, checksum) = (self.kept.number(0)?, self.kept.number(4)?, self.kept.number(8)?);
        let lengths = self.kept.get().get(..8)?;
        self.crc = Crc32::new();
        self.crc.update(lengths);
        let sound = self.crc.value() == checksum && total <= FRAME_MAX_BYTES && headers <= HEADERS_MAX_BYTES;
        self.crc.update(&checksum.to_be_bytes());
        let around = (PRELUDE_BYTES as u32).saturating_add(TRAILER_BYTES);
        self.payload_bytes = total.checked_sub(around)?.checked_sub(headers)?;
        self.content = Content::Event;
        sound.then_some(if headers > 0 { FramePosition::Headers(headers) } else { self.after_headers() })
    }

    fn after_headers(&self) -> FramePosition {
        if self.payload_bytes > 0 { FramePosition::Payload(self.payload_bytes) } else { FramePosition::Trailer }
    }

    fn headers<'b>(&mut self, bytes: &'b [u8], left: u32) -> &'b [u8] {
        let (piece, rest) = split(bytes, left as usize);
        self.crc.update(piece);
        self.kept.push(piece);
        let left = left.saturating_sub(piece.len() as u32);
        self.position = FramePosition::Headers(left);
        if left == 0 {
            self.content = Content::of(self.kept.get());
            self.kept.len = 0;
            self.position = self.after_headers();
        }
        rest
    }

    fn payload<'b>(&mut self, bytes: &'b [u8], left: u32, document: &mut Document) -> &'b [u8] {
        let (piece, rest) = split(bytes, left as usize);
        self.crc.update(piece);
        match self.content {
            Content::Event => self.scanner.feed(piece, document),
            Content::Chunk => self.wrapped.feed(piece, &mut self.scanner, document),
            Content::Exception => {}
        }
        let left = left.saturating_sub(piece.len() as u32);
        self.position = if left == 0 { FramePosition::Trailer } else { FramePosition::Payload(left) };
        rest
    }

    fn trailer<'b>(&mut self, bytes: &'b [u8], document: &mut Document) -> &'b [u8] {
        let (piece, rest) = split(bytes, (TRAILER_BYTES as usize).saturating_sub(self.kept.len));
        self.kept.push(piece);
        if self.kept.len == TRAILER_BYTES as usize {
            let sound = self.kept.number(0) == Some(self.crc.value());
            if sound && self.content == Content::Exception {
                document.accumulator.fail();
            } else if sound && self.scanner.is_between_documents() && self.scanner.documents() == 1 {
                document.commit();
            }
            document.discard();
            self.scanner.reset();
            self.wrapped.reset();
            self.kept.len = 0;
            self.position = if sound { FramePosition::Prelude } else { FramePosition::Broken };
        }
        rest
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

/// The value of a string header.
fn header<'h>(headers: &'h [u8], wanted: &[u8]) -> Option<&'h [u8]> {
    let mut rest = headers;
    loop {
        let (length, after) = rest.split_first()?;
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        let (kind, after) = after.split_first()?;
        let (value, after) = header_value(*kind, after)?;
        if name == wanted {
            return Some(value);
        }
        rest = after;
    }
}

fn header_value(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match kind {
        // true, false
        0 | 1 => 0,
        // byte, short, integer, long, timestamp, UUID
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        // bytes, string
        6 | 7 => {
            let (length, after) = bytes.split_first_chunk()?;
            return after.split_at_checked(usize::from(u16::from_be_bytes(*length)));
        }
        _ => return None,
    };
    bytes.split_at_checked(length)
}
