//! Replaces strings in JSON as it streams by; every other byte stays as it is.
//!
//! A push parser: it is fed pieces of any size, and what comes out is the same however a document is cut. It holds back one
//! string that may be an id, of at most [`HELD_MAX_BYTES`], and one name. It does not check the grammar: in a document that is
//! valid JSON it sees every string where it stands, and requests are read strictly after their ids have been opened.
use weir_llm_usage::json::Unescaped;

use crate::Refused;
use crate::kind::Dialect;
use crate::place::Place;

/// The longest string that is held back, in bytes as written. A longer one is no id.
pub const HELD_MAX_BYTES: usize = 1024;

/// The deepest level at which ids are found, in containers. A request that nests deeper is refused.
pub const DEPTH_MAX: usize = 128;

/// The longest name of a member that is looked at, in bytes as written.
const NAME_MAX_BYTES: usize = 256;

/// What becomes of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// This text takes its place.
    Replace(String),
    /// The document is refused.
    Refuse(Refused),
}

/// Decides about the strings in a document.
pub trait Judge {
    /// Whether strings at such a place are looked at.
    fn looks_at(&self, place: Place) -> bool;
    /// Decides about a string, without its escapes.
    fn judge(&mut self, place: Place, text: &str) -> Verdict;
    /// Decides about a string at such a place that is longer than [`HELD_MAX_BYTES`] or no text.
    fn judge_long(&mut self, place: Place) -> Verdict;
    /// Decides about a document that nests deeper than [`DEPTH_MAX`].
    fn judge_deep(&mut self) -> Verdict;
}

/// An open container.
#[derive(Clone, Copy, Debug)]
struct Frame {
    is_object: bool,
    /// Where it stands.
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between tokens.
    Structure,
    /// In a name.
    Name,
    /// In a string that is held back.
    Held,
    /// In a string that passes.
    Passing,
    /// Refused, or too deep: everything passes.
    Off,
}

/// Walks documents and replaces strings in them.
#[derive(Debug)]
pub struct Rewriter {
    dialect: Dialect,
    state: State,
    /// The last byte of a string was a backslash that escapes the next one.
    escaped: bool,
    frames: Vec<Frame>,
    /// A name comes next.
    awaits_name: bool,
    /// Where the next value stands.
    place: Place,
    /// The name, or the string that is held back, as written.
    held: Vec<u8>,
}

impl Rewriter {
    /// A rewriter before its first document.
    pub fn new(dialect: Dialect) -> Self {
        Rewriter {
            dialect,
            state: State::Structure,
            escaped: false,
            frames: Vec::new(),
            awaits_name: false,
            place: Place::Unknown,
            held: Vec::new(),
        }
    }

    /// Takes a piece, and appends what goes on to `out`.
    ///
    /// # Errors
    /// If the judge refuses the document. What follows passes unread.
    pub fn feed(&mut self, piece: &[u8], judge: &mut impl Judge, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = match self.state {
                State::Off => {
                    out.extend_from_slice(rest);
                    return Ok(());
                }
                State::Structure => self.structure(rest, judge, out)?,
                State::Name | State::Held | State::Passing => self.string(rest, judge, out)?,
            };
        }
        Ok(())
    }

    /// Ends the document, whole or not: what is held back goes on.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Held {
            out.append(&mut self.held);
        }
        self.held.clear();
        self.frames.clear();
        (self.state, self.escaped, self.awaits_name, self.place) = (State::Structure, false, false, Place::Unknown);
    }

    /// Whether no string is under way.
    pub(crate) fn is_between_tokens(&self) -> bool {
        matches!(self.state, State::Structure | State::Off)
    }

    fn structure<'b>(
        &mut self,
        bytes: &'b [u8],
        judge: &mut impl Judge,
        out: &mut Vec<u8>,
    ) -> Result<&'b [u8], Refused> {
        let length = bytes.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']' | b',' | b':'));
        let (passed, rest) = bytes.split_at_checked(length.unwrap_or(bytes.len())).unwrap_or((bytes, &[]));
        out.extend_from_slice(passed);
        let Some((byte, rest)) = rest.split_first() else { return Ok(rest) };
        out.push(*byte);
        match byte {
            b'"' => self.begin_string(judge),
            b'{' | b'[' => self.open(*byte == b'{', judge)?,
            b'}' | b']' => self.close(),
            b',' => self.next(),
            _ => self.awaits_name = false,
        }
        Ok(rest)
    }

    fn begin_string(&mut self, judge: &impl Judge) {
        self.held.clear();
        self.escaped = false;
        self.state = match self.awaits_name {
            true => State::Name,
            false if judge.looks_at(self.place) => State::Held,
            false => State::Passing,
        };
    }

    fn open(&mut self, is_object: bool, judge: &mut impl Judge) -> Result<(), Refused> {
        if self.frames.len() >= DEPTH_MAX {
            self.state = State::Off;
            return match judge.judge_deep() {
                Verdict::Refuse(refused) => Err(refused),
                Verdict::Keep | Verdict::Replace(_) => Ok(()),
            };
        }
        self.frames.push(Frame { is_object, place: self.place });
        self.awaits_name = is_object;
        Ok(())
    }

    fn close(&mut self) {
        self.frames.pop();
        self.awaits_name = false;
        self.place = self.frames.last().map_or(Place::Unknown, |frame| frame.place);
    }

    /// Behind a comma: an array's elements stand where the array does.
    fn next(&mut self) {
        let frame = self.frames.last();
        self.awaits_name = frame.is_some_and(|frame| frame.is_object);
        self.place = frame.map_or(Place::Unknown, |frame| frame.place);
    }

    /// Reads on in a string, up to its closing quote at most.
    fn string<'b>(&mut self, bytes: &'b [u8], judge: &mut impl Judge, out: &mut Vec<u8>) -> Result<&'b [u8], Refused> {
        if std::mem::take(&mut self.escaped) {
            let (byte, rest) = bytes.split_at_checked(1).unwrap_or((bytes, &[]));
            self.take(byte, judge, out)?;
            return Ok(rest);
        }
        let length = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        self.take(text, judge, out)?;
        match rest.split_first() {
            Some((b'"', rest)) => {
                self.end_string(judge, out)?;
                Ok(rest)
            }
            Some((backslash, rest)) => {
                self.escaped = true;
                self.take(&[*backslash], judge, out)?;
                Ok(rest)
            }
            None => Ok(rest),
        }
    }

    fn take(&mut self, text: &[u8], judge: &mut impl Judge, out: &mut Vec<u8>) -> Result<(), Refused> {
        match self.state {
            State::Name => {
                out.extend_from_slice(text);
                if self.held.len() <= NAME_MAX_BYTES {
                    self.held.extend_from_slice(text);
                }
            }
            State::Held if self.held.len().saturating_add(text.len()) > HELD_MAX_BYTES => {
                out.append(&mut self.held);
                out.extend_from_slice(text);
                self.state = State::Passing;
                if let Verdict::Refuse(refused) = judge.judge_long(self.place) {
                    return Err(self.refuse(refused));
                }
            }
            State::Held => self.held.extend_from_slice(text),
            State::Passing | State::Structure | State::Off => out.extend_from_slice(text),
        }
        Ok(())
    }

    fn end_string(&mut self, judge: &mut impl Judge, out: &mut Vec<u8>) -> Result<(), Refused> {
        match std::mem::replace(&mut self.state, State::Structure) {
            State::Name => {
                let here = self.frames.last().map_or(Place::Unknown, |frame| frame.place);
                self.place = self.name_place(here);
            }
            State::Held => {
                let verdict = match plain(&self.held) {
                    Some(text) => judge.judge(self.place, &text),
                    None => judge.judge_long(self.place),
                };
                match verdict {
                    Verdict::Keep => out.append(&mut self.held),
                    Verdict::Replace(text) => write_text(&text, out),
                    Verdict::Refuse(refused) => return Err(self.refuse(refused)),
                }
            }
            State::Passing | State::Structure | State::Off => {}
        }
        out.push(b'"');
        Ok(())
    }

    fn name_place(&self, here: Place) -> Place {
        if here == Place::MadeUp || self.held.len() > NAME_MAX_BYTES {
            return if here == Place::MadeUp { here } else { Place::Unknown };
        }
        plain(&self.held).map_or(Place::Unknown, |name| here.member(self.dialect, name.as_bytes()))
    }

    fn refuse(&mut self, refused: Refused) -> Refused {
        self.state = State::Off;
        refused
    }
}

/// A string without its escapes; None if it is no text, or has more of them than an id or a name.
fn plain(raw: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    if memchr::memchr(b'\\', raw).is_none() {
        return std::str::from_utf8(raw).ok().map(Into::into);
    }
    let unescaped = Unescaped::read(raw)?;
    std::str::from_utf8(unescaped.get()).ok().map(|text| text.to_owned().into())
}

/// Writes a text between quotes that stand already.
fn write_text(text: &str, out: &mut Vec<u8>) {
    if !text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        return out.extend_from_slice(text.as_bytes());
    }
    let quoted = serde_json::Value::from(text).to_string();
    out.extend_from_slice(quoted.as_bytes().get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
}
