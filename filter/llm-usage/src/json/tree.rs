//! A JSON text as a flat list of values with their places, in the order in which they stand.
//!
//! The grammar is [`Cursor`]'s, strict. An object with the same name twice is refused, since servers differ in which one counts.
//! Numbers in lists get no entry of their own: a vector has thousands, and nothing about one is governed.
use std::borrow::Cow;
use std::ops::Range;

use super::cursor::{Cursor, DEPTH_MAX, Unreadable};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true`, `false`
    Bool(bool),
    /// `null`
    Null,
}

/// A value.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands, brackets and quotes included.
    pub at: Range<usize>,
    /// Where its name stands, quotes included; empty for what has none.
    pub name: Range<usize>,
    /// Its name has escapes.
    is_name_escaped: bool,
    /// How many elements or members it has.
    pub len: usize,
    /// The entry behind its last descendant.
    next: usize,
}

/// Where a member's name stands.
#[derive(Default)]
struct Name {
    at: Range<usize>,
    is_escaped: bool,
}

/// Why a text has no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is no JSON.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// An object has one name twice.
    #[error("an object that begins at byte {0} has one name twice")]
    Duplicate(usize),
    /// It has more values than the reader allows.
    #[error("it has too many values")]
    TooMany,
}

/// A text and its values.
#[derive(Clone, Debug)]
pub struct Tree<'b> {
    /// The text.
    pub bytes: &'b [u8],
    nodes: Vec<Node>,
    nodes_max: usize,
}

/// An entry of a tree.
pub type Id = usize;

/// The root of every tree.
pub const ROOT: Id = 0;

/// How many values an answer of some records has: a capacity, not a bound.
const NODES_USUAL: usize = 64;
/// Up to so many names are compared with each other; more are sorted.
const PAIRWISE_MAX: usize = 8;

impl<'b> Tree<'b> {
    /// Reads a text.
    pub fn read(bytes: &'b [u8]) -> Result<Self, Malformed> {
        Self::read_up_to(bytes, usize::MAX)
    }

    /// Reads a text of at most that many values, each of which takes up to 56 bytes of memory.
    pub fn read_up_to(bytes: &'b [u8], nodes_max: usize) -> Result<Self, Malformed> {
        let mut tree = Tree { bytes, nodes: Vec::with_capacity(NODES_USUAL), nodes_max };
        let mut cursor = Cursor::new(bytes);
        tree.value(&mut cursor, Name::default(), 0)?;
        match cursor.peek() {
            None => Ok(tree),
            Some(_) => Err(cursor.fault().into()),
        }
    }

    /// An entry; None where there is none.
    pub fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// What a value is.
    pub fn kind(&self, id: Id) -> Option<Kind> {
        self.node(id).map(|node| node.kind)
    }

    /// The bytes of a value.
    pub fn raw(&self, id: Id) -> &'b [u8] {
        self.node(id).and_then(|node| self.bytes.get(node.at.clone())).unwrap_or_default()
    }

    /// The members of an object or the elements of a list, numbers in lists left out.
    pub fn children(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        let end = self.node(id).map_or(0, |node| node.next);
        let first = Some(id.saturating_add(1)).filter(|first| *first < end);
        std::iter::successors(first, move |at| {
            let next = self.node(*at)?.next;
            (next < end).then_some(next)
        })
    }

    /// Whether a list has numbers among its elements.
    pub fn has_numbers(&self, id: Id) -> bool {
        self.node(id).is_some_and(|node| node.kind == Kind::Array && node.len > self.children(id).count())
    }

    /// The name of a member, without escapes.
    pub fn name(&self, id: Id) -> Cow<'b, str> {
        let name = self.node(id).map(|node| node.name.clone()).unwrap_or_default();
        unescaped(self.bytes.get(name).unwrap_or_default()).unwrap_or_default()
    }

    /// Whether a member has that name.
    pub fn is_named(&self, id: Id, name: &str) -> bool {
        match self.node(id) {
            Some(node) if node.is_name_escaped => self.name(id) == name,
            Some(node) => self.raw_name(node) == name.as_bytes(),
            None => name.is_empty(),
        }
    }

    /// The member of that name.
    pub fn member(&self, id: Id, name: &str) -> Option<Id> {
        self.children(id).find(|child| self.is_named(*child, name))
    }

    /// A name as it is written, without its quotes.
    fn raw_name(&self, node: &Node) -> &'b [u8] {
        let inner = node.name.start.saturating_add(1)..node.name.end.saturating_sub(1);
        self.bytes.get(inner).unwrap_or_default()
    }

    /// A string without escapes; None for any other value.
    pub fn text(&self, id: Id) -> Option<Cow<'b, str>> {
        (self.kind(id)? == Kind::String).then(|| unescaped(self.raw(id))).flatten()
    }

    /// Whether a value is absent by all accounts: `null`, `{}`, `[]` or an empty string.
    pub fn is_nothing(&self, id: Id) -> bool {
        self.node(id).is_none_or(|node| match node.kind {
            Kind::Null => true,
            Kind::Object | Kind::Array => node.len == 0,
            Kind::String => node.at.len() == 2,
            Kind::Number | Kind::Bool(_) => false,
        })
    }

    fn value(&mut self, cursor: &mut Cursor<'b>, name: Name, depth: u8) -> Result<(), Malformed> {
        let first = cursor.peek().ok_or(cursor.fault())?;
        let start = cursor.at();
        let id = self.nodes.len();
        if id >= self.nodes_max {
            return Err(Malformed::TooMany);
        }
        let kind = kind_of(first);
        self.nodes.push(Node {
            kind,
            at: start..start,
            name: name.at,
            is_name_escaped: name.is_escaped,
            len: 0,
            next: 0,
        });
        let len = match kind {
            Kind::Object => self.object(cursor, depth)?,
            Kind::Array => self.array(cursor, depth)?,
            _ => {
                scalar(cursor, kind)?;
                0
            }
        };
        let next = self.nodes.len();
        if let Some(node) = self.nodes.get_mut(id) {
            (node.at, node.len, node.next) = (start..cursor.at(), len, next);
        }
        if kind == Kind::Object && len > 1 && self.repeats(id, len) {
            return Err(Malformed::Duplicate(start));
        }
        Ok(())
    }

    fn object(&mut self, cursor: &mut Cursor<'b>, depth: u8) -> Result<usize, Malformed> {
        let depth = deeper(depth)?;
        cursor.pass(b'{')?;
        let mut len = 0;
        if cursor.take(b'}') {
            return Ok(len);
        }
        loop {
            let name = cursor.string()?;
            let at = name.start.saturating_sub(1)..name.end.saturating_add(1);
            let name = Name { at, is_escaped: cursor.is_escaped() };
            cursor.pass(b':')?;
            self.value(cursor, name, depth)?;
            len += 1;
            if !cursor.take(b',') {
                cursor.pass(b'}')?;
                return Ok(len);
            }
        }
    }

    fn array(&mut self, cursor: &mut Cursor<'b>, depth: u8) -> Result<usize, Malformed> {
        let depth = deeper(depth)?;
        cursor.pass(b'[')?;
        let mut len = 0;
        if cursor.take(b']') {
            return Ok(len);
        }
        loop {
            let (numbers, goes_on) = cursor.numbers()?;
            len += numbers;
            if numbers > 0 && !goes_on {
                cursor.pass(b']')?;
                return Ok(len);
            }
            self.value(cursor, Name::default(), depth)?;
            len += 1;
            if !cursor.take(b',') {
                cursor.pass(b']')?;
                return Ok(len);
            }
        }
    }

    /// Whether an object has one name twice, however it is spelt.
    fn repeats(&self, id: Id, len: usize) -> bool {
        if len > PAIRWISE_MAX
            || self.children(id).any(|child| self.node(child).is_some_and(|node| node.is_name_escaped))
        {
            return self.repeats_sorted(id);
        }
        let mut names: [&[u8]; PAIRWISE_MAX] = [&[]; PAIRWISE_MAX];
        let nodes = self.children(id).filter_map(|child| self.node(child));
        names.iter_mut().zip(nodes).for_each(|(name, node)| *name = self.raw_name(node));
        let names = names.get(..len).unwrap_or_default();
        names.iter().enumerate().any(|(at, name)| names.iter().skip(at + 1).any(|other| other == name))
    }

    fn repeats_sorted(&self, id: Id) -> bool {
        let mut names: Vec<Cow<'_, str>> = self.children(id).map(|child| self.name(child)).collect();
        names.sort_unstable();
        names.iter().zip(names.iter().skip(1)).any(|(name, next)| name == next)
    }
}

fn kind_of(first: u8) -> Kind {
    match first {
        b'{' => Kind::Object,
        b'[' => Kind::Array,
        b'"' => Kind::String,
        b't' => Kind::Bool(true),
        b'f' => Kind::Bool(false),
        b'n' => Kind::Null,
        _ => Kind::Number,
    }
}

fn scalar(cursor: &mut Cursor<'_>, kind: Kind) -> Result<(), Unreadable> {
    match kind {
        Kind::String => cursor.string().map(|_| ()),
        Kind::Bool(true) => cursor.word(b"true"),
        Kind::Bool(false) => cursor.word(b"false"),
        Kind::Null => cursor.word(b"null"),
        _ => cursor.number(),
    }
}

fn deeper(depth: u8) -> Result<u8, Unreadable> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(Unreadable::Depth) }
}

/// A string with its quotes, as the text that it stands for. None where half a surrogate pair stands in it.
fn unescaped(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let raw = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', raw).is_some() {
        return serde_json::from_slice::<String>(quoted).ok().map(Cow::Owned);
    }
    std::str::from_utf8(raw).ok().map(Cow::Borrowed)
}
