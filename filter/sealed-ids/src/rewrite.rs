//! Replaces strings in JSON as it streams by; every other byte stays as it is.
//!
//! A push parser: it is fed pieces of any size, and what comes out is the same however a document is cut. It holds back one
//! string that may be an id, of at most [`HELD_MAX_BYTES`], and one name. It does not check the grammar: in a document that is
//! valid JSON it sees every string where it stands, and requests are read strictly after their ids have been opened.
use std::borrow::Cow;
use std::ops::Range;

use weir_llm_usage::json::{Unescaped, next_special};

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
    /// The last byte of a piece was a backslash that escapes the first one of the next.
    escaped: bool,
    /// The string under way has an escape.
    has_escape: bool,
    frames: Vec<Frame>,
    /// A name comes next.
    awaits_name: bool,
    /// Where the next value stands.
    place: Place,
    /// What earlier pieces had of the name, or of the string that is held back, as written.
    held: Vec<u8>,
    may_store: bool,
}

/// A piece under way. What stays is copied in one run, up to the next replacement.
struct Piece<'b> {
    bytes: &'b [u8],
    /// How far it is read.
    at: usize,
    /// From here on nothing of it is out.
    from: usize,
}

impl Piece<'_> {
    /// Appends what stands before `end` and is not out.
    fn pass(&mut self, end: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes.get(self.from..end).unwrap_or_default());
        self.from = end;
    }
}

impl Rewriter {
    /// A rewriter before its first document.
    pub fn new(dialect: Dialect) -> Self {
        Rewriter {
            dialect,
            state: State::Structure,
            escaped: false,
            has_escape: false,
            frames: Vec::new(),
            awaits_name: false,
            place: Place::Unknown,
            held: Vec::new(),
            may_store: true,
        }
    }

    /// Takes a piece, and appends what goes on to `out`.
    ///
    /// # Errors
    /// If the judge refuses the document. What follows passes unread.
    pub fn feed(&mut self, piece: &[u8], judge: &mut impl Judge, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut piece = Piece { bytes: piece, at: 0, from: 0 };
        while piece.at < piece.bytes.len() {
            match self.state {
                State::Off => break,
                State::Structure => self.structure(&mut piece, judge)?,
                State::Name | State::Held | State::Passing => self.string(&mut piece, judge, out)?,
            }
        }
        piece.pass(piece.bytes.len(), out);
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

    /// Whether the document may ask the provider to keep the answer: its root has a member `store`, in whatever spelling, or is no
    /// object.
    pub fn may_store(&self) -> bool {
        self.may_store
    }

    /// Reads up to the next string.
    fn structure(&mut self, piece: &mut Piece<'_>, judge: &mut impl Judge) -> Result<(), Refused> {
        for byte in piece.bytes.get(piece.at..).unwrap_or_default() {
            piece.at = piece.at.saturating_add(1);
            match byte {
                b'"' => {
                    self.begin_string(judge);
                    return Ok(());
                }
                b'{' | b'[' => {
                    self.open(*byte == b'{', judge)?;
                    if self.state == State::Off {
                        return Ok(());
                    }
                }
                b'}' | b']' => self.close(),
                b',' => self.next(),
                b':' => self.awaits_name = false,
                _ => {}
            }
        }
        Ok(())
    }

    fn begin_string(&mut self, judge: &impl Judge) {
        self.held.clear();
        (self.escaped, self.has_escape) = (false, false);
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
        if self.frames.is_empty() {
            self.may_store = !is_object;
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

    /// Reads on in a string, up to its closing quote or the end of the piece.
    fn string(&mut self, piece: &mut Piece<'_>, judge: &mut impl Judge, out: &mut Vec<u8>) -> Result<(), Refused> {
        let start = piece.at;
        let rest = piece.bytes.get(start..).unwrap_or_default();
        let Some(length) = self.closing_quote(rest) else {
            piece.at = piece.bytes.len();
            return self.carry(piece, start, judge, out);
        };
        piece.at = start.saturating_add(length).saturating_add(1);
        self.end_string(piece, start..start.saturating_add(length), judge, out)
    }

    /// The index of the closing quote; None where the string goes on in the next piece.
    fn closing_quote(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = usize::from(std::mem::take(&mut self.escaped));
        loop {
            let found = at.saturating_add(next_special(bytes.get(at..)?)?);
            if bytes.get(found) == Some(&b'"') {
                return Some(found);
            }
            self.has_escape = true;
            at = found.saturating_add(2);
            self.escaped = at > bytes.len();
        }
    }

    /// Keeps what a piece has of a name, or of a string that is held back, from `start` to its end.
    fn carry(
        &mut self,
        piece: &mut Piece<'_>,
        start: usize,
        judge: &mut impl Judge,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let part = piece.bytes.get(start..).unwrap_or_default();
        match self.state {
            State::Name if self.held.len() <= NAME_MAX_BYTES => self.held.extend_from_slice(part),
            State::Held => {
                self.held.extend_from_slice(part);
                piece.pass(start, out);
                piece.from = piece.at;
                if self.held.len() > HELD_MAX_BYTES {
                    out.append(&mut self.held);
                    self.state = State::Passing;
                    if let Verdict::Refuse(refused) = judge.judge_long(self.place) {
                        return Err(self.refuse(refused));
                    }
                }
            }
            State::Name | State::Passing | State::Structure | State::Off => {}
        }
        Ok(())
    }

    /// Ends a string, of which `range` is what this piece has of it.
    fn end_string(
        &mut self,
        piece: &mut Piece<'_>,
        range: Range<usize>,
        judge: &mut impl Judge,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let state = std::mem::replace(&mut self.state, State::Structure);
        if state == State::Passing {
            return Ok(());
        }
        let part = piece.bytes.get(range.clone()).unwrap_or_default();
        let mut held = std::mem::take(&mut self.held);
        let is_carried = !held.is_empty();
        if is_carried {
            held.extend_from_slice(part);
        }
        let whole = if is_carried { &held } else { part };
        if state == State::Name {
            self.end_name(whole);
        } else {
            match self.judge(whole, judge) {
                Verdict::Keep if is_carried => out.extend_from_slice(&held),
                Verdict::Keep => return Ok(()),
                Verdict::Replace(text) => {
                    piece.pass(range.start, out);
                    write_text(&text, out);
                }
                Verdict::Refuse(refused) => return Err(self.refuse(refused)),
            }
            piece.from = range.end;
        }
        held.clear();
        self.held = held;
        Ok(())
    }

    fn judge(&self, raw: &[u8], judge: &mut impl Judge) -> Verdict {
        let text = if raw.len() > HELD_MAX_BYTES { None } else { plain(raw, self.has_escape) };
        match text {
            Some(text) => judge.judge(self.place, &text),
            None => judge.judge_long(self.place),
        }
    }

    fn end_name(&mut self, raw: &[u8]) {
        let here = self.frames.last().map_or(Place::Unknown, |frame| frame.place);
        if raw.len() > NAME_MAX_BYTES {
            self.place = if here == Place::MadeUp { here } else { Place::Unknown };
            // Underscores do not count, and an escape is six bytes: nobody knows.
            self.may_store |= self.frames.len() == 1;
            return;
        }
        let unescaped = if self.has_escape { Unescaped::read(raw) } else { None };
        let name = match (&unescaped, self.has_escape) {
            (Some(unescaped), _) => unescaped.get(),
            (None, false) => raw,
            (None, true) => b"",
        };
        self.may_store |= self.frames.len() == 1 && is_store(name);
        self.place = here.member(self.dialect, name);
    }

    fn refuse(&mut self, refused: Refused) -> Refused {
        self.state = State::Off;
        refused
    }
}

/// Whether a name is `store` to a server that ignores case and underscores.
fn is_store(name: &[u8]) -> bool {
    let letters = name.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase);
    letters.eq(*b"store")
}

/// A string without its escapes; None if it is no text, or has more of them than an id.
fn plain(raw: &[u8], has_escape: bool) -> Option<Cow<'_, str>> {
    if !has_escape {
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
