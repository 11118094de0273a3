//! Answers that are held, so that another provider can still answer where this one breaks off or cannot be read.
//!
//! A stream's head is held until its first byte can go to the client, an answer that comes whole until its end. An answer in the
//! client's own dialect is looked at no further than at how it begins, and, if it comes whole, ends: a page of HTML from a proxy
//! and half an answer are found so, and nothing is read that needs no translation.
use weir_contract::{AttemptFailure, Timestamp};
use weir_llm_translate::{AnswerHead, Dialect, Ending, StreamFailure, unreadable_answer};

use super::{Attempt, Piece, Refused, Upstream};

/// The longest answer in the client's own dialect that is held, in bytes. A longer one goes on unlooked-at: most have some
/// kilobytes.
const OWN_ANSWER_MAX_BYTES: usize = 256 * 1024;

/// How a stream of events begins: its fields, and comments.
const EVENT_BEGINNINGS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// How much earlier than told Envoy may let an attempt end, in milliseconds.
const EARLY_MS: u64 = 50;

/// What of an answer is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing, or nothing any more.
    #[default]
    Nothing,
    /// Its head, until its first byte can go on.
    First,
    /// All of it, until it has ended.
    Whole,
}

impl Held {
    /// What is held of an answer in the client's own dialect. `looks`: it is to be looked at.
    pub(super) fn of_own(head: &AnswerHead<'_>, looks: bool) -> Self {
        match () {
            () if !looks || head.is_encoded() => Held::Nothing,
            () if head.is_stream() => Held::First,
            () => Held::Whole,
        }
    }
}

impl Attempt {
    /// Takes a chunk of an answer that is translated; `ends` on the last.
    pub fn answer_chunk(&mut self, chunk: &[u8], ends: bool) -> Piece {
        let mut piece = Piece::default();
        let Some(answer) = &mut self.answer else { return piece };
        answer.chunk(chunk, &mut piece.bytes);
        let ending = ends.then(|| answer.end(&mut piece.bytes));
        let failure = answer.failure();
        if ends {
            self.answer = None;
        }
        match (self.held, failure) {
            (Held::Whole, _) => match ending {
                Some(ending) => self.release_whole(ending, &mut piece),
                None => piece.holds = true,
            },
            (Held::First, Some(failure)) => self.replace(failure, &mut piece),
            (Held::First, None) if piece.bytes.is_empty() && !ends => piece.holds = true,
            (Held::First, None) => (self.held, piece.tells) = (Held::Nothing, true),
            (Held::Nothing, Some(_)) if self.failure.is_none() => {
                (self.failure, piece.tells) = (Some(AttemptFailure::CutOff), true);
            }
            (Held::Nothing, _) => {}
        }
        piece
    }

    fn release_whole(&mut self, ending: Ending, piece: &mut Piece) {
        (self.held, piece.tells) = (Held::Nothing, true);
        piece.set.push(("content-length", piece.bytes.len().to_string()));
        if ending == Ending::Broken {
            piece.set.push((":status", "502".to_owned()));
            (self.status, self.failure) = (Some(502), Some(AttemptFailure::Unreadable));
        }
    }

    /// Answers with an error in the place of a stream of which the client has seen nothing.
    fn replace(&mut self, failure: StreamFailure, piece: &mut Piece) {
        let reason = if failure.is_told { AttemptFailure::ServerError } else { AttemptFailure::Unreadable };
        (self.held, self.is_replaced) = (Held::Nothing, true);
        (self.status, self.failure) = (Some(502), Some(reason));
        piece.set = vec![
            (":status", "502".to_owned()),
            ("content-type", "application/json".to_owned()),
            ("content-length", failure.body.len().to_string()),
        ];
        (piece.bytes, piece.tells) = (failure.body, true);
    }

    /// Whether an answer in the client's own dialect goes on waiting with so many bytes in all.
    pub fn waits_with(&self, bytes: usize, ends: bool) -> bool {
        !ends && (bytes == 0 || self.held == Held::Whole && bytes <= OWN_ANSWER_MAX_BYTES)
    }

    /// Whether an answer in the client's own dialect is held, so that [`Attempt::look`] is to be asked.
    pub fn holds_own(&self) -> bool {
        self.answer.is_none() && self.held != Held::Nothing
    }

    /// Whether the rest of the answer is to be dropped.
    pub fn drops_rest(&self) -> bool {
        self.is_replaced && self.answer.is_none()
    }

    /// Looks at an answer in the client's own dialect that was held. Returns what goes on in its place, if it is none; either way
    /// more is known of the attempt.
    pub fn look(&mut self, bytes: &[u8], ends: bool) -> Option<Piece> {
        let is_answer = match std::mem::take(&mut self.held) {
            Held::Nothing => true,
            Held::First => begins_as_events(bytes, ends),
            Held::Whole => {
                let trimmed = bytes.trim_ascii();
                trimmed.starts_with(b"{") && (!ends || trimmed.ends_with(b"}"))
            }
        };
        if is_answer {
            return None;
        }
        let body = unreadable_answer(self.client.unwrap_or(Dialect::OpenAi));
        let mut piece = Piece::default();
        self.replace(StreamFailure { body, is_told: false }, &mut piece);
        Some(piece)
    }

    /// Whether it has got no answer that could go on.
    pub fn is_unanswered(&self) -> bool {
        let is_made = self.model.is_some() && self.refused != Refused::This;
        is_made && self.failure.is_none() && (self.status.is_none() || self.held != Held::Nothing)
    }

    /// Takes in that the attempt is over and unanswered. `is_connected`: there was a connection to the provider.
    pub fn end(&mut self, upstream: &Upstream, is_connected: bool, now: Timestamp) {
        let bounds = [upstream.silence_ms, self.terms.attempt_ms_max.map(u64::from)];
        let passed_ms = now.millis_since(self.started).saturating_add(EARLY_MS);
        let reason = match () {
            () if !is_connected => AttemptFailure::Unreachable,
            () if bounds.into_iter().flatten().any(|bound| passed_ms >= bound) => AttemptFailure::Silent,
            () => AttemptFailure::Reset,
        };
        (self.status, self.failure) = (None, Some(reason));
    }
}

/// Whether bytes are the beginning of a stream of events, as far as they go.
fn begins_as_events(bytes: &[u8], ends: bool) -> bool {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    let begins = |field: &&[u8]| bytes.starts_with(field) || (!ends && field.starts_with(bytes));
    EVENT_BEGINNINGS.iter().any(begins)
}
