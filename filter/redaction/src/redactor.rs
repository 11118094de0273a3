//! One answer on its way to a client.
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use crate::findings::Findings;
use crate::framing;
use crate::held::Held;
use crate::identifiers::Identifiers;
use crate::search::Search;
use crate::strings::{self, StringValue};
use crate::texts::{Key, Piece, Text, Texts};
use crate::words;

/// How an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON document.
    Document,
    /// Server-sent events, with JSON or text in their data.
    Events,
    /// One JSON document per line.
    Lines,
    /// Text of any kind.
    Text,
}

/// An event or document is longer than it may be, or more texts come side by side than [`crate::TEXTS_MAX`]. The rest of
/// the answer cannot be told to be free of identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Identifiers that change while answers are under way.
pub type SharedIdentifiers = Rc<RefCell<Identifiers>>;

/// Replaces the identifiers of other tenants in one answer.
#[derive(Debug)]
pub struct Redactor {
    identifiers: SharedIdentifiers,
    own: Box<str>,
    form: Form,
    max_bytes: usize,
    /// Bytes of an unfinished event.
    buffer: Vec<u8>,
    /// How many of them hold no end of an event.
    looked_at: usize,
    texts: Texts,
    held: Held,
    findings: Findings,
    is_broken: bool,
}

impl Redactor {
    /// A redactor before the answer's first byte. `own`: the tenant whose answer it is; its own identifiers stay.
    /// `max_bytes`: the longest event or document.
    pub fn new(identifiers: SharedIdentifiers, own: &str, form: Form, max_bytes: usize) -> Self {
        Redactor {
            identifiers,
            own: own.into(),
            form,
            max_bytes,
            buffer: Vec::new(),
            looked_at: 0,
            texts: Texts::default(),
            held: Held::default(),
            findings: Findings::default(),
            is_broken: false,
        }
    }

    /// Takes a chunk, cut anywhere, and appends what may go out to `out`. After an error nothing more goes out.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        if self.is_broken {
            return Err(TooLong);
        }
        self.buffer.extend_from_slice(chunk);
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        while let Some(length) = self.whole(buffer.get(at..).unwrap_or_default()) {
            let end = at.saturating_add(length);
            self.event(buffer.get(at..end).unwrap_or_default(), out)?;
            (at, self.looked_at) = (end, 0);
        }
        buffer.drain(..at);
        self.looked_at = buffer.len();
        self.is_broken = buffer.len() > self.max_bytes;
        self.buffer = buffer;
        if self.is_broken { Err(TooLong) } else { Ok(()) }
    }

    /// Ends the answer: everything that was held back goes out.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        if self.is_broken {
            return Err(TooLong);
        }
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            self.event(&buffer, out)?;
        }
        let identifiers = self.identifiers.borrow();
        let search = Search { identifiers: &identifiers, own: identifiers.owner(&self.own) };
        self.texts.end(None, search, &mut self.held, &mut self.findings);
        self.held.release(u64::MAX, out);
        Ok(())
    }

    /// How many identifiers were replaced.
    pub fn replaced(&self) -> u64 {
        self.findings.count
    }

    /// The tenants whose identifiers they were, the first eight of them.
    pub fn owners(&self) -> Vec<String> {
        let identifiers = self.identifiers.borrow();
        self.findings.owners.iter().filter_map(|owner| identifiers.name(*owner).map(str::to_owned)).collect()
    }

    /// The length of the first whole event in `bytes`.
    fn whole(&self, bytes: &[u8]) -> Option<usize> {
        match self.form {
            Form::Document => None,
            Form::Events => framing::event(bytes, self.looked_at),
            Form::Lines => framing::line(bytes, self.looked_at),
            Form::Text => bytes.len().checked_sub(words::unfinished(bytes)).filter(|length| *length > 0),
        }
    }

    fn event(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        let read = match self.form {
            Form::Text => self.continued(bytes, 0..bytes.len(), Key { place: 0, group: 0 }, false),
            Form::Events => self.data(bytes),
            Form::Document | Form::Lines => self.document(bytes, 0..bytes.len()),
        };
        self.is_broken = read.is_err();
        read?;
        self.held.end_event(bytes, self.texts.oldest(), out);
        if self.held.is_over() {
            let identifiers = self.identifiers.borrow();
            let search = Search { identifiers: &identifiers, own: identifiers.owner(&self.own) };
            self.texts.replace_known(search, &mut self.held, &mut self.findings);
            self.held.release(u64::MAX, out);
        }
        Ok(())
    }

    /// Reads a server-sent event: its one `data` line as a document, every other line as text.
    fn data(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let is_single = framing::lines(bytes).filter(|line| framing::data(bytes, line).is_some()).count() == 1;
        for line in framing::lines(bytes) {
            match framing::data(bytes, &line).filter(|_| is_single) {
                Some(data) => self.document(bytes, data)?,
                None => self.alone(bytes, line, false),
            }
        }
        Ok(())
    }

    /// Reads a document, or, if it is none, text.
    fn document(&mut self, bytes: &[u8], range: Range<usize>) -> Result<(), TooLong> {
        let text = bytes.get(range.clone()).unwrap_or_default();
        let shift =
            |value: Range<usize>| value.start.saturating_add(range.start)..value.end.saturating_add(range.start);
        let Some(strings) = (self.form != Form::Document).then(|| strings::read(text)).flatten() else {
            // Read twice, so that nothing of what is no document is replaced as if it were one.
            match strings::each(text, &mut |_| {}) {
                true => drop(strings::each(text, &mut |value| self.alone(bytes, shift(value), true))),
                false => self.alone(bytes, range, false),
            }
            return Ok(());
        };
        for StringValue { range: value, continues } in strings.values {
            match continues {
                Some(key) => self.continued(bytes, shift(value), key, true)?,
                None => self.alone(bytes, shift(value), true),
            }
        }
        let identifiers = self.identifiers.borrow();
        let search = Search { identifiers: &identifiers, own: identifiers.owner(&self.own) };
        for group in strings.ends {
            self.texts.end(Some(group), search, &mut self.held, &mut self.findings);
        }
        Ok(())
    }

    /// Reads a piece of a text that comes in several.
    fn continued(&mut self, bytes: &[u8], range: Range<usize>, key: Key, is_json: bool) -> Result<(), TooLong> {
        let identifiers = self.identifiers.borrow();
        let search = Search { identifiers: &identifiers, own: identifiers.owner(&self.own) };
        let text = self.texts.get(key).ok_or(TooLong)?;
        append(text, self.held.current(), bytes, range, is_json);
        text.settle(search, false, &mut self.held, &mut self.findings);
        Ok(())
    }

    /// Reads a text that stands alone.
    fn alone(&mut self, bytes: &[u8], range: Range<usize>, is_json: bool) {
        let identifiers = self.identifiers.borrow();
        let search = Search { identifiers: &identifiers, own: identifiers.owner(&self.own) };
        let mut text = Text::default();
        append(&mut text, self.held.current(), bytes, range, is_json);
        text.settle(search, true, &mut self.held, &mut self.findings);
    }
}

/// Appends a stretch of an event to a text. `is_json`: its escapes are resolved.
fn append(text: &mut Text, event: u64, bytes: &[u8], range: Range<usize>, is_json: bool) {
    let mut at = range.start;
    while at < range.end {
        let rest = bytes.get(at..range.end).unwrap_or_default();
        let plain = if is_json { rest.iter().position(|byte| *byte == b'\\') } else { None }.unwrap_or(rest.len());
        if plain > 0 {
            let end = at.saturating_add(plain);
            text.bytes.extend_from_slice(rest.get(..plain).unwrap_or_default());
            text.pieces.push(Piece { length: plain, event, raw: at..end });
            at = end;
            continue;
        }
        // An escape that is none stands for itself: no client can read it.
        let (length, character) = strings::unescape(rest).unwrap_or((1, '\\'));
        let before = text.bytes.len();
        text.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        let end = at.saturating_add(length);
        text.pieces.push(Piece { length: text.bytes.len().saturating_sub(before), event, raw: at..end });
        at = end;
    }
}
