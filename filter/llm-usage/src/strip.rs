//! Takes weir's own addition out of a stream again.
//!
//! If weir asked for usage (`stream_options.include_usage`) and the client did not, OpenAI and compatible providers
//! send one more event, with usage and without choices (empty, null or absent). A client that does not expect it may
//! fail on `choices[0]`, so it is dropped. Everything else passes byte for byte, in order.
//!
//! An event is buffered only while it is incomplete and may still be that one: an event that has shown a choice
//! passes from there on as it arrives.
mod extra;

use crate::json::Scanner;
use crate::lanes;
use extra::Extra;

/// The longest unfinished event that is buffered, in bytes. The event to drop has under 1 KB everywhere.
pub const BUFFERED_MAX_BYTES: usize = 16 * 1024;

/// What happens to the bytes of the current event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It may be the one to drop: its bytes are buffered.
    Buffer,
    /// It is another: its bytes pass.
    Pass,
    /// An event grew beyond the bound: everything passes, for good.
    GivenUp,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    Dropped,
}

/// The position in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinePosition {
    Line,
    /// In a name that has matched this many bytes of `data:`.
    Name(usize),
    Data,
    Other,
}

const DATA: &[u8] = b"data:";

/// Drops the one event that weir caused. Use only for a stream whose request weir edited.
#[derive(Debug)]
pub struct IncludeUsageStripper {
    mode: Mode,
    buffered: Vec<u8>,
    position: LinePosition,
    /// The last byte was a CR; an LF now belongs to it.
    after_cr: bool,
    scanner: Scanner,
    extra: Extra,
    dropped: u32,
    /// The previous event ended in a CR: an LF now belongs to it, and shares its fate.
    lf: Option<Fate>,
}

impl Default for IncludeUsageStripper {
    fn default() -> Self {
        Self::new()
    }
}

impl IncludeUsageStripper {
    /// A stripper before the stream's first byte.
    pub fn new() -> Self {
        IncludeUsageStripper {
            mode: Mode::Buffer,
            buffered: Vec::new(),
            position: LinePosition::Line,
            after_cr: false,
            scanner: Scanner::new(),
            extra: Extra::new(),
            dropped: 0,
            lf: None,
        }
    }

    /// Takes a chunk and appends the bytes that pass to `out`.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.mode == Mode::GivenUp {
                return out.extend_from_slice(rest);
            }
            if let Some((event, tail)) = self.other_event(rest) {
                out.extend_from_slice(event);
                rest = tail;
                continue;
            }
            let (piece, tail, ends) = self.next(rest);
            self.take(piece, out);
            if ends {
                self.end_event(out);
            }
            rest = tail;
        }
    }

    /// Ends the stream: buffered bytes pass.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.buffered);
    }

    /// Whether nothing is buffered and no event has begun. Then whole events that are not the one to drop need not be
    /// fed, if they are no longer than [`BUFFERED_MAX_BYTES`].
    pub fn is_between_events(&self) -> bool {
        let begins = self.position == LinePosition::Line && self.mode == Mode::Buffer && self.buffered.is_empty();
        begins && !self.after_cr && self.lf.is_none()
    }

    /// How many events were dropped.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// How many bytes are buffered now; at most [`BUFFERED_MAX_BYTES`].
    pub fn buffered_bytes(&self) -> usize {
        self.buffered.len()
    }

    /// The next event, if it is whole and cannot be the one to drop, because nothing in it can be `usage`. Nearly every
    /// event of a stream is such a one.
    fn other_event<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
        if !self.is_between_events() || !bytes.starts_with(b"data: {") {
            return None;
        }
        let end = lanes::find(bytes, |bytes| bytes.equals(b'\n').or(bytes.equals(b'\r')))?.checked_add(2)?;
        let (event, rest) = bytes.split_at_checked(end)?;
        let is_whole = event.ends_with(b"\n\n") && end <= BUFFERED_MAX_BYTES;
        let is_other = is_whole && !may_be_extra(event);
        is_other.then_some((event, rest))
    }

    /// The next stretch of one kind, the rest, and whether an event ends with the stretch.
    fn next<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], &'b [u8], bool) {
        if self.position != LinePosition::Data && self.position != LinePosition::Other {
            let (byte, rest) = bytes.split_at_checked(1).unwrap_or((bytes, &[]));
            let ends = byte.first().is_some_and(|byte| self.begin_line(*byte));
            return (byte, rest, ends);
        }
        let end = memchr::memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
        let (line, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        if line.is_empty() {
            let (byte, rest) = bytes.split_at_checked(1).unwrap_or((bytes, &[]));
            self.end_line(byte);
            return (byte, rest, false);
        }
        if self.position == LinePosition::Data {
            self.scanner.feed(line, &mut self.extra);
        }
        (line, rest, false)
    }

    /// Reads a byte before a line's value. True if the line is blank, so that the event ends.
    fn begin_line(&mut self, byte: u8) -> bool {
        let lf_of_crlf = std::mem::take(&mut self.after_cr) && byte == b'\n';
        match (self.position, byte) {
            (LinePosition::Line, b'\n') if lf_of_crlf => false,
            (LinePosition::Line, b'\n' | b'\r') => {
                self.after_cr = byte == b'\r';
                true
            }
            (_, b'\n' | b'\r') => {
                self.end_line(&[byte]);
                false
            }
            (at, byte) => {
                self.position = next_in_name(at, byte);
                false
            }
        }
    }

    fn end_line(&mut self, byte: &[u8]) {
        if self.position == LinePosition::Data {
            self.scanner.feed(b"\n", &mut self.extra);
        }
        self.after_cr = byte == b"\r";
        self.position = LinePosition::Line;
    }

    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match (self.lf.take(), piece) {
            (Some(Fate::Passed), b"\n") => return out.push(b'\n'),
            (Some(Fate::Dropped), b"\n") => return,
            _ => {}
        }
        if self.mode == Mode::Buffer && (self.extra.is_ruled_out() || self.scanner.has_failed()) {
            self.mode = Mode::Pass;
            out.append(&mut self.buffered);
        }
        if self.mode == Mode::Buffer && self.buffered.len().saturating_add(piece.len()) > BUFFERED_MAX_BYTES {
            self.mode = Mode::GivenUp;
            out.append(&mut self.buffered);
        }
        match self.mode {
            Mode::Buffer => self.buffered.extend_from_slice(piece),
            Mode::Pass | Mode::GivenUp => out.extend_from_slice(piece),
        }
    }

    fn end_event(&mut self, out: &mut Vec<u8>) {
        let complete = self.scanner.is_between_documents() && self.scanner.documents() == 1;
        let fate = if self.mode == Mode::Buffer && complete && self.extra.is_it() {
            self.buffered.clear();
            self.dropped = self.dropped.saturating_add(1);
            Fate::Dropped
        } else {
            out.append(&mut self.buffered);
            Fate::Passed
        };
        self.lf = self.after_cr.then_some(fate);
        if self.mode == Mode::Pass {
            self.mode = Mode::Buffer;
        }
        self.scanner.reset();
        self.extra = Extra::new();
    }
}

/// Whether a document may be the one that weir caused, judged by its bytes alone; false is certain. Some member must be
/// named `usage` and be an object: only the name itself and `\u` escapes spell it. OpenAI says `"usage":null` with every
/// word of a stream that was asked for its usage.
pub(crate) fn may_be_extra(event: &[u8]) -> bool {
    memchr::memchr_iter(b'u', event).any(|at| {
        let before = at.checked_sub(1).and_then(|at| event.get(at));
        let behind = event.get(at..).unwrap_or_default();
        let named = before == Some(&b'"') && behind.starts_with(b"usage\"");
        before == Some(&b'\\') || (named && !behind.starts_with(b"usage\":null"))
    })
}

fn next_in_name(at: LinePosition, byte: u8) -> LinePosition {
    let matched = match at {
        LinePosition::Name(matched) => matched,
        _ => 0,
    };
    match (DATA.get(matched), matched.saturating_add(1)) {
        (Some(expected), next) if *expected == byte && next == DATA.len() => LinePosition::Data,
        (Some(expected), next) if *expected == byte => LinePosition::Name(next),
        _ => LinePosition::Other,
    }
}
