//! An answer that is held until it is whole, judged, and sent on as it is, changed or replaced.
//!
//! A [`Keeper`] judges. Envoy holds the head, buffers the body and shows it whole, so that status and length may change with it.
//! Kong sends the head on before the body and shows chunks: they gather here, a blank goes on in the place of each, which JSON
//! allows around a value, and the status stays the upstream's. What cannot be judged (too long, encoded, a stream, no JSON) never
//! reaches the client: an error stands in its place.
use super::keeper::{Judged, Keeper};
use crate::head::{self, Pair};
use crate::refusal::shape;

/// The longest answer that is held, in bytes: a thousand records with vectors of 1,536 numbers fit with room. Envoy must buffer as
/// much (`request_body_buffer_limit` of the virtual host, which counts for answers too); where it does not, it answers 500 itself.
pub const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Goes on in the place of a chunk on Kong, which hangs on an empty one. JSON allows it around a value.
const BLANK: &[u8] = b" ";

/// What became of a held answer, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It went on as it was.
    Same,
    /// Something in it was changed or taken out.
    Changed,
    /// Another answer went on instead.
    Replaced,
    /// It could not be judged: an error went on instead.
    Refused,
}

/// What the gateway does with an answer that it held.
#[derive(Debug, PartialEq, Eq)]
pub struct AnswerAction {
    /// The status that it gets instead of its own.
    pub status: Option<u16>,
    /// The body that it gets instead of its own, a JSON text.
    pub body: Option<Vec<u8>>,
    /// The path that the client is sent on to.
    pub location: Option<String>,
    /// What became of it; None where that was said before.
    pub kept: Option<Kept>,
}

/// A held answer.
#[derive(Debug)]
pub(super) struct Held {
    status: u16,
    /// Whether its head says that it is JSON as it stands.
    is_json: bool,
    gathered: Vec<u8>,
    /// It was judged, and whatever follows is dropped.
    is_settled: bool,
}

impl Held {
    /// An answer with this head.
    pub(super) fn new(status: u16, pairs: &[Pair<'_>]) -> Self {
        let find = |name: &str| pairs.iter().find(|(found, _)| head::is(found, name)).map(|(_, value)| *value);
        let kind = find("content-type").unwrap_or_default();
        let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is_plain = find("content-encoding").is_none_or(|encoding| encoding.eq_ignore_ascii_case(b"identity"));
        let is_json = essence.eq_ignore_ascii_case(b"application/json") && is_plain;
        Held::with(status, is_json)
    }

    /// An answer that is held although `is_readable` may say that it cannot be judged.
    pub(super) fn with(status: u16, is_readable: bool) -> Self {
        Held { status, is_json: is_readable, gathered: Vec::new(), is_settled: false }
    }

    /// Whether it is judged now that the gateway has so many bytes of it: it is whole, or will never be judged otherwise.
    pub(super) fn is_due(&self, buffered: usize, ends: bool) -> bool {
        ends || self.is_settled || !self.is_json || buffered > ANSWER_MAX_BYTES
    }

    /// Judges the body. None: the gateway has not shown it.
    pub(super) fn settle(
        &mut self,
        keeper: Option<&mut Keeper>,
        body: Option<&[u8]>,
        request_id: &str,
    ) -> AnswerAction {
        if std::mem::replace(&mut self.is_settled, true) {
            return AnswerAction { status: None, body: Some(Vec::new()), location: None, kept: None };
        }
        let body = body.filter(|body| self.is_json && body.len() <= ANSWER_MAX_BYTES);
        let judged = match (body, keeper) {
            (Some(body), Some(keeper)) => keeper.judge(self.status, body),
            (Some(_), None) => Judged::Same,
            (None, keeper) => {
                if let Some(keeper) = keeper {
                    keeper.withhold();
                }
                Judged::Unreadable
            }
        };
        let (status, body, kept) = match judged {
            Judged::Same => (None, None, Kept::Same),
            Judged::Changed(body) => (None, Some(body), Kept::Changed),
            Judged::Replaced(status, body) => (Some(status), Some(body), Kept::Replaced),
            Judged::Elsewhere(path) => {
                let kept = Some(Kept::Replaced);
                return AnswerAction { status: Some(307), body: Some(b"{}".to_vec()), location: Some(path), kept };
            }
            Judged::Unreadable => (Some(502), Some(shape::unchecked_answer(request_id)), Kept::Refused),
        };
        AnswerAction { status, body, location: None, kept: Some(kept) }
    }

    /// Takes a chunk where the gateway shows no more at a time; `ends` on the last. Returns what goes on in its place.
    pub(super) fn gather(
        &mut self,
        keeper: Option<&mut Keeper>,
        chunk: &[u8],
        ends: bool,
        request_id: &str,
    ) -> (Vec<u8>, Option<Kept>) {
        self.gathered.extend_from_slice(chunk);
        if self.is_settled || !self.is_due(self.gathered.len(), ends) {
            self.drop_settled();
            return (BLANK.to_vec(), None);
        }
        let whole = std::mem::take(&mut self.gathered);
        let action = self.settle(keeper, Some(&whole), request_id);
        (action.body.unwrap_or(whole), action.kept)
    }

    fn drop_settled(&mut self) {
        if self.is_settled {
            self.gathered = Vec::new();
        }
    }
}
