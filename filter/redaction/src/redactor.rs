//! One answer on its way to a client.
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use crate::findings::{Findings, REPLACEMENT};
use crate::framing;
use crate::held::{Held, Splice};
use crate::identifiers::{Identifiers, Owner};
use crate::search::{Match, Search};
use crate::strings::{self, Emptied, StringValue, Strings};
use crate::template::{Slot, SlotKind, Template};
use crate::texts::{Key, Piece, Text, Texts};
use crate::words::{self, Before};

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
    /// Whose answer it is, and the version of the identifiers by which that is known.
    owner: Option<(u64, Option<Owner>)>,
    max_bytes: usize,
    /// Bytes of an unfinished event.
    buffer: Vec<u8>,
    /// How many of them hold no end of an event.
    looked_at: usize,
    reader: Reader,
    is_broken: bool,
}

/// Reads events.
#[derive(Debug)]
struct Reader {
    form: Form,
    texts: Texts,
    held: Held,
    findings: Findings,
    /// The last event in which nobody was named.
    template: Template,
    /// What is new in an event that repeats it; kept to be filled again.
    slots: Vec<Slot>,
}

impl Redactor {
    /// A redactor before the answer's first byte. `own`: the tenant whose answer it is; its own identifiers stay.
    /// `max_bytes`: the longest event or document.
    pub fn new(identifiers: SharedIdentifiers, own: &str, form: Form, max_bytes: usize) -> Self {
        Redactor {
            identifiers,
            own: own.into(),
            owner: None,
            max_bytes,
            buffer: Vec::new(),
            looked_at: 0,
            reader: Reader {
                form,
                texts: Texts::default(),
                held: Held::default(),
                findings: Findings::default(),
                template: Template::default(),
                slots: Vec::new(),
            },
            is_broken: false,
        }
    }

    /// Takes of a chunk the events that may go out at once and as they are; returns their length. The rest of it goes to
    /// [`Redactor::feed`].
    pub fn pass(&mut self, chunk: &[u8]) -> usize {
        if self.is_broken || !self.buffer.is_empty() {
            return 0;
        }
        let identifiers = Rc::clone(&self.identifiers);
        let identifiers = identifiers.borrow();
        let search = self.search(&identifiers);
        let mut at = 0_usize;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty())
            && let Some(length) = self.reader.pass(rest, search)
        {
            at = at.saturating_add(length);
        }
        at
    }

    /// Takes a chunk, cut anywhere, and appends what may go out to `out`. After an error nothing more goes out.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        if self.is_broken {
            return Err(TooLong);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let rest = if buffer.is_empty() {
            chunk
        } else {
            buffer.extend_from_slice(chunk);
            &buffer
        };
        let read = self.events(rest, out);
        self.is_broken = read.is_err();
        let rest = rest.get(read?..).unwrap_or_default();
        self.looked_at = rest.len();
        self.is_broken = rest.len() > self.max_bytes;
        self.buffer = rest.to_vec();
        if self.is_broken { Err(TooLong) } else { Ok(()) }
    }

    /// Ends the answer: everything that was held back goes out.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        if self.is_broken {
            return Err(TooLong);
        }
        let buffer = std::mem::take(&mut self.buffer);
        let identifiers = Rc::clone(&self.identifiers);
        let identifiers = identifiers.borrow();
        let search = self.search(&identifiers);
        if !buffer.is_empty() {
            let read = self.reader.event(&buffer, search, out);
            self.is_broken = read.is_err();
            read?;
        }
        self.reader.texts.end(None, search, &mut self.reader.held, &mut self.reader.findings);
        self.reader.held.release(u64::MAX, out);
        Ok(())
    }

    /// Whether something that was taken is not out yet.
    pub fn waits(&self) -> bool {
        !self.buffer.is_empty() || !self.reader.held.is_empty()
    }

    /// How many identifiers were replaced.
    pub fn replaced(&self) -> u64 {
        self.reader.findings.count
    }

    /// Whether anything that went out differs from what came.
    pub fn has_changed(&self) -> bool {
        self.reader.held.has_changed()
    }

    /// The tenants whose identifiers they were, the first eight of them.
    pub fn owners(&self) -> Vec<String> {
        let identifiers = self.identifiers.borrow();
        self.reader.findings.owners.iter().filter_map(|owner| identifiers.name(*owner).map(str::to_owned)).collect()
    }

    /// Reads the whole events that `bytes` begin with; returns their length.
    fn events(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, TooLong> {
        let identifiers = Rc::clone(&self.identifiers);
        let identifiers = identifiers.borrow();
        let search = self.search(&identifiers);
        let mut at = 0_usize;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let length = match self.reader.repeated(rest, search, out)? {
                Some(length) => length,
                None => {
                    let Some(length) = self.reader.whole(rest, self.looked_at) else { return Ok(at) };
                    self.reader.event(rest.get(..length).unwrap_or_default(), search, out)?;
                    length
                }
            };
            (at, self.looked_at) = (at.saturating_add(length), 0);
        }
        Ok(at)
    }

    /// What is looked for now.
    fn search<'i>(&mut self, identifiers: &'i Identifiers) -> Search<'i> {
        let version = identifiers.version();
        let own = match self.owner {
            Some((known, own)) if known == version => own,
            _ => identifiers.owner(&self.own),
        };
        self.owner = Some((version, own));
        Search { identifiers, own }
    }
}

impl Reader {
    /// The length of the first whole event in `bytes`. `looked_at`: so many of them hold no end of one.
    fn whole(&self, bytes: &[u8], looked_at: usize) -> Option<usize> {
        match self.form {
            Form::Document => None,
            Form::Events => framing::event(bytes, looked_at),
            Form::Lines => framing::line(bytes, looked_at),
            Form::Text => bytes.len().checked_sub(words::unfinished(bytes)).filter(|length| *length > 0),
        }
    }

    /// Reads the event that `bytes` begin with if it repeats an earlier one and goes out as it is; returns its length.
    fn pass(&mut self, bytes: &[u8], search: Search<'_>) -> Option<usize> {
        if !self.held.is_empty() {
            return None;
        }
        let length = self.template.repeats(bytes, search.identifiers.version(), &mut self.slots)?;
        let mut continued = None;
        for Slot { range, kind } in &self.slots {
            let text = bytes.get(range.clone()).unwrap_or_default();
            match kind {
                SlotKind::Number => {}
                SlotKind::Alone if search.is_in(text) => return None,
                SlotKind::Alone => {}
                SlotKind::Continued(_) if continued.is_some() => return None,
                SlotKind::Continued(key) => continued = Some((*key, text)),
            }
        }
        if let Some((key, piece)) = continued
            && !self.texts.get(key)?.passes(piece, search)
        {
            return None;
        }
        self.held.pass();
        Some(length)
    }

    /// Reads the event that `bytes` begin with if it repeats an earlier one; returns its length.
    fn repeated(&mut self, bytes: &[u8], search: Search<'_>, out: &mut Vec<u8>) -> Result<Option<usize>, TooLong> {
        let mut slots = std::mem::take(&mut self.slots);
        let Some(length) = self.template.repeats(bytes, search.identifiers.version(), &mut slots) else {
            self.slots = slots;
            return Ok(None);
        };
        let event = bytes.get(..length).unwrap_or_default();
        for Slot { range, kind } in slots.drain(..) {
            match kind {
                SlotKind::Number => {}
                SlotKind::Alone => self.alone(event, range, true, search),
                SlotKind::Continued(key) => self.continued(event, range, key, true, search)?,
            }
        }
        self.slots = slots;
        self.end_event(event, search, out);
        Ok(Some(length))
    }

    fn event(&mut self, bytes: &[u8], search: Search<'_>, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self.form {
            Form::Text => self.continued(bytes, 0..bytes.len(), Key { place: 0, group: 0 }, false, search)?,
            Form::Events => self.data(bytes, search)?,
            Form::Document | Form::Lines => self.document(bytes, 0..bytes.len(), search)?,
        }
        self.end_event(bytes, search, out);
        Ok(())
    }

    fn end_event(&mut self, bytes: &[u8], search: Search<'_>, out: &mut Vec<u8>) {
        let oldest = self.texts.oldest(&self.held);
        self.held.end_event(bytes, oldest, out);
        if self.held.is_over() {
            self.texts.replace_known(search, &mut self.held, &mut self.findings);
            self.held.release(u64::MAX, out);
        }
    }

    /// Reads a server-sent event: its one `data` line as a document, every other line as text.
    fn data(&mut self, bytes: &[u8], search: Search<'_>) -> Result<(), TooLong> {
        let is_single = framing::lines(bytes).filter(|line| framing::data(bytes, line).is_some()).count() == 1;
        for line in framing::lines(bytes) {
            if framing::data(bytes, &line).filter(|_| is_single).is_none() {
                self.alone(bytes, line, false, search);
            }
        }
        // The document last, so that the event is remembered only where its other lines name nobody.
        let data = framing::lines(bytes).find_map(|line| framing::data(bytes, &line).filter(|_| is_single));
        data.map_or(Ok(()), |data| self.document(bytes, data, search))
    }

    /// Reads a document, or, if it is none, text.
    fn document(&mut self, bytes: &[u8], range: Range<usize>, search: Search<'_>) -> Result<(), TooLong> {
        let text = bytes.get(range.clone()).unwrap_or_default();
        if self.form == Form::Document {
            return self.whole_document(bytes, range, search);
        }
        let Some(strings) = strings::read(text) else {
            self.apart(bytes, range, search);
            return Ok(());
        };
        self.pieces(bytes, range.start, &strings, search)?;
        self.remember(bytes, range.start, &strings, search.identifiers.version());
        for group in strings.ends {
            self.texts.end(Some(group), search, &mut self.held, &mut self.findings);
        }
        Ok(())
    }

    /// Reads a document that is the whole answer. Where it is a stream's events in an array, their pieces are read as one.
    fn whole_document(&mut self, bytes: &[u8], range: Range<usize>, search: Search<'_>) -> Result<(), TooLong> {
        let text = bytes.get(range.clone()).unwrap_or_default();
        let is_event = |element: &Range<usize>| {
            memchr::memmem::find(text.get(element.clone()).unwrap_or_default(), b"\"candidates\"").is_some()
        };
        let events = strings::elements(text).filter(|elements| elements.iter().all(is_event));
        // Nothing of what is no document is replaced as if it were one.
        let Some(events) = events.filter(|_| strings::each(text, &mut |_| {}).is_some()) else {
            self.apart(bytes, range, search);
            return Ok(());
        };
        for event in events {
            let event = moved(&event, range.start);
            match strings::read(bytes.get(event.clone()).unwrap_or_default()) {
                Some(strings) => self.pieces(bytes, event.start, &strings, search)?,
                None => self.apart(bytes, event, search),
            }
        }
        Ok(())
    }

    /// Reads the strings of a document that are pieces of texts, and those that stand alone.
    fn pieces(&mut self, bytes: &[u8], shift: usize, strings: &Strings, search: Search<'_>) -> Result<(), TooLong> {
        for StringValue { range, continues, .. } in &strings.values {
            let range = moved(range, shift);
            match continues {
                Some(key) => self.continued(bytes, range, *key, true, search)?,
                None => self.alone(bytes, range, true, search),
            }
        }
        self.empty(&strings.emptied, shift);
        Ok(())
    }

    /// Reads a document each of whose strings stands alone, or, if it is none, text.
    fn apart(&mut self, bytes: &[u8], range: Range<usize>, search: Search<'_>) {
        let text = bytes.get(range.clone()).unwrap_or_default();
        // Read twice, so that nothing of what is no document is replaced as if it were one.
        let Some(emptied) = strings::each(text, &mut |_| {}) else {
            self.alone(bytes, range, false, search);
            return;
        };
        let mut alone = |value: Range<usize>| self.alone(bytes, moved(&value, range.start), true, search);
        strings::each(text, &mut alone);
        self.empty(&emptied, range.start);
    }

    /// Lets what spells the text again go out empty.
    fn empty(&mut self, emptied: &[Emptied], shift: usize) {
        for Emptied { range, by } in emptied {
            self.held.splice(self.held.current(), Splice { range: moved(range, shift), by });
        }
    }

    /// Remembers an event that the next ones may repeat: nobody is named in it, and no text ends with it.
    fn remember(&mut self, event: &[u8], shift: usize, strings: &Strings, version: u64) {
        let has_escape = |value: &StringValue| {
            memchr::memchr(b'\\', event.get(moved(&value.range, shift)).unwrap_or_default()).is_some()
        };
        // A piece with an escape comes now and then among plain ones, which repeat what was there before it.
        let is_passing = strings.values.iter().any(|value| value.continues.is_some() && has_escape(value));
        if is_passing || !strings.ends.is_empty() || self.held.has_splices() {
            return;
        }
        let values = strings.values.iter().filter(|value| !value.is_type && !has_escape(value));
        let kind = |value: &StringValue| value.continues.map_or(SlotKind::Alone, SlotKind::Continued);
        let values = values.map(|value| Slot { range: moved(&value.range, shift), kind: kind(value) });
        let numbers = strings.numbers.iter();
        let numbers = numbers.map(|range| Slot { range: moved(range, shift), kind: SlotKind::Number });
        self.template.remember(event, values.chain(numbers), version);
    }

    /// Reads a piece of a text that comes in several.
    fn continued(
        &mut self,
        bytes: &[u8],
        range: Range<usize>,
        key: Key,
        is_json: bool,
        search: Search<'_>,
    ) -> Result<(), TooLong> {
        let text = self.texts.get(key).ok_or(TooLong)?;
        let piece = bytes.get(range.clone()).unwrap_or_default();
        if is_plain(piece, is_json) && text.passes(piece, search) {
            return Ok(());
        }
        append(text, self.held.current(), bytes, range, is_json);
        text.settle(search, &mut self.held, &mut self.findings);
        Ok(())
    }

    /// Reads a text that stands alone.
    fn alone(&mut self, bytes: &[u8], range: Range<usize>, is_json: bool, search: Search<'_>) {
        let text = bytes.get(range.clone()).unwrap_or_default();
        if is_plain(text, is_json) {
            let mut found = Vec::new();
            search.run(text, Before::default(), true, &mut found);
            for Match { range: at, owner } in found {
                self.findings.add(owner);
                self.held.splice(self.held.current(), Splice { range: moved(&at, range.start), by: REPLACEMENT });
            }
            return;
        }
        let mut text = Text::default();
        append(&mut text, self.held.current(), bytes, range, is_json);
        text.end(search, &mut self.held, &mut self.findings);
    }
}

/// Whether each byte of a stretch of an event is the same byte of the text.
fn is_plain(stretch: &[u8], is_json: bool) -> bool {
    !is_json || memchr::memchr(b'\\', stretch).is_none()
}

fn moved(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start.saturating_add(by)..range.end.saturating_add(by)
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
