//! Answers: from the dialect of who served to the client's.
mod error;
mod events;
mod say;
mod shape;
mod step;
mod stream;
mod to_anthropic;
mod to_openai;
mod usage;
mod whole;

use weir_contract::time::Timestamp;

use crate::answer_head::AnswerHead;
use crate::cloud::OfCloud;
use crate::expected::Expected;
pub use error::{cut_event, error_answer, unreadable_answer};
use events::Events;
use stream::Stream;

/// The longest answer that comes whole and is translated, in bytes: an answer of 128,000 tokens has half a megabyte.
pub const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The longest event of a stream, in bytes. Most have some hundreds; the arguments of a tool may come in one.
pub const EVENT_MAX_BYTES: usize = 1024 * 1024;

/// The longest error that is read, in bytes.
const ERROR_MAX_BYTES: usize = 64 * 1024;

/// The most values in an answer or an event.
const VALUES_MAX: usize = 64 * 1024;

/// How a translation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has all that was answered, or the provider's error.
    Complete,
    /// The answer broke off or could not be read, and the client has an error in its place. A gateway that still holds
    /// the answer's head sets its status to 502.
    Broken,
}

/// A stream that the provider, or what it sent, has ended with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFailure {
    /// The error in the client's dialect, as the body of an answer.
    pub body: Vec<u8>,
    /// The provider told of it; else its answer could not be read or broke off.
    pub is_told: bool,
}

/// Translates one answer as it comes.
#[derive(Debug)]
pub struct AnswerTranslator {
    expected: Expected,
    status: u16,
    /// What a cloud says of its error in the head.
    cloud: Option<OfCloud>,
    now: Timestamp,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// In the client's dialect already.
    Same,
    /// It comes whole, and is kept up to a bound; None beyond it, or where it is compressed.
    Whole(Option<Vec<u8>>),
    /// It is a stream.
    Stream(Events, Box<Stream>),
}

impl AnswerTranslator {
    /// A translator of an answer with that head, at that time.
    #[must_use]
    pub fn new(expected: Expected, head: &AnswerHead<'_>, now: Timestamp) -> Self {
        let body = match () {
            () if !expected.rewrites(head) => Body::Same,
            () if head.is_encoded() => Body::Whole(None),
            () if head.is_stream() => Body::Stream(Events::default(), Box::new(Stream::new(expected, now))),
            () => Body::Whole(Some(Vec::new())),
        };
        let cloud = expected.is_error_of_cloud(head).then(|| OfCloud::read(head));
        AnswerTranslator { expected, status: head.status, cloud, now, body }
    }

    /// Takes a piece of the body, cut anywhere; appends what can go to the client.
    pub fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match &mut self.body {
            Body::Same => out.extend_from_slice(bytes),
            Body::Whole(Some(kept)) => {
                let max = if is_error(self.status) { ERROR_MAX_BYTES } else { ANSWER_MAX_BYTES };
                if kept.len().saturating_add(bytes.len()) > max {
                    self.body = Body::Whole(None);
                } else {
                    kept.extend_from_slice(bytes);
                }
            }
            Body::Whole(None) => {}
            Body::Stream(events, stream) => events.feed(bytes, &mut |event| stream.event(event, out)),
        }
    }

    /// How a stream has failed so far. A gateway that has sent nothing of it on may answer with this instead.
    #[must_use]
    pub fn failure(&self) -> Option<StreamFailure> {
        if let Body::Stream(_, stream) = &self.body { stream.failure() } else { None }
    }

    /// Ends the body; appends what is left to say. Call it once, after the last piece.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Ending {
        match &mut self.body {
            Body::Same => Ending::Complete,
            Body::Stream(events, stream) => {
                events.finish(&mut |event| stream.event(event, out));
                stream.end(out)
            }
            Body::Whole(body) if is_error(self.status) => {
                let body = body.as_deref().unwrap_or_default();
                if !self.expected.is_translated() && error::is_in(self.expected.client, body) {
                    out.extend_from_slice(body);
                    return Ending::Complete;
                }
                let error = error::read(self.status, self.cloud, body);
                out.extend_from_slice(&error.body(self.expected.client));
                Ending::Complete
            }
            Body::Whole(body) => {
                let translated = body.as_deref().and_then(|body| whole::translate(self.expected, body, self.now));
                let ending = if translated.is_some() { Ending::Complete } else { Ending::Broken };
                let unreadable = || error::unreadable().body(self.expected.client);
                out.extend_from_slice(&translated.unwrap_or_else(unreadable));
                ending
            }
        }
    }
}

fn is_error(status: u16) -> bool {
    status >= 400
}
