//! A push scanner for JSON.
use super::number::is_number_byte;
use super::skip::Skip;
use super::string::{Unescaped, hex, next_special, simple};
use super::token::{TOKEN_MAX_BYTES, Token};
use super::varying::Varying;

/// The deepest level that a visitor sees, in containers. Deeper values are skipped, at any depth.
pub const DEPTH_MAX: usize = 32;

/// A value that contains values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// A value that contains none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A string without quotes and escapes. It is UTF-8 only if the document is. None if it is longer than
    /// [`TOKEN_MAX_BYTES`] or contains an invalid escape.
    String(Option<&'a [u8]>),
    /// A number as written, for [`super::count`]. None if it is longer than [`TOKEN_MAX_BYTES`].
    Number(Option<&'a [u8]>),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
}

/// How a visitor wants the next value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Skip it.
    Skip,
    /// Read it: a scalar as a whole, in [`Visitor::scalar`]; a container member by member.
    Read,
    /// Read it as `Read` does, but a string of any length piece by piece, in [`Visitor::piece`].
    Stream,
}

/// Receives the content of the documents that a [`Scanner`] reads.
pub trait Visitor {
    /// A member's name, without escapes. Returns how to read its value. Names longer than [`TOKEN_MAX_BYTES`] are
    /// skipped.
    fn key(&mut self, key: &[u8]) -> Want;
    /// An element of the innermost open array. Returns how to read it.
    fn element(&mut self) -> Want;
    /// A wanted container begins, or the document's root. Return false to skip it.
    fn begin(&mut self, container: Container) -> bool;
    /// The innermost open container ends.
    fn end(&mut self);
    /// A wanted scalar.
    fn scalar(&mut self, scalar: Scalar<'_>);
    /// A piece of a streamed string, without escapes. Half a surrogate pair becomes U+FFFD.
    fn piece(&mut self, piece: &[u8]);
    /// The document ends.
    fn end_document(&mut self) {}
    /// A varying value begins (see [`Varying`]). `left` counts the bytes of this feed from its first one on: for a
    /// string from behind its quote, for a container from behind its bracket. Varying values do not nest.
    fn begin_varying(&mut self, _: Varying, _left: usize) {}
    /// The varying value ends. `left` counts the bytes of this feed from its end on: from a string's closing quote, or
    /// from behind a container's bracket.
    fn end_varying(&mut self, _left: usize) {}
}

/// The scanner's position in the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between documents.
    Root,
    Value,
    FirstElement,
    FirstKey,
    NextKey,
    Colon,
    AfterValue,
    String,
    Escape,
    Unicode {
        digits: u8,
        value: u32,
    },
    Number,
    /// Within `true`, `false` or `null`; the letters still to come, and the value.
    Literal(&'static [u8], Scalar<'static>),
    Skip,
    Failed,
}

/// The role of the current string or number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Key,
    Value(Want),
}

/// A push scanner for a sequence of JSON documents, with or without white space between them.
#[derive(Clone)]
pub struct Scanner {
    state: State,
    role: Role,
    /// How the visitor wants the value after the colon.
    want: Want,
    /// The open containers, innermost in the lowest bit: 1 for an object, 0 for an array.
    kinds: u32,
    depth: usize,
    token: Token,
    escaped: bool,
    skip: Skip,
    documents: u32,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("state", &self.state).field("depth", &self.depth).finish_non_exhaustive()
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner before its first document.
    pub const fn new() -> Self {
        Scanner {
            state: State::Root,
            role: Role::Key,
            want: Want::Read,
            kinds: 0,
            depth: 0,
            token: Token::new(),
            escaped: false,
            skip: Skip::new(),
            documents: 0,
        }
    }

    /// Drops the document under way; the next byte begins a new one.
    pub fn reset(&mut self) {
        self.state = State::Root;
        self.depth = 0;
        self.documents = 0;
    }

    /// Returns true if the bytes since the last [`Scanner::reset`] are not JSON. The scanner ignores all further bytes.
    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// The number of documents completed since the last [`Scanner::reset`].
    pub fn documents(&self) -> u32 {
        self.documents
    }

    /// Returns true if no document is under way.
    pub fn is_between_documents(&self) -> bool {
        self.state == State::Root
    }

    /// Scans further bytes.
    pub fn feed<V: Visitor>(&mut self, bytes: &[u8], visitor: &mut V) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.state {
                State::String => self.string(rest, visitor),
                State::Number => self.number(rest, visitor),
                State::Skip => self.pass_over(rest, visitor),
                State::Failed => return,
                State::Literal(letters, scalar) => self.literal(rest, letters, scalar, visitor),
                State::Escape => self.escape(rest, visitor),
                State::Unicode { digits, value } => self.unicode(rest, digits, value, visitor),
                _ => self.structure(rest, visitor),
            };
        }
    }

    fn structure<'b, V: Visitor>(&mut self, bytes: &'b [u8], visitor: &mut V) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return &[] };
        match (self.state, *byte) {
            (_, b' ' | b'\n' | b'\r' | b'\t') => {}
            (State::AfterValue, b',') => {
                self.state = if self.in_object() { State::NextKey } else { State::Value };
                // Fast path: usually the next key follows at once.
                if let (true, Some((b'"', rest))) = (self.in_object(), rest.split_first()) {
                    self.begin_string(Role::Key);
                    return rest;
                }
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::FirstKey | State::NextKey, b'"') => self.begin_string(Role::Key),
            (State::FirstKey, b'}') => self.end_container(visitor),
            (State::AfterValue, b'}') if self.in_object() => self.end_container(visitor),
            (State::AfterValue, b']') if !self.in_object() => self.end_container(visitor),
            (State::FirstElement, b']') => self.end_container(visitor),
            (State::Value | State::FirstElement | State::Root, _) => return self.begin_value(bytes, visitor),
            _ => self.state = State::Failed,
        }
        rest
    }

    fn begin_value<'b, V: Visitor>(&mut self, bytes: &'b [u8], visitor: &mut V) -> &'b [u8] {
        let want = self.want_now(visitor);
        let Some((byte, rest)) = bytes.split_first() else { return &[] };
        match byte {
            b'{' => self.begin_container(Container::Object, want, rest.len(), visitor),
            b'[' => self.begin_container(Container::Array, want, rest.len(), visitor),
            b'"' => {
                self.begin_string(Role::Value(want));
                match want {
                    Want::Read => {}
                    Want::Skip => visitor.begin_varying(Varying::String, rest.len()),
                    Want::Stream => visitor.begin_varying(Varying::Text, rest.len()),
                }
            }
            b't' => return self.begin_literal(rest, b"rue", Scalar::Bool(true), want, visitor),
            b'f' => return self.begin_literal(rest, b"alse", Scalar::Bool(false), want, visitor),
            b'n' => return self.begin_literal(rest, b"ull", Scalar::Null, want, visitor),
            b'-' | b'0'..=b'9' => {
                self.token.clear();
                self.state = State::Number;
                self.role = Role::Value(want);
                let varying = if want == Want::Skip { Varying::Number } else { Varying::Read };
                visitor.begin_varying(varying, bytes.len());
                return bytes;
            }
            _ => self.state = State::Failed,
        }
        self.want = want;
        rest
    }

    fn want_now<V: Visitor>(&self, visitor: &mut V) -> Want {
        if self.depth == 0 {
            Want::Read
        } else if self.in_object() {
            self.want
        } else {
            visitor.element()
        }
    }

    fn begin_container<V: Visitor>(&mut self, container: Container, want: Want, left: usize, visitor: &mut V) {
        if want == Want::Skip || self.depth >= DEPTH_MAX || !visitor.begin(container) {
            visitor.begin_varying(Varying::Container, left);
            self.skip = Skip::begin();
            self.state = State::Skip;
            return;
        }
        self.depth = self.depth.saturating_add(1);
        self.kinds <<= 1;
        match container {
            Container::Object => {
                self.kinds |= 1;
                self.state = State::FirstKey;
            }
            Container::Array => self.state = State::FirstElement,
        }
    }

    fn end_container<V: Visitor>(&mut self, visitor: &mut V) {
        visitor.end();
        self.depth = self.depth.saturating_sub(1);
        self.kinds >>= 1;
        self.end_value(visitor);
    }

    fn end_value<V: Visitor>(&mut self, visitor: &mut V) {
        if self.depth > 0 {
            self.state = State::AfterValue;
            return;
        }
        self.state = State::Root;
        self.documents = self.documents.saturating_add(1);
        visitor.end_document();
    }

    fn pass_over<'b, V: Visitor>(&mut self, bytes: &'b [u8], visitor: &mut V) -> &'b [u8] {
        let (rest, ended) = self.skip.feed(bytes);
        if ended {
            visitor.end_varying(rest.len());
            self.end_value(visitor);
        }
        rest
    }

    fn in_object(&self) -> bool {
        self.kinds & 1 == 1
    }

    fn begin_string(&mut self, role: Role) {
        self.role = role;
        self.token.clear();
        self.escaped = false;
        self.state = State::String;
    }

    fn string<'b, V: Visitor>(&mut self, bytes: &'b [u8], visitor: &mut V) -> &'b [u8] {
        let Some(at) = next_special(bytes) else {
            self.take(bytes, visitor);
            return &[];
        };
        let (head, tail) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
        let Some((special, rest)) = tail.split_first() else { return &[] };
        if *special == b'"' {
            if matches!(self.role, Role::Value(Want::Skip | Want::Stream)) {
                visitor.end_varying(tail.len());
            }
            self.end_string(head, visitor);
            // Fast path: usually the colon follows its key at once.
            if let (State::Colon, Some((b':', rest))) = (self.state, rest.split_first()) {
                self.state = State::Value;
                return rest;
            }
        } else {
            self.take(head, visitor);
            self.take_raw(b"\\");
            self.escaped = true;
            self.state = State::Escape;
        }
        rest
    }

    /// Takes a run of the string without escapes or quotes.
    fn take<V: Visitor>(&mut self, bytes: &[u8], visitor: &mut V) {
        if self.role != Role::Value(Want::Stream) {
            self.take_raw(bytes);
        } else if !bytes.is_empty() {
            visitor.piece(bytes);
        }
    }

    fn take_raw(&mut self, bytes: &[u8]) {
        if matches!(self.role, Role::Key | Role::Value(Want::Read)) {
            self.token.push(bytes);
        }
    }

    fn escape<'b, V: Visitor>(&mut self, bytes: &'b [u8], visitor: &mut V) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return &[] };
        self.take_raw(std::slice::from_ref(byte));
        self.state = State::String;
        if self.role == Role::Value(Want::Stream) {
            match (byte, simple(*byte)) {
                (b'u', _) => self.state = State::Unicode { digits: 0, value: 0 },
                (_, Some(character)) => visitor.piece(character.encode_utf8(&mut [0; 4]).as_bytes()),
                (_, None) => self.state = State::Failed,
            }
        }
        rest
    }

    fn unicode<'b, V: Visitor>(&mut self, bytes: &'b [u8], digits: u8, value: u32, visitor: &mut V) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return &[] };
        let Some(digit) = hex(*byte) else {
            self.state = State::Failed;
            return rest;
        };
        let value = value << 4 | digit;
        if digits < 3 {
            self.state = State::Unicode { digits: digits.saturating_add(1), value };
            return rest;
        }
        let character = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
        visitor.piece(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.state = State::String;
        rest
    }

    fn end_string<V: Visitor>(&mut self, tail: &[u8], visitor: &mut V) {
        let whole = self.token.is_empty() && tail.len() <= TOKEN_MAX_BYTES;
        if !whole {
            self.take(tail, visitor);
        }
        match self.role {
            Role::Key => {
                self.want = with_string(whole.then_some(tail), &self.token, self.escaped, |key| {
                    key.map_or(Want::Skip, |key| visitor.key(key))
                });
                self.state = State::Colon;
                return;
            }
            Role::Value(Want::Read) => with_string(whole.then_some(tail), &self.token, self.escaped, |value| {
                visitor.scalar(Scalar::String(value));
            }),
            Role::Value(Want::Stream) if whole && !tail.is_empty() => visitor.piece(tail),
            Role::Value(_) => {}
        }
        self.end_value(visitor);
    }

    fn number<'b, V: Visitor>(&mut self, bytes: &'b [u8], visitor: &mut V) -> &'b [u8] {
        let wanted = self.role != Role::Value(Want::Skip);
        let end = bytes.iter().position(|byte| !is_number_byte(*byte));
        let (head, rest) = end.and_then(|at| bytes.split_at_checked(at)).unwrap_or((bytes, &[]));
        let whole = end.is_some() && self.token.is_empty() && head.len() <= TOKEN_MAX_BYTES;
        if wanted && !whole {
            self.token.push(head);
        }
        if end.is_some() {
            if wanted {
                visitor.scalar(Scalar::Number(if whole { Some(head) } else { self.token.get() }));
            }
            visitor.end_varying(rest.len());
            self.end_value(visitor);
        }
        rest
    }

    fn begin_literal<'b, V: Visitor>(
        &mut self,
        bytes: &'b [u8],
        letters: &'static [u8],
        scalar: Scalar<'static>,
        want: Want,
        visitor: &mut V,
    ) -> &'b [u8] {
        self.want = want;
        let Some(rest) = bytes.strip_prefix(letters) else {
            self.state = State::Literal(letters, scalar);
            return bytes;
        };
        self.end_literal(scalar, visitor);
        rest
    }

    fn end_literal<V: Visitor>(&mut self, scalar: Scalar<'static>, visitor: &mut V) {
        if self.want != Want::Skip {
            visitor.scalar(scalar);
        }
        self.end_value(visitor);
    }

    fn literal<'b, V: Visitor>(
        &mut self,
        bytes: &'b [u8],
        letters: &'static [u8],
        scalar: Scalar<'static>,
        visitor: &mut V,
    ) -> &'b [u8] {
        let (Some((byte, rest)), Some((letter, letters))) = (bytes.split_first(), letters.split_first()) else {
            return &[];
        };
        if byte != letter {
            self.state = State::Failed;
        } else if !letters.is_empty() {
            self.state = State::Literal(letters, scalar);
        } else {
            self.end_literal(scalar, visitor);
        }
        rest
    }
}

/// Passes the string without escapes to `then`, directly from the current piece if that contains all of it.
fn with_string<R>(whole: Option<&[u8]>, token: &Token, escaped: bool, then: impl FnOnce(Option<&[u8]>) -> R) -> R {
    let raw = whole.or_else(|| token.get());
    if !escaped {
        return then(raw);
    }
    let unescaped = raw.and_then(Unescaped::read);
    then(unescaped.as_ref().map(Unescaped::get))
}
