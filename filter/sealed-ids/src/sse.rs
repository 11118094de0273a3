//! Replaces strings in server-sent events as they stream by.
//!
//! Only what stands behind `data:` is JSON; every other line passes as it is. A document may go on over several `data`
//! lines of one event, and ends with the blank line.
use crate::Refused;
use crate::kind::Dialect;
use crate::rewrite::{Judge, Rewriter};

const DATA: &[u8] = b"data:";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// In a name that has matched this many bytes of `data:`.
    Name(usize),
    /// In a `data` line's value.
    Data,
    /// In any other line.
    Other,
}

/// Walks a stream of events and replaces strings in them.
#[derive(Debug)]
pub struct Events {
    line: Line,
    /// The last byte was a carriage return; a line feed now belongs to it.
    after_cr: bool,
    rewriter: Rewriter,
}

impl Events {
    /// Before the first byte of a stream.
    pub fn new(dialect: Dialect) -> Self {
        Events { line: Line::Name(0), after_cr: false, rewriter: Rewriter::new(dialect) }
    }

    /// Takes a chunk, and appends what goes on to `out`.
    ///
    /// # Errors
    /// If the judge refuses an event.
    pub fn feed(&mut self, chunk: &[u8], judge: &mut impl Judge, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut rest = chunk;
        while let Some(byte) = rest.first() {
            let ends_return = std::mem::take(&mut self.after_cr) && *byte == b'\n';
            if matches!(byte, b'\n' | b'\r') {
                self.after_cr = *byte == b'\r';
                if !ends_return {
                    self.end_line(out);
                }
                out.push(*byte);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            rest = match self.line {
                Line::Name(matched) => self.name(*byte, matched, rest, out),
                Line::Data | Line::Other => {
                    let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    let (text, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                    match self.line {
                        Line::Data => self.rewriter.feed(text, judge, out)?,
                        Line::Name(_) | Line::Other => out.extend_from_slice(text),
                    }
                    behind
                }
            };
        }
        Ok(())
    }

    /// Ends the stream: what is held back goes on.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.rewriter.finish(out);
    }

    fn name<'b>(&mut self, byte: u8, matched: usize, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        if let (0, Some(rest)) = (matched, bytes.strip_prefix(DATA)) {
            out.extend_from_slice(DATA);
            self.line = Line::Data;
            return rest;
        }
        out.push(byte);
        self.line = match DATA.get(matched) {
            Some(expected) if *expected == byte && matched.saturating_add(1) == DATA.len() => Line::Data,
            Some(expected) if *expected == byte => Line::Name(matched.saturating_add(1)),
            _ => Line::Other,
        };
        bytes.get(1..).unwrap_or_default()
    }

    /// A line ends; a blank one ends the event, and so does one that breaks a string: no string of JSON holds a line's end.
    fn end_line(&mut self, out: &mut Vec<u8>) {
        if self.line == Line::Name(0) || !self.rewriter.is_between_tokens() {
            self.rewriter.finish(out);
        }
        self.line = Line::Name(0);
    }
}
