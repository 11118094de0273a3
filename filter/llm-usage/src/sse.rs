//! Server-sent events, as [WHATWG](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation)
//! defines them: lines ended by CR, LF or CRLF, a byte order mark, comments, several `data` lines to an event.
mod shape;

use super::document::Document;
use crate::json::Scanner;
use crate::lanes;
use shape::Shape;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
const DATA: &[u8] = b"data";
/// The data of the last event that OpenAI and compatible providers send.
const DONE: &[u8; 6] = b"[DONE]";

/// The reader's position in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinePosition {
    /// At the very start, behind this many bytes of a byte order mark.
    Start(usize),
    Line,
    /// In a field's name that has matched this many bytes of `data`.
    Name(usize),
    /// Behind the colon: one space belongs to it.
    Space,
    Data,
    /// In a line that is ignored.
    Other,
}

/// Reads the `data` of each event into a document, which is believed when the event is complete.
#[derive(Debug)]
pub(crate) struct Events {
    position: LinePosition,
    /// The last byte was a CR; an LF now belongs to it.
    after_cr: bool,
    /// The event already has a `data` line.
    has_data: bool,
    /// How many bytes of [`DONE`] the event's data has matched; None once it differs.
    done: Option<usize>,
    scanner: Scanner,
    /// The shape of the last event that was scanned.
    shape: Box<Shape>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Events {
            position: LinePosition::Start(0),
            after_cr: false,
            has_data: false,
            done: Some(0),
            scanner: Scanner::new(),
            shape: Box::default(),
        }
    }

    /// Returns true if these were whole events, none of which may be dropped.
    pub(crate) fn feed(&mut self, bytes: &[u8], document: &mut Document) -> bool {
        let mut rest = bytes;
        let mut stay = true;
        while let Some((byte, tail)) = rest.split_first() {
            if let Some(tail) = self.event(rest, document) {
                rest = tail;
                stay &= !self.shape.may_be_dropped();
                continue;
            }
            stay = false;
            if std::mem::take(&mut self.after_cr) && *byte == b'\n' {
                rest = tail;
                continue;
            }
            rest = match self.position {
                LinePosition::Start(matched) => self.start(rest, matched),
                LinePosition::Data => self.data(rest, document),
                LinePosition::Other => self.other(rest),
                LinePosition::Line | LinePosition::Name(_) | LinePosition::Space => self.name(rest, document),
            };
        }
        stay
    }

    /// Reads a whole event of the known shape; returns the rest.
    fn event<'b>(&self, bytes: &'b [u8], document: &mut Document) -> Option<&'b [u8]> {
        if self.position != LinePosition::Line || self.has_data || self.after_cr {
            return None;
        }
        self.shape.read(bytes.strip_prefix(b"data: ")?, document)
    }

    /// Ends the stream. An event that lacks only its blank line is believed.
    pub(crate) fn finish(&mut self, document: &mut Document) {
        if self.has_data {
            self.dispatch(document);
        }
    }

    fn start<'b>(&mut self, bytes: &'b [u8], matched: usize) -> &'b [u8] {
        let mark = BYTE_ORDER_MARK.get(matched..).unwrap_or_default();
        match (bytes.split_first(), mark.split_first()) {
            (Some((byte, rest)), Some((expected, more))) if byte == expected => {
                self.position =
                    if more.is_empty() { LinePosition::Line } else { LinePosition::Start(matched.saturating_add(1)) };
                rest
            }
            _ => {
                self.position = if matched == 0 { LinePosition::Line } else { LinePosition::Other };
                bytes
            }
        }
    }

    /// Reads the start of a line up to its value.
    fn name<'b>(&mut self, bytes: &'b [u8], document: &mut Document) -> &'b [u8] {
        if self.position == LinePosition::Line
            && let Some(rest) = bytes.strip_prefix(b"data: ")
        {
            self.begin_data(document);
            self.position = LinePosition::Data;
            return rest;
        }
        let Some((byte, rest)) = bytes.split_first() else { return &[] };
        let matched = match self.position {
            LinePosition::Name(matched) => matched,
            _ => 0,
        };
        match (self.position, *byte) {
            (_, b'\n' | b'\r') => {
                self.end_line(*byte, document);
                return rest;
            }
            (LinePosition::Space, b' ') => self.position = LinePosition::Data,
            (LinePosition::Space, _) => {
                self.position = LinePosition::Data;
                return bytes;
            }
            (_, b':') => {
                self.position = if matched == DATA.len() { self.begin_data(document) } else { LinePosition::Other }
            }
            (_, byte) if DATA.get(matched) == Some(&byte) => {
                self.position = LinePosition::Name(matched.saturating_add(1));
            }
            _ => self.position = LinePosition::Other,
        }
        rest
    }

    /// A further `data` line of one event is joined to the last by a line feed.
    fn begin_data(&mut self, document: &mut Document) -> LinePosition {
        if self.has_data {
            self.take(b"\n", document);
        }
        self.has_data = true;
        LinePosition::Space
    }

    fn data<'b>(&mut self, bytes: &'b [u8], document: &mut Document) -> &'b [u8] {
        let (data, end) = split_line(bytes);
        let is_whole = self.done == Some(0) && data.first() == Some(&b'{') && !end.is_empty();
        if is_whole {
            document.start_trace();
        }
        self.take(data, document);
        if is_whole && self.scanner.is_between_documents() && self.scanner.documents() == 1 {
            self.shape.learn(data, document);
        }
        document.stop_trace();
        let Some((byte, rest)) = end.split_first() else { return &[] };
        self.end_line(*byte, document);
        rest
    }

    fn take(&mut self, data: &[u8], document: &mut Document) {
        if let Some(matched) = self.done {
            let expected = DONE.get(matched..).and_then(|left| left.get(..data.len()));
            self.done = (expected == Some(data)).then_some(matched.saturating_add(data.len()));
        }
        self.scanner.feed(data, document);
    }

    fn other<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (_, end) = split_line(bytes);
        let Some((byte, rest)) = end.split_first() else { return &[] };
        self.after_cr = *byte == b'\r';
        self.position = LinePosition::Line;
        rest
    }

    fn end_line(&mut self, byte: u8, document: &mut Document) {
        // A line that is only `data` has an empty value.
        if self.position == LinePosition::Name(DATA.len()) {
            self.begin_data(document);
        }
        if self.position == LinePosition::Line && self.has_data {
            self.dispatch(document);
        }
        self.after_cr = byte == b'\r';
        self.position = LinePosition::Line;
    }

    fn dispatch(&mut self, document: &mut Document) {
        if self.done == Some(DONE.len()) {
            document.accumulator.stream_ended();
        } else if self.scanner.is_between_documents() && self.scanner.documents() == 1 {
            document.commit();
        }
        document.discard();
        self.scanner.reset();
        self.has_data = false;
        self.done = Some(0);
    }
}

/// Splits before the first CR or LF.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = lanes::find(bytes, |bytes| bytes.equals(b'\n').or(bytes.equals(b'\r'))).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}
