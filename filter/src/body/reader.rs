//! Reads a body into a [`Document`].
use std::ops::Range;

use weir_config::shared::Shared;
use weir_llm_usage::json;
use weir_sealed_ids::Dialect;
use weir_sealed_ids::place::Place;

use super::binary;
use super::cursor::Cursor;
use super::members::{self, Content, Found, MemberName, Role, Scope};
use super::references::{self, Meaning};
use super::{
    Amount, CAPS_MAX, Container, DEPTH_MAX, Document, MODEL_MAX_BYTES, Member, Model, Opening, StreamOptions,
    Unreadable,
};

/// What surrounds a value, as far as it decides how its text counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextContext {
    /// Anywhere: strings are text.
    Anything,
    /// An element of `prompt`: texts and lists are prompts, numbers are tokens.
    Prompt,
    /// Below `input`, or in one of several prompts: numbers are tokens.
    Tokens,
    /// Below `input`: as [`TextContext::Tokens`], and an object may be the name of an item that the provider keeps.
    Input,
    /// Under `data`.
    Data,
    /// Under `type`.
    Type,
    /// Under `images`: each string is one, whole.
    Images,
    /// Below `tools`: an object is a tool, and may have a model of its own.
    Tools,
}

pub(super) fn read(body: &[u8]) -> Result<Document, Unreadable> {
    let mut reader = Reader { cursor: Cursor::new(body), document: Document::default(), made_up: false };
    if reader.cursor.peek() == Some(b'{') {
        reader.document.root = Some(reader.governed(Scope::Root, 0)?);
    } else {
        reader.value(TextContext::Anything, 0)?;
    }
    match reader.cursor.peek() {
        None => Ok(reader.document),
        Some(_) => Err(reader.cursor.fault()),
    }
}

/// A member's name as written: its range between its quotes, and whether it has escapes.
struct Name {
    at: Range<usize>,
    is_escaped: bool,
}

struct Reader<'b> {
    cursor: Cursor<'b>,
    document: Document,
    /// Users make up what is being read: nothing in it names anything at the provider.
    made_up: bool,
}

impl Reader<'_> {
    /// Reads an object with governed members.
    fn governed(&mut self, scope: Scope, depth: u8) -> Result<Opening, Unreadable> {
        let depth = deeper(depth)?;
        self.cursor.pass(b'{')?;
        let mut opening = Opening { at: self.cursor.at(), members: 0 };
        if self.cursor.take(b'}') {
            return Ok(opening);
        }
        // Bits for the members of this place only: each place is entered once, or the body is ambiguous.
        let (mut seen, mut comma_before) = (0, None);
        loop {
            opening.members = opening.members.saturating_add(1);
            let name = self.name()?;
            let at = name.at.start.saturating_sub(1);
            match members::find(scope, self.cursor.slice(&name.at), name.is_escaped) {
                Some(found) => {
                    self.note_twice(found, &mut seen);
                    self.member(
                        (scope, found),
                        Member { object: opening.at, at, comma_before, comma_behind: None },
                        depth,
                    )?;
                }
                None if self.cursor.slice(&name.at) == b"images" => self.value(TextContext::Images, depth)?,
                None => self.named(&name, TextContext::Anything, depth)?,
            }
            self.cursor.peek();
            let comma = self.cursor.at();
            if self.ends(b'}')? {
                return Ok(opening);
            }
            comma_before = Some(comma);
        }
    }

    /// Some servers take `1`, `"true"`, `"on"` and the like as true. Only `false`, `null`, zero and empty values are false
    /// everywhere.
    fn stream(&mut self, depth: u8) -> Result<(), Unreadable> {
        self.cursor.peek();
        let start = self.cursor.at();
        self.value(TextContext::Anything, depth)?;
        let written = self.cursor.slice(&(start..self.cursor.at()));
        let is_zero = written.iter().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
        self.document.streams_plainly = written == b"true";
        self.document.stream |= !is_zero && !matches!(written, b"false" | b"null" | b"\"\"");
        Ok(())
    }

    /// A member that stands twice, or in a spelling that only careless readers take for it, is read differently by
    /// different upstreams.
    fn note_twice(&mut self, found: Found, seen: &mut u64) {
        let bit = 1_u64.checked_shl(u32::try_from(found.index).unwrap_or(u32::MAX)).unwrap_or(0);
        self.document.ambiguous |= *seen & bit != 0 || !found.exact;
        *seen |= bit;
    }

    fn member(&mut self, (scope, found): (Scope, Found), member: Member, depth: u8) -> Result<(), Unreadable> {
        let name = (scope, found.name);
        match found.role {
            // Names of shared things count in every spelling.
            Role::Refers(shared) => self.reference(shared, found.name, depth),
            // A server that is careless about case streams all the same.
            Role::Stream => self.stream(depth),
            _ if !found.exact => self.value(TextContext::Anything, depth),
            Role::Model => self.model(depth),
            Role::OtherModels => {
                self.document.other_models |= !self.is_empty_value();
                self.value(TextContext::Anything, depth)
            }
            Role::IncludeUsage => self.include_usage(depth),
            Role::Count => {
                let amount = self.amount(name, member, depth)?;
                self.keep(amount, |document| &mut document.counts);
                Ok(())
            }
            Role::Cap => {
                let amount = self.amount(name, member, depth)?;
                self.document.has.max_output = true;
                self.keep(amount, |document| &mut document.caps);
                Ok(())
            }
            Role::Enter(scope) => self.enter(scope, depth),
            Role::Content(content) => self.content(content, depth),
        }
    }

    fn keep(&mut self, amount: Amount, list: impl FnOnce(&mut Document) -> &mut Vec<Amount>) {
        let list = list(&mut self.document);
        if list.len() < CAPS_MAX {
            list.push(amount);
        } else {
            self.document.ambiguous = true;
        }
    }

    fn model(&mut self, depth: u8) -> Result<(), Unreadable> {
        self.document.has.model = true;
        let is_string = self.cursor.peek() == Some(b'"');
        let start = self.cursor.at();
        self.value(TextContext::Anything, depth)?;
        let at = start..self.cursor.at();
        let raw = at.start.saturating_add(1)..at.end.saturating_sub(1);
        let name = if is_string { unescape(self.cursor.slice(&raw)) } else { None };
        self.document.model = Some(Model { name, at });
        Ok(())
    }

    fn amount(&mut self, name: MemberName, member: Member, depth: u8) -> Result<Amount, Unreadable> {
        let null = self.cursor.peek() == Some(b'n');
        let start = self.cursor.at();
        self.value(TextContext::Anything, depth)?;
        let at = start..self.cursor.at();
        let value = json::count(self.cursor.slice(&at));
        let comma_behind = if self.cursor.peek() == Some(b',') { Some(self.cursor.at()) } else { None };
        Ok(Amount { value, null, at, name, member: Member { comma_behind, ..member } })
    }

    fn include_usage(&mut self, depth: u8) -> Result<(), Unreadable> {
        let on = self.cursor.peek() == Some(b't');
        let start = self.cursor.at();
        self.value(TextContext::Anything, depth)?;
        let at = start..self.cursor.at();
        if let Some(options) = &mut self.document.stream_options {
            options.include_usage = Some((at, on));
        }
        Ok(())
    }

    fn enter(&mut self, scope: Scope, depth: u8) -> Result<(), Unreadable> {
        let is_object = self.cursor.peek() == Some(b'{');
        let start = self.cursor.at();
        if scope == Scope::StreamOptions {
            self.document.stream_options = Some(StreamOptions { at: start..start, opening: None, include_usage: None });
        }
        let opening = if is_object {
            Some(self.governed(scope, depth)?)
        } else {
            self.value(TextContext::Anything, depth)?;
            None
        };
        let at = start..self.cursor.at();
        match (scope, &mut self.document.stream_options) {
            (Scope::StreamOptions, Some(options)) => (options.at, options.opening) = (at, opening),
            // Two spellings of one container; upstreams accept either.
            _ if self.document.containers.iter().any(|(known, _)| *known == scope) => self.document.ambiguous = true,
            _ => self.document.containers.push((scope, Container { at, opening })),
        }
        Ok(())
    }

    fn content(&mut self, content: Content, depth: u8) -> Result<(), Unreadable> {
        self.document.has.note(content);
        match content {
            Content::Tools => {
                self.document.tools |= !self.is_empty_value();
                self.value(TextContext::Tools, depth)
            }
            // A prompt that the account keeps, by its name.
            Content::Prompt if self.cursor.peek() == Some(b'{') => {
                self.refer(Shared::Assistants);
                self.value(TextContext::Anything, depth)
            }
            Content::Prompt if self.cursor.peek() == Some(b'[') => self.array(TextContext::Prompt, depth),
            Content::Input => self.value(TextContext::Input, depth),
            _ => self.value(TextContext::Anything, depth),
        }
    }

    /// `null`, `""`, `[]` or `{}`: as good as absent.
    fn is_empty_value(&mut self) -> bool {
        let mut ahead = self.cursor.clone();
        match ahead.peek() {
            Some(b'n') => true,
            Some(b'"') => ahead.take(b'"') && ahead.next_is(b'"'),
            Some(b'[') => ahead.take(b'[') && ahead.peek() == Some(b']'),
            Some(b'{') => ahead.take(b'{') && ahead.peek() == Some(b'}'),
            _ => false,
        }
    }

    fn value(&mut self, context: TextContext, depth: u8) -> Result<(), Unreadable> {
        match self.cursor.peek() {
            Some(b'"') => self.text(context),
            Some(b'{') => self.object(context, depth),
            Some(b'[') => self.array(context, depth),
            Some(b't') => self.cursor.word(b"true"),
            Some(b'f') => self.cursor.word(b"false"),
            Some(b'n') => self.cursor.word(b"null"),
            Some(b'-' | b'0'..=b'9') => {
                if matches!(context, TextContext::Tokens | TextContext::Input | TextContext::Prompt) {
                    self.document.token_ids = self.document.token_ids.saturating_add(1);
                }
                self.cursor.number()
            }
            _ => Err(self.cursor.fault()),
        }
    }

    fn text(&mut self, context: TextContext) -> Result<(), Unreadable> {
        let range = self.cursor.string()?;
        if context == TextContext::Type {
            let kind = self.cursor.slice(&range);
            // The most frequent one is no image and names nothing.
            if kind == b"text" {
                self.document.text.add_letters(range.len());
                return Ok(());
            }
            if is_plain(kind, self.cursor.is_escaped(), b"item_reference") {
                self.refer(Shared::StoredResponses);
            }
        }
        let is_image = match context {
            TextContext::Type => binary::is_image(self.cursor.slice(&range)),
            TextContext::Images => true,
            _ => false,
        };
        self.document.images = self.document.images.saturating_add(u64::from(is_image));
        let is_binary = match context {
            TextContext::Data => range.len() >= binary::RUN_MIN_BYTES,
            TextContext::Images => true,
            _ => members::is_data(&self.cursor, &range),
        };
        if !is_binary {
            binary::weigh(self.cursor.slice(&range), &mut self.document.text);
        }
        Ok(())
    }

    fn object(&mut self, context: TextContext, depth: u8) -> Result<(), Unreadable> {
        let depth = deeper(depth)?;
        self.cursor.pass(b'{')?;
        if self.cursor.take(b'}') {
            return Ok(());
        }
        let mut item = Item::default();
        let below = match context {
            TextContext::Tokens | TextContext::Input => TextContext::Tokens,
            _ => TextContext::Anything,
        };
        loop {
            let written = self.name()?;
            let name = self.cursor.slice(&written.at);
            if context == TextContext::Input {
                let null = self.cursor.peek() == Some(b'n');
                item.note(name, written.is_escaped, null);
            }
            if context == TextContext::Tools && is_model(name, written.is_escaped) {
                self.document.other_models |= self.cursor.peek() == Some(b'"');
            }
            match name {
                b"type" => self.value(TextContext::Type, depth)?,
                _ if written.is_escaped && is_plain(name, true, b"type") => self.value(TextContext::Type, depth)?,
                // They stand in every message: `names_of_every_message_mean_nothing` compares this with the tables.
                b"text" | b"content" | b"role" => {
                    self.document.text.add_letters(name.len());
                    self.value(below, depth)?;
                }
                _ => {
                    let below = self.below(name, below);
                    self.named(&written, below, depth)?;
                }
            }
            if self.ends(b'}')? {
                break;
            }
        }
        if item.is_reference() {
            self.refer(Shared::StoredResponses);
        }
        Ok(())
    }

    /// How the text below a member counts; the name itself counts where it is no mark of binary data.
    fn below(&mut self, name: &[u8], otherwise: TextContext) -> TextContext {
        match name {
            b"data" | b"bytes" => TextContext::Data,
            b"images" => TextContext::Images,
            b"inlineData" | b"inline_data" | b"fileData" | b"file_data" => {
                self.document.images = self.document.images.saturating_add(1);
                TextContext::Anything
            }
            _ => {
                self.document.text.add(name);
                otherwise
            }
        }
    }

    /// The value of a member that is not governed.
    #[inline]
    fn named(&mut self, name: &Name, context: TextContext, depth: u8) -> Result<(), Unreadable> {
        match references::meaning(self.cursor.slice(&name.at), name.is_escaped) {
            None => self.value(context, depth),
            Some(meaning) => self.meant(name, meaning, context, depth),
        }
    }

    /// The value of a member that means something wherever it stands.
    fn meant(&mut self, name: &Name, meaning: Meaning, context: TextContext, depth: u8) -> Result<(), Unreadable> {
        match meaning {
            Meaning::MadeUp => {
                let outside = std::mem::replace(&mut self.made_up, true);
                let read = self.value(context, depth);
                self.made_up = outside;
                read
            }
            Meaning::Names(shared) => {
                if self.names_something() {
                    let unescaped =
                        if name.is_escaped { json::Unescaped::read(self.cursor.slice(&name.at)) } else { None };
                    let plain = unescaped.as_ref().map_or(self.cursor.slice(&name.at), json::Unescaped::get);
                    self.refer_by(shared, plain);
                }
                self.value(context, depth)
            }
            Meaning::Address => {
                let is_text = self.cursor.peek() == Some(b'"');
                let start = self.cursor.at();
                self.value(context, depth)?;
                if is_text && references::is_of_account(self.cursor.slice(&(start..self.cursor.at()))) {
                    self.refer(Shared::Files);
                    self.document.has_address |= !self.made_up;
                }
                Ok(())
            }
        }
    }

    /// A member at the root that names something shared, unless it is empty.
    fn reference(&mut self, shared: Shared, name: &str, depth: u8) -> Result<(), Unreadable> {
        if !self.is_empty_value() {
            self.refer_by(shared, name.as_bytes());
        }
        self.value(TextContext::Anything, depth)
    }

    /// Notes that the body names something of that kind.
    fn refer(&mut self, shared: Shared) {
        if !self.made_up && !self.document.refers.contains(&shared) {
            self.document.refers.push(shared);
        }
    }

    /// The same of a member of that name, which sealing may not cover.
    fn refer_by(&mut self, shared: Shared, name: &[u8]) {
        self.refer(shared);
        let is_sealed = matches!(Place::Unknown.member(Dialect::OpenAi, name), Place::Id(_));
        if !self.made_up && !is_sealed && !self.document.unsealed.contains(&shared) {
            self.document.unsealed.push(shared);
        }
    }

    /// A string or a list of something follows, and is not empty.
    fn names_something(&mut self) -> bool {
        matches!(self.cursor.peek(), Some(b'"' | b'[')) && !self.is_empty_value()
    }

    fn array(&mut self, context: TextContext, depth: u8) -> Result<(), Unreadable> {
        let depth = deeper(depth)?;
        self.cursor.pass(b'[')?;
        if self.cursor.take(b']') {
            return Ok(());
        }
        let below = if context == TextContext::Data { TextContext::Anything } else { context };
        loop {
            let prompt = context == TextContext::Prompt && matches!(self.cursor.peek(), Some(b'"' | b'['));
            self.document.prompts = self.document.prompts.saturating_add(u64::from(prompt));
            self.value(if prompt { TextContext::Tokens } else { below }, depth)?;
            if self.ends(b']')? {
                return Ok(());
            }
        }
    }

    fn name(&mut self) -> Result<Name, Unreadable> {
        let at = self.cursor.string()?;
        let is_escaped = self.cursor.is_escaped();
        self.cursor.pass(b':')?;
        Ok(Name { at, is_escaped })
    }

    /// Passes a comma, or the end of the container.
    fn ends(&mut self, close: u8) -> Result<bool, Unreadable> {
        if self.cursor.take(b',') {
            return Ok(false);
        }
        self.cursor.pass(close).map(|()| true)
    }
}

/// An item of `input`, as far as it tells whether it is an item or only the name of one that the provider keeps, which may
/// leave out its `type`.
#[derive(Default)]
struct Item {
    id: bool,
    content: bool,
}

impl Item {
    /// Notes a member; `null` is as good as none.
    fn note(&mut self, name: &[u8], is_escaped: bool, null: bool) {
        let is = |known| is_plain(name, is_escaped, known);
        self.id |= !null && is(b"id");
        self.content |= !null && (is(b"type") || is(b"content"));
    }

    fn is_reference(&self) -> bool {
        self.id && !self.content
    }
}

/// Whether a string as written is that text.
fn is_plain(raw: &[u8], is_escaped: bool, text: &[u8]) -> bool {
    match is_escaped {
        true => json::Unescaped::read(raw).is_some_and(|plain| plain.get() == text),
        false => raw == text,
    }
}

/// Whether a name is `model` to a reader that ignores case.
fn is_model(name: &[u8], is_escaped: bool) -> bool {
    const MODEL: &[u8] = b"model";
    let unescaped = if is_escaped { json::Unescaped::read(name) } else { None };
    unescaped.as_ref().map_or(name, json::Unescaped::get).eq_ignore_ascii_case(MODEL)
}

fn deeper(depth: u8) -> Result<u8, Unreadable> {
    if depth < DEPTH_MAX { Ok(depth.saturating_add(1)) } else { Err(Unreadable::Depth) }
}

fn unescape(raw: &[u8]) -> Option<Box<str>> {
    let plain = memchr::memchr(b'\\', raw).is_none();
    let unescaped = if plain { None } else { Some(json::Unescaped::read(raw)?) };
    let name = unescaped.as_ref().map_or(raw, json::Unescaped::get);
    let name = std::str::from_utf8(name).ok()?;
    (name.len() <= MODEL_MAX_BYTES).then(|| name.into())
}
