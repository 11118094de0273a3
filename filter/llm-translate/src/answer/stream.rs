//! A stream's events, one after the other, in the client's dialect.
use weir_contract::time::Timestamp;
use weir_llm_usage::json::tree::Tree;

use super::error::{self, Failure};
use super::events::Event;
use super::shape::Shape;
use super::step::Step;
use super::to_anthropic::ToAnthropic;
use super::to_openai::ToOpenAi;
use super::{Ending, StreamFailure, VALUES_MAX};
use crate::expected::Expected;
use crate::target::Dialect;

/// A stream ends with this event, or with an error.
const DONE: &[u8] = b"[DONE]";

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
    failed: Option<StreamFailure>,
}

impl Stream {
    pub(super) fn new(expected: Expected, now: Timestamp) -> Self {
        let side = match expected.client {
            Dialect::OpenAi => Side::OpenAi(ToOpenAi::new(expected, now)),
            Dialect::Anthropic => Side::Anthropic(ToAnthropic::new(expected)),
        };
        Stream { client: expected.client, side, shape: Shape::default(), ending: None, failed: None }
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
            Event::TooLong => self.fail(&error::unreadable(), false, out),
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
            self.fail(&error::cut(), false, out);
            return Ending::Broken;
        }
        self.ending = Some(Ending::Complete);
        Ending::Complete
    }

    pub(super) fn failure(&self) -> Option<StreamFailure> {
        self.failed.clone()
    }

    fn fail(&mut self, failure: &Failure, is_told: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&failure.event(self.client));
        self.ending = Some(Ending::Broken);
        self.failed = Some(StreamFailure { body: failure.body(self.client), is_told });
    }

    fn read(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.shape.forget();
        let start = out.len();
        let mut is_told = false;
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
                Ok(tree) => match error::in_stream(&tree) {
                    Some(failure) => {
                        is_told = true;
                        Step::Failed(failure)
                    }
                    None => side.event(&tree, out),
                },
                Err(_) => Step::Failed(error::unreadable()),
            },
        };
        match step {
            Step::On(Some(text)) => self.shape.learn(data, out.get(start..).unwrap_or_default(), &text),
            Step::On(None) => {}
            Step::Complete => self.ending = Some(Ending::Complete),
            Step::Failed(failure) => self.fail(&failure, is_told, out),
        }
    }
}

impl Side {
    fn event(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) -> Step {
        match self {
            Side::OpenAi(side) => side.event(tree, out),
            Side::Anthropic(side) => side.event(tree, out),
        }
    }
}
