//! The strings of a JSON document, with what is needed to tell which text of a stream each of them continues.
//!
//! The grammar of [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259) is followed as far as strings, names and nesting go;
//! numbers and literals are passed over. A document that breaks it is no document: the caller takes it for plain text.
use std::ops::Range;

use weir_llm_usage::json::special;
use weir_llm_usage::lanes::{Lanes, first, load_short};

use crate::texts::Key;

/// The deepest nesting that is followed.
const DEPTH_MAX: usize = 128;
/// The most values of an event that a template remembers. One that has more is read anew.
pub(crate) const SLOTS_MAX: usize = 64;
/// The most containers of one event.
const CONTAINERS_MAX: usize = 4096;
/// The most strings of one event.
const VALUES_MAX: usize = 4096;

/// Members whose strings continue from event to event of a stream: OpenAI's Chat Completions (`content`, `refusal`,
/// `arguments`) and Responses (`delta`), Anthropic's Messages (`text`, `thinking`, `partial_json`), Gemini's (`text`),
/// Ollama's (`response`, `content`, `thinking`), vLLM's and DeepSeek's (`reasoning`, `reasoning_content`), Realtime's
/// (`transcript`).
pub(crate) const CONTINUED: [&[u8]; 11] = [
    b"content",
    b"text",
    b"delta",
    b"arguments",
    b"partial_json",
    b"reasoning_content",
    b"reasoning",
    b"thinking",
    b"refusal",
    b"response",
    b"transcript",
];

/// Members that spell the text again, token by token: OpenAI's, Ollama's and vLLM's `logprobs`, Gemini's `logprobsResult`,
/// llama.cpp's `completion_probabilities`. What they hold goes out empty, since a name that is cut into tokens is not found there.
const PROBABILITIES: [&[u8]; 5] =
    [b"logprobs", b"logprobsResult", b"logprobs_result", b"prompt_logprobs", b"completion_probabilities"];

/// An object or array whose content goes out empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Emptied {
    pub(crate) range: Range<usize>,
    pub(crate) by: &'static [u8],
}

/// A string value.
#[derive(Clone, Debug)]
pub(crate) struct StringValue {
    /// Its bytes, without the quotes.
    pub(crate) range: Range<usize>,
    /// The text that it continues; None for one that stands alone.
    pub(crate) continues: Option<Key>,
    /// It is a `type`, by which texts are told apart.
    pub(crate) is_type: bool,
}

/// What a document contains.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    pub(crate) values: Vec<StringValue>,
    /// The groups of texts that end with it.
    pub(crate) ends: Vec<u64>,
    /// The first numbers in it that say nothing of choices, one more than [`SLOTS_MAX`] at most.
    pub(crate) numbers: Vec<Range<usize>>,
    pub(crate) emptied: Vec<Emptied>,
}

#[derive(Clone, Copy, Debug)]
struct Container {
    is_object: bool,
    parent: Option<usize>,
    /// The hash of the name, or of the position, that leads to it.
    step: u64,
    /// The combined hashes of its members `index` and `…_index`; 0 if it has none.
    numbered: u64,
    /// How many elements came, in an array.
    elements: u64,
}

/// A value whose place is known once the document ends, since numbers may stand behind it.
#[derive(Debug)]
struct Seen {
    range: Range<usize>,
    container: usize,
    /// The hash of its name; 0 for one that stands alone.
    name: u64,
    is_continued: bool,
    is_type: bool,
}

struct Reader<'b, 's> {
    bytes: &'b [u8],
    at: usize,
    /// Gets each string where nothing else is kept; None where texts continue, so that places are.
    sink: Option<&'s mut dyn FnMut(Range<usize>)>,
    containers: Vec<Container>,
    open: Vec<usize>,
    seen: Vec<Seen>,
    /// Containers in which a text ends.
    ending: Vec<usize>,
    numbers: Vec<Range<usize>>,
    /// How many containers are open in what goes out empty, and where that begins; None outside of it.
    emptying: Option<(usize, usize)>,
    emptied: Vec<Emptied>,
    /// The document's own `type`.
    kind: u64,
    ends_by_kind: bool,
}

/// Reads a document of a stream. None if it is none, or has more than [`CONTAINERS_MAX`] containers or [`VALUES_MAX`]
/// strings.
pub(crate) fn read(bytes: &[u8]) -> Option<Strings> {
    let mut reader = Reader::new(bytes, None);
    reader.document()?;
    Some(reader.strings())
}

/// Calls `sink` with each string value of a document, and returns what goes out empty. None if it is no document; then the values
/// before the fault were told.
pub(crate) fn each(bytes: &[u8], sink: &mut dyn FnMut(Range<usize>)) -> Option<Vec<Emptied>> {
    let mut reader = Reader::new(bytes, Some(sink));
    reader.document()?;
    Some(reader.emptied)
}

/// The elements of a document that is an array.
pub(crate) fn elements(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).filter(|at| bytes.get(*at) == Some(&b'['))?;
    let (mut at, mut depth, mut from) = (start, 0_usize, start.checked_add(1)?);
    let mut elements = Vec::new();
    loop {
        match *bytes.get(at)? {
            b'[' | b'{' => depth = depth.checked_add(1)?,
            b']' | b'}' if depth == 1 => break,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 1 => elements.push(std::mem::replace(&mut from, at.checked_add(1)?)..at),
            b'"' => at = string_end(bytes, at)?,
            _ => {}
        }
        at = at.checked_add(1)?;
    }
    elements.push(from..at);
    let behind = bytes.get(at.checked_add(1)?..)?;
    behind.trim_ascii().is_empty().then_some(elements)
}

/// Where the string that begins at `start` ends: its last quote.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start.checked_add(1)?;
    loop {
        at = at.checked_add(plain(bytes.get(at..)?))?;
        match *bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at = at.checked_add(2)?,
            _ => return None,
        }
    }
}

impl<'b, 's> Reader<'b, 's> {
    fn new(bytes: &'b [u8], sink: Option<&'s mut dyn FnMut(Range<usize>)>) -> Self {
        Reader {
            bytes,
            at: 0,
            sink,
            containers: Vec::new(),
            open: Vec::new(),
            seen: Vec::new(),
            ending: Vec::new(),
            numbers: Vec::new(),
            emptying: None,
            emptied: Vec::new(),
            kind: 0,
            ends_by_kind: false,
        }
    }

    fn document(&mut self) -> Option<()> {
        self.skip_spaces();
        loop {
            self.value()?;
            self.after_value()?;
            if self.open.is_empty() {
                self.skip_spaces();
                // Several documents in a row are read as one.
                if self.at >= self.bytes.len() {
                    return Some(());
                }
            }
        }
    }

    /// Reads up to the end of the next scalar or empty container, through all that opens before it.
    fn value(&mut self) -> Option<()> {
        loop {
            let name = if self.is_in_object() { self.name()? } else { 0..0 };
            self.skip_spaces();
            match *self.bytes.get(self.at)? {
                b'"' => return self.string_value(name),
                open @ (b'{' | b'[') => {
                    let start = self.at;
                    self.at = self.at.checked_add(1)?;
                    let is_emptied = PROBABILITIES.contains(&self.bytes.get(name.clone()).unwrap_or_default());
                    self.begin(open == b'{', name)?;
                    if is_emptied && self.emptying.is_none() {
                        self.emptying = Some((self.open.len(), start));
                    }
                    self.skip_spaces();
                    if matches!(self.bytes.get(self.at)?, b'}' | b']') {
                        return Some(());
                    }
                }
                _ => return self.scalar(name),
            }
        }
    }

    /// Passes over what closes behind a value, and the comma behind that.
    fn after_value(&mut self) -> Option<()> {
        loop {
            self.skip_spaces();
            if self.open.is_empty() {
                return Some(());
            }
            let byte = *self.bytes.get(self.at)?;
            self.at = self.at.checked_add(1)?;
            match byte {
                b',' => return Some(()),
                b'}' if self.is_in_object() => self.close(b"null"),
                b']' if !self.is_in_object() => self.close(b"[]"),
                _ => return None,
            }
        }
    }

    /// Closes the innermost container. `empty`: what stands for one of its kind that goes out empty.
    fn close(&mut self, empty: &'static [u8]) {
        if let Some((depth, start)) = self.emptying
            && depth == self.open.len()
        {
            self.emptying = None;
            let range = start..self.at;
            // A bracket, blanks and a bracket are empty already.
            if self.bytes.get(range.clone()).is_some_and(|bytes| bytes.trim_ascii_end().len() > 2) {
                self.emptied.push(Emptied { range, by: empty });
            }
        }
        self.open.pop();
    }

    fn is_in_object(&self) -> bool {
        self.innermost().is_some_and(|container| container.is_object)
    }

    fn innermost(&self) -> Option<&Container> {
        self.open.last().and_then(|at| self.containers.get(*at))
    }

    fn begin(&mut self, is_object: bool, name: Range<usize>) -> Option<()> {
        if self.open.len() >= DEPTH_MAX {
            return None;
        }
        // Where no places are kept, only what is open is.
        if self.sink.is_some() {
            self.containers.truncate(self.open.len());
        }
        let step = self.step(name);
        let parent = self.open.last().copied();
        if self.containers.len() >= CONTAINERS_MAX {
            return None;
        }
        self.open.push(self.containers.len());
        self.containers.push(Container { is_object, parent, step, numbered: 0, elements: 0 });
        Some(())
    }

    /// The hash of the way from the innermost container to a value in it.
    fn step(&mut self, name: Range<usize>) -> u64 {
        let Some(container) = self.open.last().and_then(|at| self.containers.get_mut(*at)) else { return 0 };
        if container.is_object {
            return hash(self.bytes.get(name).unwrap_or_default());
        }
        container.elements = container.elements.saturating_add(1);
        mix(container.elements)
    }

    /// Reads a member's name and its colon; returns the name with its escapes.
    fn name(&mut self) -> Option<Range<usize>> {
        self.skip_spaces();
        let name = self.string()?;
        self.skip_spaces();
        if *self.bytes.get(self.at)? != b':' {
            return None;
        }
        self.at = self.at.checked_add(1)?;
        Some(name)
    }

    fn string_value(&mut self, name: Range<usize>) -> Option<()> {
        let range = self.string()?;
        if self.emptying.is_some() {
            return Some(());
        }
        if let Some(sink) = &mut self.sink {
            sink(range);
            return Some(());
        }
        if self.seen.len() >= VALUES_MAX {
            return None;
        }
        let named = self.bytes.get(name.clone()).unwrap_or_default();
        let text = self.bytes.get(range.clone()).unwrap_or_default();
        let is_continued = CONTINUED.contains(&named);
        match (named, self.open.last()) {
            (b"type", Some(_)) if self.open.len() == 1 => {
                self.kind = hash(text);
                self.ends_by_kind = text.ends_with(b".done") || text.ends_with(b"_stop");
            }
            (b"finish_reason" | b"finishReason" | b"done_reason", Some(container)) => self.ending.push(*container),
            _ => {}
        }
        let is_type = named == b"type";
        let name = self.step(name.start..if is_continued { name.end } else { name.start });
        let container = self.open.last().copied().unwrap_or(0);
        self.seen.push(Seen { range, container, name, is_continued, is_type });
        Some(())
    }

    /// Passes over a number or literal. Notes the numbers that tell one choice or block from another.
    fn scalar(&mut self, name: Range<usize>) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())
            .unwrap_or(rest.len());
        let value = rest.get(..length)?;
        let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        if !matches!(value, b"true" | b"false" | b"null") && (value.is_empty() || !value.iter().all(is_number)) {
            return None;
        }
        let named = self.bytes.get(name.clone()).unwrap_or_default();
        let end = self.at.checked_add(length)?;
        self.step(0..0);
        if named == b"index" || named.ends_with(b"_index") {
            if let Some(container) = self.open.last().and_then(|at| self.containers.get_mut(*at)) {
                // Members come in any order.
                container.numbered ^= mix(hash(named) ^ mix(hash(value)));
            }
        } else if self.numbers.len() <= SLOTS_MAX && value.first().is_some_and(|first| !first.is_ascii_lowercase()) {
            self.numbers.push(self.at..end);
        }
        self.at = end;
        Some(())
    }

    /// Reads a string; returns its bytes without the quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        if *self.bytes.get(self.at)? != b'"' {
            return None;
        }
        let start = self.at.checked_add(1)?;
        let at = string_end(self.bytes, self.at)?;
        self.at = at.checked_add(1)?;
        Some(start..at)
    }

    fn skip_spaces(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn strings(mut self) -> Strings {
        let (numbers, emptied) = (std::mem::take(&mut self.numbers), std::mem::take(&mut self.emptied));
        let key = |container, name| Key { place: self.place(container, name), group: self.group(container) };
        let mut ends: Vec<u64> = self.ending.iter().map(|container| self.group(*container)).collect();
        if self.ends_by_kind {
            ends.push(self.group(0));
        }
        let values = self.seen.iter().map(|seen| StringValue {
            range: seen.range.clone(),
            continues: seen.is_continued.then(|| key(seen.container, seen.name)),
            is_type: seen.is_type,
        });
        Strings { values: values.collect(), ends, numbers, emptied }
    }

    /// The hash of a place in the document, in which numbers of choices stand for positions.
    fn place(&self, container: usize, name: u64) -> u64 {
        self.way(container).fold(mix(name ^ self.kind), |place, container| {
            let step = if container.numbered == 0 { container.step } else { container.numbered };
            mix(place ^ step)
        })
    }

    /// The outermost numbered container; 0 if there is none.
    fn group(&self, container: usize) -> u64 {
        self.way(container).filter(|container| container.numbered != 0).last().map_or(0, |container| container.numbered)
    }

    /// A container and what it is in, from the inside out.
    fn way(&self, container: usize) -> impl Iterator<Item = &Container> {
        std::iter::successors(self.containers.get(container), |inner| self.containers.get(inner.parent?))
    }
}

/// How many bytes come before the next quote, backslash or control character.
pub(crate) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0_usize;
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk() {
        let found = special(Lanes::load(block)).bits();
        if found != 0 {
            return at.saturating_add(first(found));
        }
        (at, rest) = (at.saturating_add(block.len()), behind);
    }
    // Behind the end there are zeros, which are control characters.
    at.saturating_add(first(special(load_short(rest)).bits()))
}

/// A character of a string: how many bytes it takes there, and what it stands for.
pub(crate) fn unescape(rest: &[u8]) -> Option<(usize, char)> {
    let simple = |character| Some((2, character));
    match rest.get(1)? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => unicode(rest),
        _ => None,
    }
}

fn unicode(rest: &[u8]) -> Option<(usize, char)> {
    let unit = |at: usize| {
        let digits = rest.get(at..at.checked_add(4)?)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?, 16).ok()
    };
    let high = unit(2)?;
    if let 0xd800..=0xdbff = high
        && rest.get(6..8) == Some(b"\\u")
        && let Some(low @ 0xdc00..=0xdfff) = unit(8)
    {
        let character = char::decode_utf16([u16::try_from(high).ok()?, u16::try_from(low).ok()?]).next()?.ok()?;
        return Some((12, character));
    }
    Some((6, char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)))
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Spreads the bits of a number (the finaliser of MurmurHash3).
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}
