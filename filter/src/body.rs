//! A request's JSON body: reading what it asks for, and changing it without touching any byte that need not change.
//!
//! [`Document::read`] takes the whole body, enforces the grammar of [RFC
//! 8259](https://www.rfc-editor.org/rfc/rfc8259) strictly, builds no tree, and records the positions of the members
//! that weir governs. [`edit::Splices`] then replaces bytes at those positions.
//!
//! Upstreams differ in how they read what the standard leaves open, and a client must not get past its plan through
//! that gap. So a governed member may appear only once and under one spelling. A body that has it twice, or as
//! `Model` (Go reads names in any case), is [`Document::ambiguous`], and is refused if the plan depends on the body.
//! Escapes are resolved before names are compared. A body that a strict reader refuses (trailing bytes, a lone quote,
//! text that is not UTF-8) is [`Unreadable`].
//!
//! [`cursor`] is the grammar, [`members`] the names that the APIs use, [`reader`] reads, [`edit`] changes.
mod binary;
pub mod edit;
pub mod form;
pub mod members;
mod reader;
mod references;
mod watch;
pub mod weigh;

use std::ops::Range;

use weir_config::shared::Shared;
use weir_contract::Class;
pub use weir_llm_usage::json::cursor::{self, DEPTH_MAX, Unreadable};
use weir_llm_usage::lanes::{Lanes, any_at};
use weir_llm_usage::{TextWeight, estimate};

/// The most members that cap the output of one body: one for the name in each API.
pub(crate) const CAPS_MAX: usize = 16;

/// The longest model name that is taken, in bytes. A longer one is treated as no name.
pub(crate) const MODEL_MAX_BYTES: usize = 256;

/// The estimated cost of an image, in tokens: a large one costs 800 to 1,600 with today's providers.
pub(crate) const IMAGE_TOKENS: u64 = 1_200;

/// The parts of a body that weir governs or reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// `model`
    pub model: Option<Model>,
    /// `models`, `fallbacks`: the body names further models that the upstream may choose.
    pub other_models: bool,
    /// `stream` is true, or whatever a lenient server may take for true.
    pub stream: bool,
    /// It is `true` itself.
    streams_plainly: bool,
    /// How many answers are asked for: `n`, `best_of`, `candidateCount`.
    pub counts: Vec<Amount>,
    /// Caps of the output, under any API's name.
    pub caps: Vec<Amount>,
    /// How many prompts `prompt` holds, each with answers of its own; 0 if it is one text.
    pub prompts: u64,
    /// `tools` or `functions` are there, and not empty.
    pub tools: bool,
    /// Images in the conversation.
    pub images: u64,
    /// Tokens given as numbers in `prompt` or `input`.
    pub token_ids: u64,
    /// What it names of all that tenants share at the provider.
    pub refers: Vec<Shared>,
    /// What it names of that in members whose ids are not sealed, so that no route keeps them apart.
    pub unsealed: Vec<Shared>,
    /// It has an address of a file at the provider.
    pub has_address: bool,
    /// The weight of all text.
    pub text: TextWeight,
    /// It is a form, not JSON.
    pub is_form: bool,
    /// True if a governed member occurs twice, or in an unusual spelling.
    pub ambiguous: bool,
    /// The members of the root.
    pub has: members::Present,
    /// Just behind the root's `{`; None if the root is no object.
    root: Option<Opening>,
    /// `stream_options`, and what it says.
    stream_options: Option<StreamOptions>,
    /// Containers of output caps that are there.
    containers: Vec<(members::Scope, Container)>,
}

/// The member `model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The name without escapes; None if it is no string, or longer than [`MODEL_MAX_BYTES`].
    pub name: Option<Box<str>>,
    /// Where the value stands, quotes included.
    pub at: Range<usize>,
}

/// A member that holds a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The count; None if it is anything else: a fraction, a negative number, a string, more than `u64` holds.
    pub value: Option<u64>,
    /// It is `null`, which every API treats as absent.
    pub null: bool,
    /// Where the value stands.
    pub at: Range<usize>,
    /// The kind of member.
    pub name: members::MemberName,
    member: Member,
}

/// A whole member, as far as it takes to take it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    /// Where its object opens.
    object: usize,
    /// The quote that its name begins with.
    at: usize,
    /// The comma before it; None for the first of its object.
    comma_before: Option<usize>,
    /// The comma behind it; None where it is the last.
    comma_behind: Option<usize>,
}

/// The position at which members can be inserted into an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opening {
    /// Just behind its `{`.
    at: usize,
    /// How many members it has, from which a new one must be parted.
    members: usize,
}

/// A member that should be an object with output caps in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Container {
    /// Where its value stands.
    at: Range<usize>,
    /// None: it is no object.
    opening: Option<Opening>,
}

/// The member `stream_options`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StreamOptions {
    at: Range<usize>,
    opening: Option<Opening>,
    /// `include_usage`: where its value stands, and whether it is true.
    include_usage: Option<(Range<usize>, bool)>,
}

impl Document {
    /// Reads a body. An empty body, or one whose root is no object, yields an empty document.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        if body.is_empty() {
            return Ok(Document::default());
        }
        reader::read(body)
    }

    /// Whether a model can be put in where it names none.
    pub(crate) fn takes_members(&self) -> bool {
        self.root.is_some()
    }

    /// The model asked for, where it can be told.
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_ref()?.name.as_deref()
    }

    /// Estimates the request's input tokens.
    pub(crate) fn input_estimate(&self) -> u64 {
        let images = self.images.saturating_mul(IMAGE_TOKENS);
        estimate::input_tokens(self.text).saturating_add(images).saturating_add(self.token_ids)
    }

    /// How many answers the request asks for; None if a count is unreadable.
    pub fn answers(&self) -> Option<u64> {
        let mut most = 1;
        for count in self.counts.iter().filter(|count| !count.null) {
            most = most.max(count.value?);
        }
        Some(most.saturating_mul(self.prompts.max(1)))
    }

    /// The largest cap on one answer of those members that count; `Some(None)` where one is there that is no count.
    pub fn output_cap(&self, counts: impl Fn(members::MemberName) -> bool) -> Option<Option<u64>> {
        let mut caps = self.caps.iter().filter(|cap| !cap.null && counts(cap.name)).map(|cap| cap.value);
        let first = caps.next()?;
        Some(caps.fold(first, |most, cap| Some(most?.max(cap?))))
    }

    /// Whether `bytes`, this body, ask for a stream in the plainest words and leave out even the name of `stream_options`: then a
    /// refusal that names it is of weir's own making.
    pub(crate) fn is_plain_stream(&self, bytes: &[u8]) -> bool {
        self.streams_plainly && !may_say_stream_options(bytes)
    }

    /// The class that the content shows, for a path that says nothing: the first of [`Document::classes`].
    pub fn class(&self) -> Option<Class> {
        self.classes().next()
    }

    /// Every class that the content may be taken for: members of one API beside those of another show both. Those that cost
    /// most come first.
    pub fn classes(&self) -> impl Iterator<Item = Class> {
        let has = &self.has;
        let named = has.model || has.contents;
        let asks = has.input && (has.max_output || has.instructions || self.tools);
        let shown = [
            (named && (has.messages || has.contents || asks), Class::Chat),
            (named && has.prompt, Class::Completion),
            (named && has.input && !asks, Class::Embedding),
            (named && has.documents && has.query, Class::Rerank),
            (has.jsonrpc && has.method, Class::Mcp),
        ];
        let is_object = self.root.is_some();
        shown.into_iter().filter(move |(shows, _)| *shows && is_object).map(|(_, class)| class)
    }
}

/// Whether a body has that name anywhere, or an escape that can spell any letter of it. Prose has hardly an underscore or a
/// backslash, so that this costs less than building two searchers.
fn may_say_stream_options(bytes: &[u8]) -> bool {
    const BEFORE: &[u8] = b"stream";
    let begins_at = |at: usize| bytes.get(at.checked_sub(BEFORE.len())?..);
    let mark = |lanes: Lanes| lanes.equals(b'_').or(lanes.equals(b'\\'));
    any_at(bytes, mark, |at| match bytes.get(at..).unwrap_or_default() {
        [b'\\', escape, ..] => *escape == b'u',
        [b'_', ..] => begins_at(at).is_some_and(|name| name.starts_with(b"stream_options")),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
