//! A stream's events, one after the other, in the client's dialect.
use weir_contract::time::Timestamp;
use weir_llm_usage::json::tree::{Id, ROOT, Tree};

use super::error::{self, Failure};
use super::events::Event;
use super::shape::{OneText, Shape};
use super::to_anthropic::ToAnthropic;
use super::to_openai::ToOpenAi;
use super::{Ending, Expected, VALUES_MAX};
use crate::target::Dialect;
use crate::write::Writer;

/// The longest name of an answer, a model or a call that is taken over, in bytes: names are repeated in every event.
const NAME_MAX_BYTES: usize = 256;

/// A stream ends with this event, or with an error.
pub(super) const DONE: &[u8] = b"[DONE]";

/// What an event means for the stream.
#[derive(Debug)]
pub(super) enum Step {
    /// It goes on. With one text, the next event may say another one in the same way.
    On(Option<OneText>),
    /// The answer is complete.
    Complete,
    /// The provider failed.
    Failed(Failure),
}

/// Writes one side of the translation.
#[derive(Debug)]
enum Side {
    OpenAi(ToOpenAi),
    Anthropic(ToAnthropic),
}

#[derive(Debug)]
pub(super) struct Stream {
    client: Dialect,
    side: Side,
    shape: Shape,
    ending: Option<Ending>,
}

impl Stream {
    pub(super) fn new(expected: Expected, now: Timestamp) -> Self {
        let side = match expected.client {
            Dialect::OpenAi => Side::OpenAi(ToOpenAi::new(expected, now)),
            Dialect::Anthropic => Side::Anthropic(ToAnthropic::new(expected)),
        };
        Stream { client: expected.client, side, shape: Shape::default(), ending: None }
    }

    /// Takes an event; appends what the client is told.
    pub(super) fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if self.ending.is_some() {
            return;
        }
        match event {
            Event::Data(data) if self.shape.say(data, out) => {}
            Event::Data(data) => self.read(data, out),
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::TooLong => self.fail(&error::unreadable(), out),
        }
    }

    /// Ends the stream; an answer that is not complete ends with an error.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Ending {
        if let Some(ending) = self.ending {
            return ending;
        }
        let is_complete = match &mut self.side {
            Side::OpenAi(_) => false,
            Side::Anthropic(side) => side.end(out),
        };
        if !is_complete {
            self.fail(&error::cut(), out);
            return Ending::Broken;
        }
        self.ending = Some(Ending::Complete);
        Ending::Complete
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        out.extend_from_slice(&failure.event(self.client));
        self.ending = Some(Ending::Broken);
    }

    fn read(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.shape.forget();
        let start = out.len();
        let step = match (&mut self.side, data == DONE) {
            (Side::Anthropic(side), true) => {
                if side.end(out) {
                    Step::Complete
                } else {
                    Step::Failed(error::cut())
                }
            }
            (Side::OpenAi(_), true) => Step::On(None),
            (side, false) => match Tree::read_up_to(data, VALUES_MAX) {
                Ok(tree) => side.event(&tree, out),
                Err(_) => Step::Failed(error::unreadable()),
            },
        };
        match step {
            Step::On(Some(text)) => self.shape.learn(data, out.get(start..).unwrap_or_default(), &text),
            Step::On(None) => {}
            Step::Complete => self.ending = Some(Ending::Complete),
            Step::Failed(failure) => self.fail(&failure, out),
        }
    }
}

impl Side {
    fn event(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) -> Step {
        if let Some(failure) = error::in_stream(tree) {
            return Step::Failed(failure);
        }
        match self {
            Side::OpenAi(side) => side.event(tree, out),
            Side::Anthropic(side) => side.event(tree, out),
        }
    }
}

/// Where a string's text stands, and the text as it is written.
pub(super) fn text_at<'b>(tree: &Tree<'b>, value: Option<Id>) -> Option<(std::ops::Range<usize>, &'b [u8])> {
    let node = value.and_then(|value| tree.node(value))?;
    let raw = tree.bytes.get(node.at.clone())?;
    let text = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    Some((node.at.start.saturating_add(1)..node.at.end.saturating_sub(1), text)).filter(|(_, text)| !text.is_empty())
}

/// A short name, as it is written, quotes included; another one if it is no text or too long.
pub(super) fn name<'b>(tree: &Tree<'b>, holder: Id, member: &str, otherwise: &'static str) -> &'b [u8] {
    let found = crate::table::member(tree, holder, member).filter(|value| tree.text(*value).is_some());
    let raw = found.map(|value| tree.raw(value)).unwrap_or_default();
    if (3..=NAME_MAX_BYTES).contains(&raw.len()) { raw } else { otherwise.as_bytes() }
}

/// Appends `before`, a text and `after`; returns where the text stands in the event and in what was said since `start`.
pub(super) fn say_text(
    (from, text): (std::ops::Range<usize>, &[u8]),
    start: usize,
    (before, after): (&[u8], &[u8]),
    out: &mut Vec<u8>,
) -> OneText {
    out.extend_from_slice(before);
    let at = out.len().saturating_sub(start);
    out.extend_from_slice(text);
    out.extend_from_slice(after);
    OneText { from, to: at..at.saturating_add(text.len()) }
}

/// Whether the document is of this type.
pub(super) fn kind<'b>(tree: &Tree<'b>, holder: Id) -> std::borrow::Cow<'b, str> {
    crate::table::member(tree, holder, "type").and_then(|kind| tree.text(kind)).unwrap_or_default()
}

/// Writes an event of JSON: what stands before it, and what `write` adds.
pub(super) fn say(out: &mut Vec<u8>, before: &str, write: impl FnOnce(&mut Writer)) {
    let mut writer = Writer::default();
    write(&mut writer);
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(writer.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// The whole document.
pub(super) const DOCUMENT: Id = ROOT;
